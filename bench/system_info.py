"""The machine and the versions of a measurement. Nothing here identifies the owner of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from typing import Any

import psutil

from meshfab.version import __version__


def describe() -> dict[str, Any]:
    """Cores, memory, kernel, Python and the date."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "linux": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "day": datetime.now(timezone.utc).date().isoformat(),
    }


def versions() -> dict[str, str]:
    """The versions of meshfab (with its commit) and of OpenSSH."""
    openssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return {
        "meshfab": f"{__version__} ({commit.strip() or 'no commit'})",
        "OpenSSH": openssh.partition(",")[0].removeprefix("OpenSSH_").split()[0],
    }
