"""Turn what a host publishes and what clients see into a report on each service. Pure: values in, values out."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from meshfab.checks import client_checks, cross_checks, remedies, service_checks
from meshfab.checks.duration import duration
from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, weight
from meshfab.errors import one_line
from meshfab.host import certificate, tick_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from meshfab.checks.finding import Status
    from meshfab.config.service import Service
    from meshfab.host.certificate import Leaf
    from meshfab.host.published_states import PublishedStates
    from meshfab.host.tick_state import TickState
    from meshfab.host.tls_client import Served

_TWO_TICKS = timedelta(seconds=tick_state.TWO_TICKS)
_UNASKED = EndpointObservation()


def evaluate_published(
    host: str,
    published: PublishedStates,
    observations: Mapping[str, EndpointObservation],
    public: Mapping[str, Sequence[str]],
    declared: Sequence[Service],
    reached: str = "",
    *,
    publishes: bool = False,
) -> tuple[CertificateReport, ...]:
    """Evaluate every service that is declared for a host or that it publishes.

    Args:
        host: its name, as it was given.
        published: what the host publishes.
        observations: what clients get, by the service's name (FQDN).
        public: what public resolvers say, by the service's name (FQDN).
        declared: the services that the settings put on the host.
        reached: the address of the host that SSH reached; empty behind a jump host.
        publishes: whether the setting `dns` is there.
    """
    names = {service.name for service in declared}
    reports = []
    for service in published.services:
        observation = observations.get(service.fqdn, _UNASKED)
        state = published.states.get(service.name)
        findings = [
            *_check_tick(published, service, state, _leaf_of(observation.served(None))),
            *_check_state(published, state, is_declared=service.name in names),
            *_check_clients(published, service, state, observation),
            *cross_checks.check_public_dns(service, public.get(service.fqdn, ())),
        ]
        remedied = [
            dataclasses.replace(
                finding,
                remedy=remedies.for_look(
                    finding,
                    service,
                    host,
                    is_declared=service.name in names,
                    address=reached,
                    publishes=publishes,
                ),
            )
            for finding in findings
        ]
        reports.append(_report(published, service, state, observation, remedied))
    return tuple(reports)


def _check_tick(
    published: PublishedStates, service: Service, state: TickState | None, served: Leaf | None
) -> Iterator[Finding]:
    """A tick has ended within the time of two, and the last one went well."""
    urgency = _urgency(published, state, served)
    if state is None:
        if service.name in published.states:
            yield Finding("tick-silent", urgency, "the state of its ticks cannot be read")
        elif published.up_for is None or published.up_for > _TWO_TICKS:
            yield Finding("tick-silent", urgency, "no tick has published a state")
        return
    age = published.now - state.time
    if age > _TWO_TICKS:
        what = f"the last tick ended {duration(age)} ago, and one comes every 15 to 20 minutes"
        yield Finding("tick-silent", urgency, what)
    if not state.is_ok:
        yield Finding("renewal-failed", urgency, f"the last renewal failed: {state.message}")


def _check_state(published: PublishedStates, state: TickState | None, *, is_declared: bool) -> Iterator[Finding]:
    """The certificate on disk, as the last tick saw it."""
    if state and state.not_before and state.not_after:
        yield from service_checks.check_dates(state.not_before, state.not_after, published.now)
    elif state and state.serial is None and is_declared:
        yield Finding("cert-missing", "critical", "the last tick found no certificate")


def _check_clients(
    published: PublishedStates, service: Service, state: TickState | None, observation: EndpointObservation
) -> Iterator[Finding]:
    """Clients reach the host by the name, and get the certificate that the last tick saw, or a newer one."""
    for answer in observation.answers:
        leaf = _leaf_of(answer)
        of_clients = list(client_checks.check_served(service, answer, published.now))
        yield from of_clients
        if leaf is None or any(finding.code == "not-served" for finding in of_clients):
            continue
        # What was issued after the tick's word is newer than the word.
        if state and state.serial not in (None, leaf.serial) and leaf.not_before < state.time - timedelta(minutes=2):
            what = f"clients of {service.fqdn} get another certificate than the one on disk"
            yield Finding("served-stale", "critical", what)
    if not set(published.addresses) & set(observation.resolved):
        resolved = ", ".join(observation.resolved) or "nothing"
        what = f"{service.fqdn} resolves to {resolved} here, which is no address of the host"
        yield Finding("dns-mismatch", "warning", what)


def _urgency(published: PublishedStates, state: TickState | None, served: Leaf | None) -> Status:
    """Critical under a third of life, by whatever is known of the certificate; else the next ticks have time."""
    if served is not None:
        return "critical" if served.is_expiring(published.now) else "warning"
    if state and state.not_before and state.not_after:
        is_expiring = certificate.is_expiring(state.not_before, state.not_after, published.now)
        return "critical" if is_expiring else "warning"
    return "warning"


def _report(
    published: PublishedStates,
    service: Service,
    state: TickState | None,
    observation: EndpointObservation,
    findings: list[Finding],
) -> CertificateReport:
    answer = observation.served(None)
    leaf = _leaf_of(answer)
    is_faulty = any(finding.code in ("not-served", "served-stale") for finding in findings)
    return CertificateReport(
        name=service.name,
        fqdn=service.fqdn,
        kind="service",
        not_before=state.not_before if state else leaf.not_before if leaf else None,
        not_after=state.not_after if state else leaf.not_after if leaf else None,
        serial=str(state.serial) if state and state.serial is not None else None,
        sans=tuple(map(one_line, leaf.sans)) if leaf else (),
        served_serial=str(leaf.serial) if leaf else None,
        served=None if answer is None else not is_faulty,
        as_of=state.time if state else None,
        age=max((published.now - state.time).total_seconds(), 0.0) if state else None,
        findings=tuple(sorted(_once(findings), key=lambda finding: -weight(finding.status))),
    )


def _leaf_of(answer: Served | None) -> Leaf | None:
    return certificate.leaf_of_der(answer.der) if answer else None


def _once(findings: list[Finding]) -> list[Finding]:
    """Disk and clients say the same of an old certificate."""
    return list({(finding.code, finding.message): finding for finding in findings}.values())
