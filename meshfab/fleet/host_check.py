"""Check one host: observe it, then evaluate the observation. Plain values in, plain values out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from meshfab.checks import cross_checks, evaluate
from meshfab.checks.client_addresses import peer
from meshfab.checks.endpoint_probe import EndpointObservation, EndpointProbe
from meshfab.checks.public_dns import ask_public
from meshfab.checks.report import HostReport
from meshfab.config import inventory
from meshfab.errors import MeshfabError, fault_line
from meshfab.host import discovery
from meshfab.host.call_threads import call_all
from meshfab.ssh.session import HOST_SECONDS, shell_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshfab.config.settings import Settings
    from meshfab.host.discovery import Discovery
    from meshfab.ssh.jump_hosts import JumpHostPool

_AT_ONCE = 8


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


def check_host(
    host: str,
    settings: Settings,
    config: Any = None,
    *,
    seconds: float = HOST_SECONDS,
    jumps: JumpHostPool | None = None,
) -> HostReport:
    """Check one host within its own deadline; every error is in the report."""
    began = time.monotonic()
    try:
        observation = _observe(host, settings, config, seconds, jumps)
        certificates = evaluate.evaluate_host(
            observation.discovery,
            observation.observations,
            settings,
            observation.clock_range,
            observation.public,
            observation.reached,
        )
    except MeshfabError as error:
        return HostReport(host, error=error.what, remedy=error.remedy, seconds=time.monotonic() - began)
    except Exception as error:  # a host may answer anything; its answer must not hide the other hosts
        what = f"its answer cannot be judged: {type(error).__name__}: {fault_line(str(error))[:200]}"
        return HostReport(host, error=what, seconds=time.monotonic() - began)
    return HostReport(host, certificates, seconds=time.monotonic() - began)


def _observe(host: str, settings: Settings, config: Any, seconds: float, jumps: JumpHostPool | None) -> HostObservation:
    deadline = time.monotonic() + seconds
    declared = inventory.services(host, settings)
    with shell_within(host, settings, config, seconds, jumps) as shell:
        before = datetime.now(timezone.utc)
        answer = shell.batch([discovery.request(settings, declared)])[0]
        after = datetime.now(timezone.utc)
        discovered = discovery.parse(answer, shell.host, settings, declared)
        endpoints = {
            service.fqdn: cross_checks.expected_endpoint(discovered, service, settings)
            for service in discovered.services
        }
        observations = EndpointProbe(shell).observe(discovered.state.addresses, endpoints, deadline=deadline)
        reached = peer(shell.c)
    public = _public(list(endpoints), settings, deadline)
    return HostObservation(discovered, observations, public, (before, after), reached)


def _public(fqdns: Sequence[str], settings: Settings, deadline: float) -> dict[str, tuple[str, ...]]:
    """What public resolvers answer; a name for which the time is too short has no answer, as with silent resolvers."""
    if not settings.public_resolvers or not fqdns:
        return {}
    ask = partial(ask_public, resolvers=settings.public_resolvers)
    answers = call_all(ask, fqdns, deadline=deadline, at_once=_AT_ONCE)
    return {fqdn: answers.get(fqdn, ()) for fqdn in fqdns}
