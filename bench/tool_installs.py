"""Installs Ansible, pyinfra and matplotlib from PyPI, each into a virtual environment in the lab's cache.

They are not dependencies of meshfab: its developers do not need them, and their requirements must not change the
versions that meshfab is tested with.
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

# Contender -> the package to install, and the command of it that is run.
TOOLS = {"ansible": ("ansible-core", "ansible-playbook"), "pyinfra": ("pyinfra", "pyinfra")}


def ensure(package: str) -> Path:
    """Install a package unless it is installed; returns the bin folder of its virtual environment.

    Raises:
        LabError: the package cannot be installed.
    """
    environment = cache.folder() / f"bench-{package}-{cache.key(sys.version)}"
    complete = environment / "complete"
    with cache.locked(cache.folder() / f"{environment.name}.lock"):
        if not complete.exists():
            with step(package, "installed"):
                run([sys.executable, "-m", "venv", "--clear", str(environment)])
                run([str(environment / "bin" / "pip"), "install", "--quiet", "--compile", package], timeout=600)
                complete.touch()
    return environment / "bin"


def version(package: str, folder: Path) -> str:
    """The version of a package in a virtual environment, whose bin folder is given."""
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([str(folder / "python"), "-c", script], text=True).strip()


def ensure_all() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Install Ansible and pyinfra; returns their commands, their versions, and why a tool is missing."""
    commands, versions, missing = {}, {}, {}
    for key, (package, command) in TOOLS.items():
        try:
            folder = ensure(package)
        except LabError as error:
            missing[key] = str(error)
        else:
            commands[key] = str(folder / command)
            versions[package] = version(package, folder)
    return commands, versions, missing
