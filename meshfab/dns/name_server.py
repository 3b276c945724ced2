"""The interface of every way to write names: read what is there, write changes. `opening` chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.dns.record import Change, Record


class ChangedMeanwhileError(Exception):
    """What is there is not what was read: read it again, and plan again. `publication` handles it."""


class NameServer(Protocol):
    """Where names are written.

    Attributes:
        location: the server or file, for messages.
    """

    location: str

    def read(self, fqdns: Sequence[str]) -> Mapping[str, Record]:
        """What is there of each name.

        Raises:
            DnsError: it cannot be read.
            ConnectError: the host that has the file cannot be reached.
        """

    def write(self, changes: Sequence[Change]) -> None:
        """Write changes of what `read` has returned: all of them, or none.

        Raises:
            ChangedMeanwhileError: something else is there now; nothing was written.
            DnsError: they were not written, and why; what was there before is there still.
            ConnectError: the host that has the file cannot be reached.
        """
