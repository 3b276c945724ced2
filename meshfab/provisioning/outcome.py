"""The outcome of a run for one service: what it was brought to, or its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import one_line, printable

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.errors import MeshfabError
    from meshfab.host.certificate import Leaf
    from meshfab.host.history import Generation
    from meshfab.host.tls_client import Served
    from meshfab.provisioning.plan import Step


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run for one service.

    Attributes:
        host: the host, as it was named.
        service: the service, with the options of earlier runs.
        changed: the steps that were done (or would be, in a dry run), each with its `verb` and `reason`; empty when
            there was nothing to do.
        leaf: the certificate on disk (`not_before`, `not_after`: UTC; `serial`: a number; `sans`: DNS names; `der`:
            bytes); None in a dry run without one.
        served: what a TLS client got at the end (`der`, `address`, `port`, `via`: the host that asked, empty for this
            machine); None where nothing is meant to serve the name.
        notes: what the operator should know, a sentence each, without control characters.
        diffs: in a dry run, a unified diff of every file that would change, without control characters.
        addresses: the host's own addresses, as it says.
        error: why the service is not as requested; a step function raises it instead.
    """

    host: str
    service: Service
    changed: tuple[Step, ...] = ()
    leaf: Leaf | None = None
    served: Served | None = None
    notes: tuple[str, ...] = ()
    diffs: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    error: MeshfabError | None = None

    def __post_init__(self) -> None:
        """Make safe to show what may quote the host."""
        object.__setattr__(self, "notes", tuple(map(one_line, self.notes)))
        object.__setattr__(self, "diffs", tuple(map(printable, self.diffs)))


@dataclass(frozen=True)
class Retirement:
    """The end of a service on one host.

    Attributes:
        host: the host, as it was named.
        service: the service.
        changed: the steps that were done (or would be, in a dry run), each with its `verb` and `reason`; empty when
            nothing of the service was there.
        files: the files that were removed (or would be).
        revoked: the certificates that the CA renews no more, oldest first, each with `serial`, `not_before` and
            `not_after` (UTC). They stay valid until they expire.
        unrevoked: the certificates that could not be revoked, or were not to be, oldest first: whoever has a copy of
            such a pair can have it renewed until it expires.
        notes: what the operator should know, a sentence each, without control characters.
        addresses: the host's own addresses, as it says.
        error: why the service is not retired; `retire` raises it instead.
    """

    host: str
    service: Service
    changed: tuple[Step, ...] = ()
    files: tuple[str, ...] = ()
    revoked: tuple[Generation, ...] = ()
    unrevoked: tuple[Generation, ...] = ()
    notes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    error: MeshfabError | None = None

    def __post_init__(self) -> None:
        """Make safe to show what may quote the host."""
        object.__setattr__(self, "notes", tuple(map(one_line, self.notes)))
        object.__setattr__(self, "files", tuple(map(one_line, self.files)))
