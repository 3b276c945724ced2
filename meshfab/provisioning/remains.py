"""What a retirement was asked for, and what is on the host of the service: the input of its plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshfab.checks.endpoint_probe import EndpointObservation
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.discovery import Discovery
    from meshfab.host.facts import HostState


@dataclass(frozen=True)
class RetirementRequest:
    """The end of one service on one host, as it was asked for.

    Attributes:
        service: the service.
        settings: the mesh's conventions.
        revokes: whether its certificates are to be revoked.
        root: the operator's own root, PEM, where a token can be signed here; empty where it cannot. A token revokes any
            serial, so it is signed only for a certificate that this root issued for the service.
        force: remove files of ours that were edited by hand, too.
        last: remove the units that all services share, with the last service of the host.
    """

    service: Service
    settings: Settings
    revokes: bool = True
    root: str = ""
    force: bool = False
    last: bool = False


@dataclass(frozen=True)
class ServiceRemains:
    """What is on a host of one service.

    Attributes:
        discovery: the host and all of its services.
        files: the files of the service, in the order in which they may be removed.
        certs: the texts of the certificates beside the live one, by path.
        keys: the public halves of its keys, PEM, by path.
        clients: what TLS clients get for its name; None where nginx does not run.
    """

    discovery: Discovery
    files: tuple[str, ...]
    certs: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    clients: EndpointObservation | None = None

    @property
    def state(self) -> HostState:
        """The facts of the host."""
        return self.discovery.state
