"""The programs `step` and `step-ca`: from PATH, or built from their Go modules into the cache."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import run

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES = {
    "step": "github.com/smallstep/cli/cmd/step@v0.30.6",
    "step-ca": "github.com/smallstep/certificates/cmd/step-ca@v0.30.2",
}
# The runner of forges' jobs that Gitea's own is made of: a test runs the example of a job in it.
RUNNER = "github.com/nektos/act@v0.2.89"


@dataclass(frozen=True)
class Binaries:
    """The paths of the two programs, and whether one of them was built now."""

    step: Path
    step_ca: Path
    built: bool


def ensure_binaries(on_step: Callable[[str, str], None]) -> Binaries:
    """Find both programs. A missing one is built; this takes minutes, once."""
    paths: dict[str, Path] = {}
    any_built = False
    for name, module in MODULES.items():
        paths[name], built = _ensure(name, module, on_step)
        any_built = any_built or built
    return Binaries(paths["step"], paths["step-ca"], any_built)


def ensure_runner(on_step: Callable[[str, str], None]) -> Path:
    """Find `act`, or build it: a minute of processor time, once."""
    return _ensure("act", RUNNER, on_step)[0]


def _ensure(name: str, module: str, on_step: Callable[[str, str], None]) -> tuple[Path, bool]:
    """A program's path, and whether it was built now."""
    installed = shutil.which(name)
    if installed is not None:
        return Path(installed).resolve(), False
    folder, built = cache.ensure_folder(f"{name}-{cache.key(module)}", functools.partial(_build, module, on_step))
    return folder / name, built


def _build(module: str, on_step: Callable[[str, str], None], folder: Path) -> None:
    if shutil.which("go") is None:
        raise LabError("step or step-ca is not on PATH, and go is missing to build it: install either")
    on_step(module.rpartition("/")[2], "building; this takes minutes, once")
    # Linked statically: the same file runs on this machine and on every host, whatever libc they have.
    environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": ""}
    run(["go", "install", module], env=environment)
