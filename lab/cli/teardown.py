"""Taking a lab down: whatever is left of it, however it came to be left."""

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
from lab.cli.progress import say, step
from lab.errors import LabError
from lab.machine import cache, cgroups, packages, sysctl
from lab.machine.process import everyone, is_gone, recorded, send, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.layout import Lab

_GRACE = 1.0


def down() -> None:
    """Take the current lab down; one that is down already is fine."""
    packages.require_machine()
    lab = layout.current()
    refuse_foreign(lab)
    _refuse_inside(lab)
    with cache.locked(lab.lock):
        if not _remains(lab):
            say(f"lab {lab.name}", "is down already")
            return
        with step(f"lab {lab.name}", "down"):
            remove(lab)


def remove(lab: Lab) -> None:
    """End the lab's processes, then remove its namespace, control groups and folder."""
    end_processes(lab)
    _remove_namespace(lab)
    cgroups.remove(lab)
    for place in _mounts_below(lab.state):
        subprocess.run(["umount", "--lazy", place], check=False)
    sysctl.put_back(lab)
    if lab.state.exists():
        shutil.rmtree(lab.state)


def _remains(lab: Lab) -> bool:
    places = [lab.state, lab.namespace, lab.resolver.parent]
    return any(place.exists() for place in places) or bool(_processes(lab))


def end_processes(lab: Lab) -> None:
    """The lab's own daemons at once; the commands of an operator get a moment to clean up."""
    daemons = set(_daemons(lab))
    guests = [pid for pid in _processes(lab) if pid not in daemons]
    send(guests, signal.SIGTERM)
    _wait(guests, _GRACE)
    everything = _processes(lab)
    send(everything, signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, everything)), f"the processes of lab {lab.name}", 10)


def _wait(pids: Iterable[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not all(map(is_gone, pids)) and time.monotonic() < end:
        time.sleep(0.02)


def _daemons(lab: Lab) -> list[int]:
    noted = [recorded(path) for path in lab.pids.glob("*")]
    return [pid for pid in noted if pid is not None] + cgroups.members(lab)


def _processes(lab: Lab) -> list[int]:
    """Everything in the lab's network or mounts or control groups, and its noted daemons."""
    daemons = _daemons(lab)
    ours = {_inode(lab.namespace)}
    keeper = recorded(lab.pids / "keeper")
    if keeper is not None:
        # Before it has its own mounts a keeper still has this process's.
        kept = {_inode(Path(f"/proc/{keeper}/ns/{kind}")) for kind in ("net", "mnt")}
        ours |= kept - {_inode(Path("/proc/self/ns/net")), _inode(Path("/proc/self/ns/mnt"))}
    ours.discard(None)
    found = set(daemons)
    for pid in everyone():
        spaces = {_inode(Path(f"/proc/{pid}/ns/{kind}")) for kind in ("net", "mnt")}
        if spaces & ours:
            found.add(pid)
    watcher = recorded(lab.pids / "watch")
    return sorted(found - {os.getpid(), os.getppid(), watcher})


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _remove_namespace(lab: Lab) -> None:
    if lab.namespace.exists():
        # A killed bring-up can leave the bare file, which is no namespace yet.
        subprocess.run(["umount", "--lazy", lab.namespace], stderr=subprocess.DEVNULL, check=False)
        lab.namespace.unlink(missing_ok=True)
    if lab.resolver.parent.exists():
        shutil.rmtree(lab.resolver.parent)
        with contextlib.suppress(OSError):  # other namespaces of the machine have theirs in it
            lab.resolver.parent.parent.rmdir()


def _mounts_below(folder: Path) -> list[str]:
    """Mounts under a folder, the deepest first. There are none, unless the kernel lost a keeper."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted((one for one in places if one.startswith(f"{folder}/")), reverse=True)


def refuse_foreign(lab: Lab) -> None:
    """Leave a lab of the same name alone that another checkout has brought up."""
    try:
        owner = Path(lab.resolver.read_text().partition("\n")[0].removeprefix("# "))
    except OSError:
        return
    if owner != lab.checkout and (owner / lab.state.relative_to(lab.checkout)).is_dir():
        raise LabError(f"lab {lab.name} is {owner}'s; take it down there, or set MESHFAB_LAB_NAME")


def _refuse_inside(lab: Lab) -> None:
    """A lab cannot be taken down by one of the processes that the take-down ends."""
    if _inode(lab.namespace) == _inode(Path("/proc/self/ns/net")):
        raise LabError(f"this shell is inside lab {lab.name}; leave it, then run: inv lab.down")
