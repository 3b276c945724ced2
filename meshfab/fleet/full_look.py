"""The full look at one host, as root: observe it, then evaluate the observation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from meshfab.checks import cross_checks, evaluate
from meshfab.checks.client_addresses import peer
from meshfab.checks.endpoint_probe import EndpointObservation, EndpointProbe
from meshfab.config import inventory
from meshfab.fleet.public_names import ask_public_names
from meshfab.host import discovery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.checks.report import CertificateReport
    from meshfab.config.settings import Settings
    from meshfab.host.discovery import Discovery
    from meshfab.ssh.root_shell import RootShell


@dataclass(frozen=True)
class HostObservation:
    """Everything that is known of a host and its services before the evaluation.

    Attributes:
        discovery: the host's answer.
        observations: what TLS clients get, by the service's name (FQDN).
        public: what public resolvers answer, by the service's name (FQDN).
        clock_range: the operator's clock before the host was asked and after it answered.
        reached: the address of the host that SSH reached; empty behind a jump host.
    """

    discovery: Discovery
    observations: Mapping[str, EndpointObservation]
    public: Mapping[str, Sequence[str]]
    clock_range: tuple[datetime, datetime]
    reached: str = ""


def look(host: str, settings: Settings, shell: RootShell, seconds: float) -> tuple[CertificateReport, ...]:
    """Observe and evaluate one host.

    Raises:
        ConnectError: the host was lost, or its answer is not one of ours.
    """
    observation = _observe(host, settings, shell, time.monotonic() + seconds)
    return evaluate.evaluate_host(
        observation.discovery,
        observation.observations,
        settings,
        observation.clock_range,
        observation.public,
        observation.reached,
    )


def _observe(host: str, settings: Settings, shell: RootShell, deadline: float) -> HostObservation:
    declared = inventory.services(host, settings)
    before = datetime.now(timezone.utc)
    answer = shell.batch([discovery.request(settings, declared)])[0]
    after = datetime.now(timezone.utc)
    discovered = discovery.parse(answer, shell.host, settings, declared)
    endpoints = {
        service.fqdn: cross_checks.expected_endpoint(discovered, service, settings) for service in discovered.services
    }
    observations = EndpointProbe(shell).observe(discovered.state.addresses, endpoints, deadline=deadline)
    public = ask_public_names(list(endpoints), settings, deadline)
    return HostObservation(discovered, observations, public, (before, after), peer(shell.c))
