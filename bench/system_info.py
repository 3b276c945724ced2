"""The machine and the versions that a measurement was made with: enough to judge it by, and no name of its owner's."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from typing import Any

import psutil


def describe() -> dict[str, Any]:
    """Cores, memory, kernel, Python and the day."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "linux": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "day": datetime.now(timezone.utc).date().isoformat(),
    }


def versions() -> dict[str, str]:
    """Of what both sides of the comparison rest on."""
    from importlib.metadata import version

    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    own = f"{version('meshfab')} ({commit.strip() or 'no commit'})"
    return {"meshfab": own, "OpenSSH": said.partition(",")[0].removeprefix("OpenSSH_").split()[0]}
