"""From what was seen of a host to a report on each of its certificates. Pure: values in, values out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict

from meshfab.checks import cross_checks, remedies, service_checks
from meshfab.checks.endpoint_probe import EndpointObservation
from meshfab.checks.finding import Finding
from meshfab.checks.report import CertificateReport, TimerReport, weight
from meshfab.errors import one_line
from meshfab.host import certificate, discovery, renewal_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.certificate import Leaf
    from meshfab.host.discovery import Discovery, HostCertificate
    from meshfab.host.tls_client import Served

_SKEW_SECONDS = 30
_UNASKED = EndpointObservation()


class _Life(TypedDict, total=False):
    not_before: datetime
    not_after: datetime
    serial: str
    sans: tuple[str, ...]


def host(
    seen: Discovery,
    observations: Mapping[str, EndpointObservation],
    settings: Settings,
    asked: tuple[datetime, datetime],
    public: Mapping[str, Sequence[str]] | None = None,
) -> tuple[CertificateReport, ...]:
    """Judge every service of a host and its own pair, which also bears what concerns the host as a whole.

    Args:
        seen: the host and its services.
        observations: what clients get, by the service's name (FQDN).
        settings: the mesh's conventions.
        asked: the operator's clock before the host was asked and after it answered.
        public: what public resolvers say, by the service's name (FQDN).
    """
    left = set(seen.secrets)
    reports = []
    for service in seen.services:
        secret = [service.secret] if service.secret in left else []
        left.difference_update(secret)
        observation = observations.get(service.fqdn, _UNASKED)
        found = _service_findings(seen, service, observation, settings, (public or {}).get(service.fqdn, ()))
        reports.append(_report(seen, service, observation, [*found, *_secrets(seen, secret)]))
    return (*reports, _own_pair(seen, [*_clock(seen, asked), *_secrets(seen, sorted(left))]))


def _service_findings(
    seen: Discovery, service: Service, observation: EndpointObservation, settings: Settings, public: Sequence[str]
) -> Iterator[Finding]:
    leaf = _leaf(seen, service)
    found = service_checks.of_pair(seen.state, service)
    # A pair that nothing uses lacks no timer, and nobody asks for its name.
    if cross_checks.is_in_use(seen, service):
        found += service_checks.of_renewal(seen.state, service, renewal_units.wanted(service, settings))
        found += cross_checks.of_last_tick(seen, service, leaf)
        found += cross_checks.of_served(seen, service, observation, leaf)
        found += cross_checks.of_dns(seen, service, observation)
    found += cross_checks.of_orphan(seen, service)
    found += cross_checks.of_public_dns(service, public)
    for one in found:
        yield dataclasses.replace(one, remedy=remedies.for_service(one, service, seen))


def _report(
    seen: Discovery, service: Service, observation: EndpointObservation, found: list[Finding]
) -> CertificateReport:
    leaf, timer = _leaf(seen, service), seen.state.unit(service.timer)
    shown = observation.served(leaf.der if leaf else None)
    result = seen.state.unit(f"step@{service.name}.service").result
    return CertificateReport(
        name=service.name,
        fqdn=service.fqdn,
        kind="service",
        served_serial=_serial(shown),
        served=None if shown is None else leaf is not None and shown.der == leaf.der,
        timer=TimerReport(
            timer.enabled == "enabled", timer.active == "active", result, discovery.elapse(timer.elapses)
        ),
        findings=_sorted(found),
        **_life(leaf),
    )


def _own_pair(seen: Discovery, others: list[Finding]) -> CertificateReport:
    own, state = seen.own, seen.state
    if own is None:
        remedy = remedies.on_host(state.host, "hostname -f")
        lost = Finding("cert-missing", "critical", "the host does not say what it is called", remedy)
        return CertificateReport(state.host, state.host, "host", findings=_sorted([lost, *others]))
    # Whose it is and who else reads it is the host's own affair, as long as not everybody does.
    found = [one for one in service_checks.of_pair(state, own) if one.code not in ("acl-missing", "mode-drift")]
    key, leaf, unit = state.stats.get(own.key), _leaf(seen, own), state.unit(discovery.OWN_UNIT)
    if key and key.mode & 0o007:
        found.append(Finding("mode-drift", "critical", f"{own.key} is open to everybody ({key.mode:04o})"))
    if unit.active == "failed" or unit.result not in ("", "success"):
        urgency = cross_checks.urgency(leaf, state.now)
        found.append(Finding("renewal-failed", urgency, f"{discovery.OWN_UNIT} failed ({unit.result or unit.active})"))
    healed = [
        dataclasses.replace(one, remedy=remedies.for_own_pair(one, own, state, discovery.OWN_UNIT)) for one in found
    ]
    name = own.fqdn.partition(".")[0]
    return CertificateReport(name, own.fqdn, "host", findings=_sorted([*healed, *others]), **_life(leaf))


def _clock(seen: Discovery, asked: tuple[datetime, datetime]) -> Iterator[Finding]:
    """Sure of itself: the host read its clock, in whole seconds, at some moment between the operator's two."""
    ahead = (seen.state.now - asked[1]).total_seconds()
    behind = (asked[0] - seen.state.now).total_seconds() - 1
    off = max(ahead, behind)
    if off > _SKEW_SECONDS:
        what = f"the host's clock is {off:.0f} s {'ahead of' if ahead > behind else 'behind'} this machine's"
        yield Finding("clock-skew", "warning", what, remedies.for_clock(seen.state.host))


def _secrets(seen: Discovery, paths: Iterable[str]) -> Iterator[Finding]:
    for path in paths:
        remedy = remedies.for_secret(path, seen.state.host)
        yield Finding("secret-left", "critical", f"{one_line(path)} lies on the host", remedy)


def _leaf(seen: Discovery, service: Service | HostCertificate) -> Leaf | None:
    return certificate.leaf_of(seen.state.services[service.name].cert)


def _life(leaf: Leaf | None) -> _Life:
    if leaf is None:
        return {}
    return {
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
        "serial": str(leaf.serial),
        "sans": leaf.sans,
    }


def _serial(shown: Served | None) -> str | None:
    if shown is None or shown.der is None:
        return None
    try:
        return str(certificate.read_der(shown.der).serial)
    except ValueError:
        return None


def _sorted(found: list[Finding]) -> tuple[Finding, ...]:
    # Names in a certificate and the like are a host's words: they are to play no tricks on whoever reads them.
    found = [dataclasses.replace(one, message=one_line(one.message), remedy=one_line(one.remedy)) for one in found]
    return tuple(sorted(found, key=lambda one: -weight(one.status)))
