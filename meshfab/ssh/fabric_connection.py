"""Fabric connections that share a configuration and jump hosts. Import it inside functions: Fabric imports slowly."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from fabric import Connection

from meshfab.errors import LostError, MeshfabError

if TYPE_CHECKING:
    from collections.abc import Callable


class SharedConfigConnection(Connection):  # type: ignore[misc]  # Fabric has no types
    """A connection that writes nothing into its configuration, which other threads use at the same time.

    Setting an attribute that the class does not declare writes it into the configuration, which Fabric then merges
    again; meanwhile other threads read an empty one. `inline_ssh_env` is the attribute that Fabric does not declare.
    """

    inline_ssh_env = None


class JumpHost(SharedConfigConnection):
    """A jump host that is opened once, by the first thread that needs it, and not closed by its targets.

    Attributes:
        error: why it could not be opened; later callers get the same error, without a second attempt.
        open_lock: held by the thread that opens it.
    """

    error: MeshfabError | None = None
    open_lock: Any = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.open_lock = Lock()

    def ensure_open(self, host: str, seconds: float | None, open_it: Callable[[float | None], object]) -> None:
        """Open it, unless it is open or has failed to open. One thread at a time; the others wait.

        Args:
            host: the target behind it, which the errors name.
            seconds: the time limit, waiting included; None for no limit.
            open_it: opens it; called with the remaining seconds, or None.

        Raises:
            ConnectError: it could not be opened, or not in time.
        """
        start = time.monotonic()
        if not self.open_lock.acquire(timeout=-1 if seconds is None else max(seconds, 0)):
            timed_out = LostError(f"no answer within {seconds:.0f} s", remedy=f"try `ssh {self.original_host} true`")
            raise jump_host_error(self, timed_out, host)
        try:
            if self.error is None and not self.is_connected:
                open_it(None if seconds is None else max(seconds - (time.monotonic() - start), 0.001))
        except MeshfabError as error:
            self.error = error
        finally:
            self.open_lock.release()
        if self.error is not None:
            raise jump_host_error(self, self.error, host) from None


def jump_host_error(jump_host: Connection, error: MeshfabError, host: str) -> MeshfabError:
    """Turn an error of a jump host into an error of the host behind it."""
    return type(error)(f"jump host {jump_host.original_host}: {error.what}", host=host, remedy=error.remedy)
