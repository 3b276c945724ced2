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
        installed = shutil.which(name)
        if installed is not None:
            paths[name] = Path(installed).resolve()
            continue
        build = functools.partial(_build, module, on_step)
        folder, built = cache.ensure_folder(f"{name}-{cache.key(module)}", build)
        paths[name] = folder / name
        any_built = any_built or built
    return Binaries(paths["step"], paths["step-ca"], any_built)


def _build(module: str, on_step: Callable[[str, str], None], folder: Path) -> None:
    if shutil.which("go") is None:
        raise LabError("step or step-ca is not on PATH, and go is missing to build it: install either")
    on_step(module.rpartition("/")[2], "building; this takes minutes, once")
    # Linked statically: the same file runs on this machine and on every host, whatever libc they have.
    environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": ""}
    run(["go", "install", module], env=environment)
