"""Turn the observation of a host into a report on each of its certificates. Pure: values in, values out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict

from meshfab.checks import ca_checks, cross_checks, remedies, service_checks
from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, TimerReport, weight
from meshfab.errors import one_line
from meshfab.host import certificate, renewal_units
from meshfab.host.discovery import OWN_UNIT, elapse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.certificate import Leaf
    from meshfab.host.discovery import Discovery, HostCertificate

_SKEW_SECONDS = 30
_MOST_NAMES = 100
_UNASKED = EndpointObservation()


class _Life(TypedDict, total=False):
    not_before: datetime
    not_after: datetime
    serial: str
    sans: tuple[str, ...]


def evaluate_host(
    discovery: Discovery,
    observations: Mapping[str, EndpointObservation],
    settings: Settings,
    clock_range: tuple[datetime, datetime],
    public: Mapping[str, Sequence[str]] | None = None,
    reached: str = "",
) -> tuple[CertificateReport, ...]:
    """Evaluate every service of a host and its identity pair, whose report also has what concerns the whole host.

    Args:
        discovery: the host and its services.
        observations: what clients get, by the service's name (FQDN).
        settings: the mesh's conventions.
        clock_range: the operator's clock before the host was asked and after it answered.
        public: what public resolvers say, by the service's name (FQDN).
        reached: the address of the host that SSH reached; empty behind a jump host.
    """
    remaining = set(discovery.secrets)
    reports = []
    for service in discovery.services:
        secret = [service.secret] if service.secret in remaining else []
        remaining.difference_update(secret)
        observation = observations.get(service.fqdn, _UNASKED)
        findings = [
            dataclasses.replace(
                finding,
                remedy=remedies.for_service(
                    finding, service, discovery, reached, settings.provisioner, publishes=bool(settings.dns)
                ),
            )
            for finding in _service_findings(
                discovery, service, observation, settings, (public or {}).get(service.fqdn, ())
            )
        ]
        reports.append(_report(discovery, service, observation, [*findings, *_secrets(discovery, secret)]))
    others = [*_root(discovery, settings), *_clock(discovery, clock_range), *_secrets(discovery, sorted(remaining))]
    others += _left_out(discovery)
    # Without a pair of its own, the host has a row of its own only if something is wrong with it.
    return (*reports, _own_pair(discovery, others, settings)) if discovery.has_own or others else tuple(reports)


def _service_findings(
    discovery: Discovery, service: Service, observation: EndpointObservation, settings: Settings, public: Sequence[str]
) -> list[Finding]:
    leaf = _leaf(discovery, service)
    findings = service_checks.check_pair(discovery.state, service)
    # A pair that nothing uses needs no timer, and no client asks for its name.
    if cross_checks.is_in_use(discovery, service):
        findings += service_checks.check_renewal(
            discovery.state, service, renewal_units.wanted(service, settings, discovery.state)
        )
        findings += cross_checks.check_last_tick(discovery, service, leaf)
        findings += cross_checks.check_key_age(discovery, service, leaf)
        findings += cross_checks.check_provisioner(leaf, settings)
        findings += cross_checks.check_served(discovery, service, observation, leaf)
        findings += cross_checks.check_dns(discovery, service, observation)
    findings += cross_checks.check_orphan(discovery, service)
    findings += cross_checks.check_declared(discovery, service, settings)
    findings += cross_checks.check_public_dns(service, public)
    return findings


def _report(
    discovery: Discovery, service: Service, observation: EndpointObservation, findings: list[Finding]
) -> CertificateReport:
    leaf, timer = _leaf(discovery, service), discovery.state.unit(service.timer)
    answer = observation.served(leaf.der if leaf else None)
    served = certificate.leaf_of_der(answer.der) if answer else None
    result = one_line(discovery.state.unit(f"step@{service.name}.service").result)
    return CertificateReport(
        name=service.name,
        fqdn=service.fqdn,
        kind="service",
        served_serial=str(served.serial) if served else None,
        served=None if answer is None else leaf is not None and answer.der == leaf.der,
        timer=TimerReport(timer.enabled == "enabled", timer.active == "active", result, elapse(timer.elapses)),
        history=discovery.state.services[service.name].history,
        findings=_sorted(findings),
        **_life(leaf),
    )


def _own_pair(discovery: Discovery, others: list[Finding], settings: Settings) -> CertificateReport:
    host_pair, state = discovery.own, discovery.state
    if not discovery.has_own:
        return CertificateReport(state.host, state.host, "host", findings=_sorted(others))
    if host_pair is None:
        remedy = remedies.on_host(state.host, "hostname -f")
        lost = Finding("cert-missing", "critical", "the host does not report its own name", remedy)
        return CertificateReport(state.host, state.host, "host", findings=_sorted([lost, *others]))
    # Its owner and its other readers are up to the host, but not everybody may read the key.
    findings = [
        finding
        for finding in service_checks.check_pair(state, host_pair)
        if finding.code not in ("acl-missing", "mode-drift")
    ]
    key, leaf, unit = state.stats.get(host_pair.key), _leaf(discovery, host_pair), state.unit(OWN_UNIT)
    if key and key.mode & 0o007:
        findings.append(Finding("mode-drift", "critical", f"{host_pair.key} can be read by everybody ({key.mode:04o})"))
    if unit.active == "failed" or unit.result not in ("", "success"):
        urgency = cross_checks.urgency(leaf, state.now)
        findings.append(Finding("renewal-failed", urgency, f"{OWN_UNIT} failed ({unit.result or unit.active})"))
    healed = [
        dataclasses.replace(finding, remedy=remedies.for_own_pair(finding, state, OWN_UNIT, settings))
        for finding in findings
    ]
    name = host_pair.fqdn.partition(".")[0]
    return CertificateReport(name, host_pair.fqdn, "host", findings=_sorted([*healed, *others]), **_life(leaf))


def _root(discovery: Discovery, settings: Settings) -> Iterator[Finding]:
    if fault := ca_checks.root_fault(discovery.state.root or "", settings):
        yield Finding("root-mismatch", "critical", fault, ca_checks.ROOT_REMEDY)


def _clock(discovery: Discovery, clock_range: tuple[datetime, datetime]) -> Iterator[Finding]:
    """Report a certain difference: the host read its clock, in whole seconds, between the operator's two readings."""
    ahead = (discovery.state.now - clock_range[1]).total_seconds()
    behind = (clock_range[0] - discovery.state.now).total_seconds() - 1
    off = max(ahead, behind)
    if off > _SKEW_SECONDS:
        what = f"the host's clock is {off:.0f} s {'ahead of' if ahead > behind else 'behind'} this machine's"
        yield Finding("clock-skew", "warning", what, remedies.for_clock(discovery.state.host))


def _secrets(discovery: Discovery, paths: Iterable[str]) -> Iterator[Finding]:
    for path in paths:
        remedy = remedies.for_secret(path, discovery.state.host)
        yield Finding("secret-left", "critical", f"{path} lies on the host", remedy)


def _left_out(discovery: Discovery) -> Iterator[Finding]:
    if discovery.left_out:
        what = f"the host names more than is judged; left out: {discovery.left_out} password files"
        yield Finding("left-out", "warning", what, "look at what is there: is it the right host?")


def _leaf(discovery: Discovery, service: Service | HostCertificate) -> Leaf | None:
    return certificate.leaf_of(discovery.state.services[service.name].cert)


def _life(leaf: Leaf | None) -> _Life:
    if leaf is None:
        return {}
    return {
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
        "serial": str(leaf.serial),
        # The certificate is the host's: a name in it may be any text.
        "sans": tuple(map(one_line, leaf.sans[:_MOST_NAMES])),
    }


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: -weight(finding.status)))
