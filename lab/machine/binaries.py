"""The programs `step` and `step-ca`: from PATH, or built from their Go modules into the cache."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import running_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# program -> its Go module, the version, and the package in it
MODULES = {
    "step": ("github.com/smallstep/cli", "v0.30.6", "cmd/step"),
    "step-ca": ("github.com/smallstep/certificates", "v0.30.2", "cmd/step-ca"),
}


@dataclass(frozen=True)
class Binaries:
    """The paths of the two programs, and whether one of them was built now."""

    step: Path
    step_ca: Path
    built: bool


def ensure_binaries(on_step: Callable[[str, str], None], meanwhile: Callable[[], object]) -> Binaries:
    """Find both programs. What is missing is built; this takes minutes, once.

    `meanwhile` is called beside the build.
    """
    paths = {name: Path(found).resolve() for name in MODULES if (found := shutil.which(name))}
    missing = [name for name in MODULES if name not in paths]
    built = False
    if missing:
        key = cache.key(*(word for name in missing for word in MODULES[name]))
        build = functools.partial(_build, missing, on_step, meanwhile)
        folder, built = cache.ensure_folder(f"{'+'.join(missing)}-{key}", build)
        paths |= {name: folder / name for name in missing}
    return Binaries(paths["step"], paths["step-ca"], built)


def _build(
    names: Sequence[str], on_step: Callable[[str, str], None], meanwhile: Callable[[], object], folder: Path
) -> None:
    if shutil.which("go") is None:
        raise LabError("step or step-ca is not on PATH, and go is missing to build it: install either")
    on_step(", ".join(names), "building; this takes minutes, once")
    # One build: `step` is made of step-ca's packages too, and in one module both share one version of each dependency.
    required = "".join(f"require {module} {version}\n" for module, version, _ in map(MODULES.__getitem__, names))
    packages = [f"{module}/{package}" for module, _, package in map(MODULES.__getitem__, names)]
    # Linked statically: the same file runs on this machine and on every host, whatever libc they have.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    with tempfile.TemporaryDirectory() as module:
        Path(module, "go.mod").write_text(f"module programs\n{required}")
        # -s -w: without what only a debugger reads, which takes a fifth of the link's time and of the file.
        argv = ["go", "build", "-C", module, "-mod=mod", "-ldflags=-s -w", "-o", str(folder), *packages]
        with running_beside(argv, environment):
            meanwhile()
