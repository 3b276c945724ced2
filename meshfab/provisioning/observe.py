"""Read everything that a plan needs to know of a host, before anything is decided."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from meshfab.checks import cross_checks, preconditions
from meshfab.errors import MeshfabError
from meshfab.host import certificate, discovery, facts
from meshfab.nginx import change, previous_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.checks.endpoint_probe import EndpointObservation, EndpointProbe
    from meshfab.config.service import Service
    from meshfab.host.facts import HostState
    from meshfab.nginx.listeners import Endpoint
    from meshfab.provisioning.request import ProvisionRequest
    from meshfab.ssh.root_shell import RootShell


@dataclass(frozen=True)
class ServiceObservation:
    """One service of a host as it is now.

    Attributes:
        service: the service, with the options of earlier runs that this one does not give.
        endpoint: where nginx serves its pair; None where nothing does.
        clients: what TLS clients get there; None if none was asked.
        served: the leaf (DER) that counts among their answers; None when nothing answers.
    """

    service: Service
    endpoint: Endpoint | None = None
    clients: EndpointObservation | None = None
    served: bytes | None = None


@dataclass(frozen=True)
class HostObservation:
    """A host before a plan is made.

    Attributes:
        state: its facts.
        services: each service as it is now, by name.
        refused: why a service cannot be planned for, by name.
        undeclared: sentences on services that are there and not in the request.
        prunable: the names of those of them that carry meshfab's mark.
        read_at: when its facts were read, by this machine's monotonic clock.
    """

    state: HostState
    services: Mapping[str, ServiceObservation]
    refused: Mapping[str, MeshfabError]
    undeclared: tuple[str, ...] = ()
    prunable: tuple[str, ...] = ()
    read_at: float = field(default_factory=time.monotonic)

    @property
    def state_now(self) -> HostState:
        """Its facts by its clock as it is now: a pair that the CA signs after minutes would be `not yet valid` then."""
        passed = timedelta(seconds=time.monotonic() - self.read_at)
        return dataclasses.replace(self.state, now=self.state.now + passed)


def observe(
    shell: RootShell, probe: EndpointProbe, request: ProvisionRequest, services: Sequence[Service]
) -> HostObservation:
    """Read the host's facts by one command, then ask as a TLS client for those of its services that are given.

    Raises:
        ConnectError: the host's answer is not a probe's, or the connection was lost.
    """
    state, undeclared, prunable = _read(shell, request)
    read_at = time.monotonic()
    merged: dict[str, tuple[Service, Endpoint | None]] = {}
    refused: dict[str, MeshfabError] = {}
    for service in services:
        try:
            _require_ready(state, request)
            service_now = previous_options.merge_previous_options(state, service)
            merged[service.name] = service_now, change.serving_endpoint(state, service_now, request.settings)
        except MeshfabError as error:
            refused[service.name] = error
    endpoints = {service.fqdn: endpoint for service, endpoint in merged.values() if endpoint}
    clients = probe.observe(state.addresses, endpoints)
    observations = {
        name: _of_service(state, service, endpoint, clients.get(service.fqdn))
        for name, (service, endpoint) in merged.items()
    }
    return HostObservation(state, observations, refused, undeclared, prunable, read_at)


def _read(shell: RootShell, request: ProvisionRequest) -> tuple[HostState, tuple[str, ...], tuple[str, ...]]:
    settings, services = request.settings, request.services
    if not request.covers_all_services:
        return facts.read_host(shell, settings, services), (), ()
    answer = shell.batch([discovery.request(settings, services, judge=False)])[0]
    discovered = discovery.parse(answer, shell.host, settings, services)
    prunable = (service.name for service in discovered.services if cross_checks.is_prunable(discovered, service))
    return discovered.state, discovery.undeclared(discovered), tuple(prunable)


def _require_ready(state: HostState, request: ProvisionRequest) -> None:
    """Require what the steps need on the host.

    Raises:
        NotReadyError: a program or the root is missing, or the root is not the pinned one.
    """
    if "mint" in request.parts or not request.dry_run:
        tools = preconditions.check_tools(state.tools)
        if request.signer and "renew-enable" not in request.parts:
            # Only a renewal runs it there.
            tools = [tool for tool in tools if tool.code != "step"]
        preconditions.require([*tools, *preconditions.check_root(state.root, request.settings)], state.host)
    if "wire-nginx" in request.parts:
        preconditions.require(preconditions.check_nginx_program(state.tools), state.host)


def _of_service(
    state: HostState, service: Service, endpoint: Endpoint | None, clients: EndpointObservation | None
) -> ServiceObservation:
    disk = certificate.leaf_of(state.services[service.name].cert)
    answer = clients.served(disk.der if disk else None) if clients else None
    return ServiceObservation(service, endpoint, clients, answer.der if answer else None)
