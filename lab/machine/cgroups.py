"""The control groups of a lab's hosts, on any of the kernel's layouts of them."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lab.machine.process import wait_until

if TYPE_CHECKING:
    from lab.layout import Lab


def make(lab: Lab, host: str) -> list[Path]:
    """A group for a host in each hierarchy that systemd uses; returns the files to join by."""
    joins = []
    for hierarchy in _hierarchies():
        group = _top(lab, hierarchy) / host
        group.mkdir(parents=True, exist_ok=True)
        joins.append(group / "cgroup.procs")
    return joins


def members(lab: Lab) -> list[int]:
    """Every process in any of the lab's groups."""
    found: list[int] = []
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(_top(lab, hierarchy)):
            with contextlib.suppress(OSError):  # a group can go while we look
                found += map(int, Path(folder, "cgroup.procs").read_text().split())
    return found


def remove(lab: Lab) -> None:
    """Remove the lab's groups; the kernel empties them a moment after the processes' end."""
    for hierarchy in _hierarchies():
        top = _top(lab, hierarchy)
        wait_until(functools.partial(_is_removed, top), f"the control groups {top} to empty", 10)


def _is_removed(top: Path) -> bool:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return not top.exists()


def _top(lab: Lab, hierarchy: Path) -> Path:
    return hierarchy / f"lab-{lab.name}"


def _hierarchies() -> list[Path]:
    """The unified hierarchy and systemd's own: with version 1, or the hybrid, there are both."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(place))
    return found
