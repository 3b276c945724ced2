"""The rivals and the plotter, each from PyPI into an environment of its own in the lab's cache.

No part of meshfab's own dependencies: whoever works on meshfab needs none of them, and their versions must not pull at
ours.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from lab.cli.progress import step
from lab.errors import LabError
from lab.machine import cache
from lab.machine.process import run

if TYPE_CHECKING:
    from pathlib import Path

# What is installed -> the command that is wanted of it.
RIVALS = {"ansible": ("ansible-core", "ansible-playbook"), "pyinfra": ("pyinfra", "pyinfra")}


def ensure(package: str) -> Path:
    """The bin folder of an environment with that package in it, made when it is not there yet.

    Raises:
        LabError: it could not be installed.
    """
    place = cache.folder() / f"bench-{package}-{cache.key(sys.version)}"
    done = place / "complete"
    with cache.locked(cache.folder() / f"{place.name}.lock"):
        if not done.exists():
            with step(package, "installed"):
                run([sys.executable, "-m", "venv", "--clear", str(place)])
                run([str(place / "bin" / "pip"), "install", "--quiet", "--compile", package], timeout=600)
                done.touch()
    return place / "bin"


def version(package: str, folder: Path) -> str:
    """Which version of a package an environment has."""
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([str(folder / "python"), "-c", script], text=True).strip()


def find() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The rivals' commands and versions, and why those that are missing are."""
    tools, versions, missing = {}, {}, {}
    for key, (package, command) in RIVALS.items():
        try:
            folder = ensure(package)
        except LabError as error:
            missing[key] = str(error)
        else:
            tools[key] = str(folder / command)
            versions[package] = version(package, folder)
    return tools, versions, missing
