"""A deadline for a connection: it is closed when its time is up, whatever it waits for."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from meshfab.errors import LostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection

# A connection that was still being opened when its time was up is closed as soon as it is open.
_AGAIN_SECONDS = 0.5


@contextmanager
def limit(c: Connection, seconds: float) -> Iterator[None]:
    """Limit the time of a block of work on `c`. Jump hosts stay open, since other connections use them.

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
    """Close the socket; a thread that waits for it gets an error."""
    while not done.wait(_AGAIN_SECONDS if cut.is_set() else seconds):
        cut.set()
        c.client.close()
