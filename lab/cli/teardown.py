"""Take a lab down: end its processes and remove everything that it created, complete or not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import layout
from lab.cli.progress import print_line, step
from lab.errors import LabError
from lab.machine import cache, cgroups, namespace_holder, packages
from lab.machine.process import all_pids, is_gone, running_pid, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.layout import Lab

OWNER_WATCHDOG = "owner-watchdog"
_SIGTERM_SECONDS = 1.0


def take_down() -> bool:
    """Take the current lab down. Returns whether anything of it was there."""
    packages.require_machine()
    lab = layout.current()
    require_own_lab(lab)
    _require_outside(lab)
    with cache.locked(lab.lock):
        if not _has_remains(lab):
            print_line(f"lab {lab.name}", "is down already")
            return False
        with step(f"lab {lab.name}", "down"):
            remove(lab)
    return True


def remove(lab: Lab) -> None:
    """End the lab's processes, then remove its namespace, control groups and folder."""
    end_processes(lab)
    _remove_namespace(lab)
    cgroups.remove(lab)
    for mount_point in _mount_points_below(lab.state):
        subprocess.run(["umount", "--lazy", mount_point], check=False)
    if lab.state.exists():
        shutil.rmtree(lab.state)


def _has_remains(lab: Lab) -> bool:
    paths = [lab.state, lab.namespace, lab.resolver.parent]
    return any(path.exists() for path in paths) or bool(_pids(lab))


def end_processes(lab: Lab) -> None:
    """Send SIGTERM to commands that an operator runs in the lab, wait up to one second, then kill all processes."""
    daemons = set(_daemon_pids(lab))
    commands = [pid for pid in _pids(lab) if pid not in daemons]
    send_signal(commands, signal.SIGTERM)
    _wait(commands, _SIGTERM_SECONDS)
    remaining = _pids(lab)
    send_signal(remaining, signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, remaining)), f"the processes of lab {lab.name} to end", 60)


def _wait(pids: Iterable[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not all(map(is_gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _daemon_pids(lab: Lab) -> list[int]:
    recorded = [running_pid(path) for path in lab.pids.glob("*")]
    return [pid for pid in recorded if pid is not None] + cgroups.members(lab)


def _pids(lab: Lab) -> list[int]:
    """The lab's daemons, and every process in its network namespace, mount namespace or control groups."""
    pids = set(_daemon_pids(lab))
    namespaces = {_inode(lab.namespace)}
    holder = namespace_holder.find_pid(lab)
    if holder is not None:
        # Until the holder has created its mount namespace, it is in the one of this process.
        namespaces |= _namespaces(str(holder)) - _namespaces("self")
    namespaces.discard(None)
    pids.update(pid for pid in all_pids() if _namespaces(str(pid)) & namespaces)
    watchdog = running_pid(lab.pids / OWNER_WATCHDOG)
    return sorted(pids - {os.getpid(), os.getppid(), watchdog})


def _namespaces(process: str) -> set[int | None]:
    return {_inode(Path(f"/proc/{process}/ns/{kind}")) for kind in ("net", "mnt")}


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _remove_namespace(lab: Lab) -> None:
    if lab.namespace.exists():
        # If `ip netns add` was killed, there can be a plain file, on which nothing is mounted.
        subprocess.run(["umount", "--lazy", lab.namespace], stderr=subprocess.DEVNULL, check=False)
        lab.namespace.unlink(missing_ok=True)
    if lab.resolver.parent.exists():
        shutil.rmtree(lab.resolver.parent)
        with contextlib.suppress(OSError):  # the folder is not empty if there are other namespaces
            lab.resolver.parent.parent.rmdir()


def _mount_points_below(folder: Path) -> list[str]:
    """The mount points below a folder, the deepest first. Usually there are none outside the lab's namespace."""
    mount_points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted((path for path in mount_points if path.startswith(f"{folder}/")), reverse=True)


def require_own_lab(lab: Lab) -> None:
    """Raise an error if another checkout has brought up a lab with the same name."""
    try:
        owner = Path(lab.resolver.read_text().partition("\n")[0].removeprefix("# "))
    except OSError:
        return
    if owner != lab.checkout and (owner / lab.state.relative_to(lab.checkout)).is_dir():
        raise LabError(f"lab {lab.name} belongs to {owner}; take it down there, or set MESHFAB_LAB_NAME")


def _require_outside(lab: Lab) -> None:
    """Raise an error if this process is in the lab: the teardown would end it."""
    if _inode(lab.namespace) == _inode(Path("/proc/self/ns/net")):
        raise LabError(f"this shell is inside lab {lab.name}; leave it, then run: inv lab.down")
