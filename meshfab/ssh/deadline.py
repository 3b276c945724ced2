"""An end to waiting: a connection that hangs, however it hangs, is closed when its time is up."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from meshfab.errors import LostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection

# A login that was not open yet when its time was up is closed as soon as it is.
_AGAIN_SECONDS = 0.5


@contextmanager
def limit(c: Connection, seconds: float) -> Iterator[None]:
    """Give a block of work on `c` so many seconds, whatever it waits for. Jump hosts stay open: others use them.

    Raises:
        LostError: the time was up.
    """
    done, cut = Event(), Event()
    watch = Thread(target=_watch, args=(c, seconds, done, cut), name="deadline", daemon=True)
    watch.start()
    try:
        yield
    except Exception:
        if cut.is_set():
            what, remedy = f"no answer within {seconds:.0f} s", f"try `ssh {c.original_host} true`: does it hang?"
            raise LostError(what, host=c.original_host, remedy=remedy) from None
        raise
    finally:
        done.set()


def _watch(c: Connection, seconds: float, done: Event, cut: Event) -> None:
    """Close the socket under a worker that waits; it wakes with an error."""
    while not done.wait(_AGAIN_SECONDS if cut.is_set() else seconds):
        cut.set()
        c.client.close()
