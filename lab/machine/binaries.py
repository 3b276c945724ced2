"""`step` and `step-ca`: those on PATH, else built from their modules into the cache."""

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
    """Where the two programs are."""

    step: Path
    step_ca: Path
    built: bool


def find(on_step: Callable[[str, str], None]) -> Binaries:
    """Both binaries, built now if need be (minutes, once)."""
    paths: dict[str, Path] = {}
    built = False
    for name, module in MODULES.items():
        known = shutil.which(name)
        if known is not None:
            paths[name] = Path(known).resolve()
            continue
        build = functools.partial(_build, module, on_step)
        folder, made = cache.made(f"{name}-{cache.key(module)}", build)
        paths[name] = folder / name
        built = built or made
    return Binaries(paths["step"], paths["step-ca"], built)


def _build(module: str, on_step: Callable[[str, str], None], part: Path) -> None:
    if shutil.which("go") is None:
        raise LabError("no step or step-ca on PATH and no go to build them: install either")
    on_step(module.rpartition("/")[2], "building; this takes minutes, once")
    # Static: the same file runs on this machine and on every host, whatever its libc is.
    environment = {**os.environ, "GOBIN": str(part), "CGO_ENABLED": "0", "GOFLAGS": ""}
    run(["go", "install", module], env=environment)
