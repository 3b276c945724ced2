"""Connections that share a configuration and jump hosts. This module imports Fabric, so import it late."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from fabric import Connection

from meshfab.errors import LostError, MeshfabError

if TYPE_CHECKING:
    from collections.abc import Callable


class SharedConfigConnection(Connection):  # type: ignore[misc]  # Fabric has no types
    """A connection that writes nothing into its configuration.

    Fabric stores an attribute that the class does not declare in the configuration, which is then merged again; other
    threads find it empty meanwhile. Fabric forgot to declare one.
    """

    inline_ssh_env = None


class JumpHost(SharedConfigConnection):
    """A jump host that is opened once, by the first thread that needs it, and not closed by its targets.

    Attributes:
        fault: why it could not be opened; later callers get it without another try.
    """

    fault: MeshfabError | None = None
    opening: Any = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.opening = Lock()

    def ensure_open(self, host: str, seconds: float | None, opened: Callable[[float | None], object]) -> None:
        """Open it by calling `opened` with the remaining seconds, unless it is open; one caller at a time.

        Raises:
            ConnectError: it could not be opened in time; the error is about `host`, which is behind it.
        """
        began = time.monotonic()
        if not self.opening.acquire(timeout=-1 if seconds is None else max(seconds, 0)):
            timed_out = LostError(f"no answer within {seconds:.0f} s", remedy=f"try `ssh {self.original_host} true`")
            raise through(self, timed_out, host)
        try:
            if self.fault is None and not self.is_connected:
                opened(None if seconds is None else max(seconds - (time.monotonic() - began), 0.001))
        except MeshfabError as error:
            self.fault = error
        finally:
            self.opening.release()
        if self.fault is not None:
            raise through(self, self.fault, host) from None


def through(jump: Connection, error: MeshfabError, host: str) -> MeshfabError:
    """The error of a jump host as an error of the host behind it."""
    return type(error)(f"jump host {jump.original_host}: {error.what}", host=host, remedy=error.remedy)
