"""The one kernel setting that many hosts need, and its way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.layout import Lab

# Each host's systemd holds about ten; the kernel's usual 128 stop at about a dozen hosts.
_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH_FOR_FEW = 8
_PER_HOST = 32


def raise_instances(lab: Lab, hosts: int) -> None:
    """Raise the limit if the number of hosts asks for it, and note what it was."""
    before = int(_INSTANCES.read_text())
    wanted = max(8192, hosts * _PER_HOST)
    if hosts <= _ENOUGH_FOR_FEW or before >= wanted:
        return
    _note(lab).write_text(f"{before} {wanted}\n")
    _INSTANCES.write_text(f"{wanted}\n")


def put_back(lab: Lab) -> None:
    """Put the limit back, unless somebody has changed it since; the last lab of several does."""
    note = _note(lab)
    if not note.exists():
        return
    before, ours = note.read_text().split()
    others = [other for other in lab.state.parent.glob(f"*/{note.name}") if other != note]
    if others:
        others[0].write_text(f"{before} {_INSTANCES.read_text().strip()}\n")
    elif _INSTANCES.read_text().strip() == ours:
        _INSTANCES.write_text(f"{before}\n")


def _note(lab: Lab) -> Path:
    return lab.state / "inotify"
