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
    from collections.abc import Callable, Mapping

# program -> its Go module, the version, and the package in it
MODULES = {
    "step": ("github.com/smallstep/cli", "v0.30.6", "cmd/step"),
    "step-ca": ("github.com/smallstep/certificates", "v0.30.2", "cmd/step-ca"),
}
# The runner of forges' jobs that Gitea's own is made of: a test runs the example of a job in it.
RUNNER = ("github.com/nektos/act", "v0.2.89", "")


@dataclass(frozen=True)
class Binaries:
    """The paths of the two programs, and whether one of them was built now."""

    step: Path
    step_ca: Path
    built: bool


def ensure_runner(on_step: Callable[[str, str], None]) -> Path:
    """Find `act`, or build it: a minute of processor time, once."""
    if found := shutil.which("act"):
        return Path(found).resolve()
    build = functools.partial(_build, {"act": RUNNER}, on_step, lambda: None)
    return cache.ensure_folder(f"act-{cache.key(*RUNNER)}", build)[0] / "act"


def ensure_binaries(on_step: Callable[[str, str], None], meanwhile: Callable[[], object]) -> Binaries:
    """Find both programs. What is missing is built; this takes minutes, once.

    `meanwhile` is called beside the build.
    """
    paths = {name: Path(found).resolve() for name in MODULES if (found := shutil.which(name))}
    missing = {name: module for name, module in MODULES.items() if name not in paths}
    built = False
    if missing:
        key = cache.key(*(word for module in missing.values() for word in module))
        build = functools.partial(_build, missing, on_step, meanwhile)
        folder, built = cache.ensure_folder(f"{'+'.join(missing)}-{key}", build)
        paths |= {name: folder / name for name in missing}
    return Binaries(paths["step"], paths["step-ca"], built)


def _build(
    modules: Mapping[str, tuple[str, str, str]],
    on_step: Callable[[str, str], None],
    meanwhile: Callable[[], object],
    folder: Path,
) -> None:
    if shutil.which("go") is None:
        raise LabError(f"{' or '.join(modules)} is not on PATH, and go is missing to build it: install either")
    on_step(", ".join(modules), "building; this takes minutes, once")
    # One build: `step` is made of step-ca's packages too, and in one module both share one version of each dependency.
    required = "".join(f"require {module} {version}\n" for module, version, _ in modules.values())
    packages = [f"{module}/{package}".rstrip("/") for module, _, package in modules.values()]
    # Linked statically: the same file runs on this machine and on every host, whatever libc they have.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    with tempfile.TemporaryDirectory() as module:
        Path(module, "go.mod").write_text(f"module programs\n{required}")
        # -s -w: without what only a debugger reads, which takes a fifth of the link's time and of the file.
        argv = ["go", "build", "-C", module, "-mod=mod", "-ldflags=-s -w", "-o", str(folder), *packages]
        with running_beside(argv, environment):
            meanwhile()
