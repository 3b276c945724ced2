"""`python -m lab.cli.owner_watchdog OWNER KEEPER`: takes the lab down once the process OWNER has died."""

from __future__ import annotations

import os
import select
import sys

from lab.cli import teardown


def main(owner: int, keeper: int) -> None:
    """Sleep until one of the two ends; if it is the keeper, the lab is gone and so are we."""
    poll = select.poll()
    ends = {}
    for pid in (owner, keeper):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            break
        ends[handle] = pid
        poll.register(handle, select.POLLIN)
    else:
        ended = {ends[handle] for handle, _ in poll.poll()}
        if keeper in ended:
            return
    teardown.down()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
