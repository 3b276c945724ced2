"""A time limit for work on a connection: when it expires, the connection is closed, whatever it waits for."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from meshfab.errors import LostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabric import Connection

# A connection that is still being opened when the time limit expires cannot be closed yet: try again.
_RETRY_SECONDS = 0.5


@contextmanager
def limit(c: Connection, seconds: float) -> Iterator[None]:
    """Limit the time of a block of work on `c`. Jump hosts stay open, since other connections use them.

    Raises:
        LostError: the time limit expired.
    """
    done, expired = Event(), Event()
    thread = Thread(target=_close_when_expired, args=(c, seconds, done, expired), name="deadline", daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        if expired.is_set():
            what, remedy = f"no answer within {seconds:.0f} s", f"try `ssh {c.original_host} true`: does it hang?"
            raise LostError(what, host=c.original_host, remedy=remedy) from None
        raise
    finally:
        done.set()


def _close_when_expired(c: Connection, seconds: float, done: Event, expired: Event) -> None:
    """Close the socket when the time limit expires; the thread that waits for it gets an error."""
    while not done.wait(_RETRY_SECONDS if expired.is_set() else seconds):
        expired.set()
        c.client.close()
