"""The control groups of a lab's hosts, with cgroup version 1, version 2 or both (hybrid)."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lab.machine.process import wait_until

if TYPE_CHECKING:
    from lab.layout import Lab


def create(lab: Lab, host: str) -> list[Path]:
    """Create a group for a host in each hierarchy that systemd uses. Returns the cgroup.procs files."""
    procs_files = []
    for hierarchy in _hierarchies():
        group = _lab_group(lab, hierarchy) / host
        group.mkdir(parents=True, exist_ok=True)
        procs_files.append(group / "cgroup.procs")
    return procs_files


def members(lab: Lab) -> list[int]:
    """The IDs of all processes in the lab's groups."""
    pids: list[int] = []
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(_lab_group(lab, hierarchy)):
            with contextlib.suppress(OSError):  # the group may have been removed meanwhile
                pids += map(int, Path(folder, "cgroup.procs").read_text().split())
    return pids


def remove(lab: Lab) -> None:
    """Remove the lab's groups. The kernel needs a moment after the end of the processes to empty them."""
    for hierarchy in _hierarchies():
        group = _lab_group(lab, hierarchy)
        wait_until(functools.partial(_is_removed, group), f"the control groups below {group} to become empty", 60)


def _is_removed(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return not group.exists()


def _lab_group(lab: Lab, hierarchy: Path) -> Path:
    return hierarchy / f"lab-{lab.name}"


def _hierarchies() -> list[Path]:
    """The mount points of the unified hierarchy and of systemd's named one (cgroup version 1 and hybrid)."""
    mount_points = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_point, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            mount_points.append(Path(mount_point))
    return mount_points
