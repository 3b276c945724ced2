"""`python -m lab.cli.owner_watchdog OWNER HOLDER`: takes the lab down when the process OWNER has ended.

HOLDER is the process that holds the lab's namespaces. If it ends first, the lab is already down, and the watchdog ends.
"""

from __future__ import annotations

import os
import select
import sys

from lab.cli import teardown


def main(owner: int, holder: int) -> None:
    """Wait until one of the two processes ends; if it is the owner, take the lab down."""
    poll = select.poll()
    pids = {}
    for pid in (owner, holder):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            break
        pids[handle] = pid
        poll.register(handle, select.POLLIN)
    else:
        ended = {pids[handle] for handle, _ in poll.poll()}
        if holder in ended:
            return
    teardown.take_down()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
