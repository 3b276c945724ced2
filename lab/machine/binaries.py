"""The programs `step` and `step-ca`: from PATH, or built from pinned Go modules into the cache."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import running_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Go modules; only that of the name server has code of its own. Their go.mod names each module that a program is built
# from: without that, Go fetches the description of every version any of them mentions, thousands, to choose one. go.sum
# has all checksums.
RECIPES = Path(__file__).parents[1] / "recipes" / "programs"
PACKAGES = {
    "step": "github.com/smallstep/cli/cmd/step",
    "step-ca": "github.com/smallstep/certificates/cmd/step-ca",
}
# The runner of forges' jobs that Gitea's own is made of: a test runs the example of a job in it.
RUNNER = {"act": "github.com/nektos/act"}
# A name server that tests publish names on; the one with code of its own, since its plugins are chosen in it.
NAME_SERVER = {"coredns": "."}


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
    return _ensure_built("act", RUNNER, on_step, lambda: None)[0] / "act"


def ensure_name_server(on_step: Callable[[str, str], None]) -> Path:
    """Build `coredns`: half a minute of processor time, once."""
    return _ensure_built("coredns", NAME_SERVER, on_step, lambda: None)[0] / "coredns"


def ensure_binaries(on_step: Callable[[str, str], None], meanwhile: Callable[[], object]) -> Binaries:
    """Find both programs. What is missing is built; this takes minutes, once.

    `meanwhile` is called beside the build.
    """
    paths = {name: Path(found).resolve() for name in PACKAGES if (found := shutil.which(name))}
    missing = {name: package for name, package in PACKAGES.items() if name not in paths}
    built = False
    if missing:
        folder, built = _ensure_built("step", missing, on_step, meanwhile)
        paths |= {name: folder / name for name in missing}
    return Binaries(paths["step"], paths["step-ca"], built)


def _ensure_built(
    recipe: str, packages: Mapping[str, str], on_step: Callable[[str, str], None], meanwhile: Callable[[], object]
) -> tuple[Path, bool]:
    """Build the programs, in one folder of the cache for each version of all that they are built from."""
    key = cache.key((RECIPES / recipe / "go.sum").read_text())
    build = functools.partial(_build, recipe, packages, on_step, meanwhile)
    return cache.ensure_folder(f"{'+'.join(packages)}-{key}", build)


def _build(
    recipe: str,
    packages: Mapping[str, str],
    on_step: Callable[[str, str], None],
    meanwhile: Callable[[], object],
    folder: Path,
) -> None:
    if shutil.which("go") is None:
        raise LabError(f"{' or '.join(packages)} is not on PATH, and go is missing to build it: install either")
    on_step(", ".join(packages), "building; this takes minutes, once")
    # Linked statically: the same file runs on this machine and on every host, whatever libc they have.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
    # -s -w: without what only a debugger reads, which takes a fifth of the link's time and of the file.
    # -buildvcs=false: the commit of this checkout says nothing about them, and git may refuse to tell it.
    argv = ["go", "build", "-C", str(RECIPES / recipe), "-buildvcs=false", "-ldflags=-s -w", "-o", str(folder)]
    with running_beside([*argv, *packages.values()], environment):
        meanwhile()
