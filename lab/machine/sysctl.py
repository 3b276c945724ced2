"""The kernel's inotify limit, raised for the labs of this machine and left raised."""

from __future__ import annotations

from pathlib import Path

# The systemd of each host uses about ten inotify instances; the kernel's default limit of 128 for all of root's
# processes is reached at about twelve hosts, whichever labs and checkouts they belong to.
_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
_MINIMUM = 8192
_INSTANCES_PER_HOST = 32


def ensure_inotify_limit(hosts: int) -> bool:
    """Raise the limit, unless it is high enough for this number of hosts. Returns whether it was raised.

    Nothing lowers it again: a lab that ends does not know which others run on the machine, and hosts that reach the
    limit lose their network or their journal without a word. An unused limit costs nothing.
    """
    required = max(_MINIMUM, hosts * _INSTANCES_PER_HOST)
    if int(_LIMIT.read_text()) >= required:
        return False
    _LIMIT.write_text(f"{required}\n")
    return True
