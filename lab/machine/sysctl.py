"""The kernel's inotify limit: raised for a lab of many hosts, restored when the lab is taken down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.layout import Lab

# The systemd of each host uses about ten inotify instances; the kernel's default limit of 128 is reached at about
# twelve hosts.
_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
_HOSTS_WITHIN_DEFAULT = 8
_INSTANCES_PER_HOST = 32


def ensure_inotify_limit(lab: Lab, hosts: int) -> bool:
    """Raise the limit if this number of hosts needs it, and record the old value. Returns whether it was raised."""
    current = int(_LIMIT.read_text())
    required = max(8192, hosts * _INSTANCES_PER_HOST)
    if hosts <= _HOSTS_WITHIN_DEFAULT or current >= required:
        return False
    _record(lab).write_text(f"{current} {required}\n")
    _LIMIT.write_text(f"{required}\n")
    return True


def restore_inotify_limit(lab: Lab) -> bool:
    """Restore the limit, unless someone else has changed it. Returns whether it was restored.

    If another lab of this checkout has raised it too, the record passes to that lab.
    """
    record = _record(lab)
    if not record.exists():
        return False
    original, raised = record.read_text().split()
    other_records = [path for path in lab.state.parent.glob(f"*/{record.name}") if path != record]
    if other_records:
        other_records[0].write_text(f"{original} {_LIMIT.read_text().strip()}\n")
        return False
    if _LIMIT.read_text().strip() != raised:
        return False
    _LIMIT.write_text(f"{original}\n")
    return True


def _record(lab: Lab) -> Path:
    return lab.state / "inotify"
