"""From what was seen of a host to a report on each of its certificates. Pure: values in, values out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from meshfab import certificate, findings, remedies, renewal, survey
from meshfab.errors import one_line
from meshfab.findings import Finding
from meshfab.sight import Sight
from meshfab.verdict import CertificateReport, TimerReport, weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from meshfab.certificate import Leaf
    from meshfab.settings import Service, Settings
    from meshfab.survey import Survey

_SKEW_SECONDS = 30
_UNASKED = Sight()


def host(
    seen: Survey, sights: dict[str, Sight], settings: Settings, asked: tuple[datetime, datetime]
) -> tuple[CertificateReport, ...]:
    """Judge every service of a host and its own pair, which also bears what concerns the host as a whole.

    Args:
        asked: the operator's clock before the host was asked and after it answered.
    """
    left = dict.fromkeys(seen.secrets)
    reports = []
    for service in seen.services:
        sight = sights.get(service.name, _UNASKED)
        mine = [path for path in left if path == service.secret]
        for path in mine:
            del left[path]
        reports.append(_service(seen, service, sight, settings, mine))
    return (*reports, _own(seen, [*_clock(seen, asked), *_secrets(seen, left)]))


def _service(
    seen: Survey, service: Service, sight: Sight, settings: Settings, secrets: list[str]
) -> CertificateReport:
    state = seen.state
    leaf = _leaf(seen, service)
    is_declared = service.name in seen.declared
    found = findings.of_pair(state, service)
    if is_declared or _has_timer(seen, service) or service.name in seen.vhosted:
        wanted = {file.path: file.digest for file in renewal.wanted(service, settings)}
        found += findings.of_renewal(state, service, wanted)
        found += [*_last_tick(seen, service, leaf), *_served(seen, service, sight, leaf)]
        found += [*_resolved(seen, service, sight)]
    if not is_declared:
        found += _orphan(seen, service)
    if sight.public:
        what = f"{service.fqdn} is public: {'; '.join(sight.public)}"
        found.append(Finding("dns-public", "critical", what))
    found = [_with_remedy(seen, one, service) for one in found] + [*_secrets(seen, secrets)]
    unit, timer = state.unit(f"step@{service.name}.service"), state.unit(service.timer)
    return CertificateReport(
        name=service.name,
        fqdn=service.fqdn,
        kind="service",
        served_serial=_serial(sight),
        served=_is_served(sight, leaf),
        timer=TimerReport(
            timer.enabled == "enabled", timer.active == "active", unit.result, survey.elapse(timer.elapses)
        ),
        findings=_sorted(found),
        **_about(leaf),
    )


def _own(seen: Survey, others: list[Finding]) -> CertificateReport:
    own, state = seen.own, seen.state
    if own is None:
        what, todo = "the host does not say what it is called", remedies.on_host(state.host, "hostname -f")
        lost = Finding("cert-missing", "critical", what, todo)
        return CertificateReport(state.host, state.host, "host", findings=_sorted([lost, *others]))
    found = [one for one in findings.of_pair(state, own) if one.code not in ("acl-missing", "mode-drift")]
    key = state.stats.get(own.key)
    if key and key.mode & 0o007:
        found.append(Finding("mode-drift", "critical", f"{own.key} is readable by others ({key.mode:04o})"))
    unit = state.unit(survey.OWN_UNIT)
    leaf = _leaf(seen, own)
    if unit.active == "failed" or unit.result not in ("", "success"):
        found.append(Finding("renewal-failed", _urgency(leaf, state.now), f"{survey.OWN_UNIT} failed ({unit.result})"))
    found = [
        dataclasses.replace(one, todo=remedies.for_own_pair(one, own, state.host, survey.OWN_UNIT)) for one in found
    ]
    return CertificateReport(
        own.fqdn.partition(".")[0], own.fqdn, "host", findings=_sorted([*found, *others]), **_about(leaf)
    )


def _last_tick(seen: Survey, service: Service, leaf: Leaf | None) -> Iterator[Finding]:
    unit = seen.state.unit(f"step@{service.name}.service")
    said = one_line(seen.failed.get(service.name, ""))
    if said or unit.active == "failed" or unit.result not in ("", "success"):
        what = said or f"its last tick ended with {unit.result or unit.active}; see journalctl -u {unit_name(service)}"
        yield Finding("renewal-failed", _urgency(leaf, seen.state.now), f"the last renewal failed: {what}")


def unit_name(service: Service) -> str:
    """The systemd service that renews it."""
    return f"step@{service.name}.service"


def _served(seen: Survey, service: Service, sight: Sight, leaf: Leaf | None) -> Iterator[Finding]:
    shown = sight.served
    if shown is None:
        return
    if shown.der is None:
        is_down = seen.state.unit("nginx.service").active != "active"
        why = "nginx is not running" if is_down else f"{shown.address}:{shown.port}: {shown.why or 'no answer'}"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn} ({why})")
    elif leaf is not None and shown.der == leaf.der:
        return
    elif service.fqdn not in _names(shown.der):
        what = f"what answers at {shown.address}:{shown.port} has no certificate for {service.fqdn}"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn}: {what}")
    else:
        what = "another certificate than the one on disk" if leaf else "a certificate that is not on disk"
        yield Finding("served-stale", "critical", f"clients of {service.fqdn} get {what}")


def _resolved(seen: Survey, service: Service, sight: Sight) -> Iterator[Finding]:
    own = set(seen.state.addresses)
    # On the host itself the loopback is an address of the host.
    there = {one for one in seen.resolved.get(service.name, frozenset()) if not one.startswith("127.") and one != "::1"}
    is_local = bool(seen.resolved.get(service.name)) and not there
    wrong = []
    if not own & set(sight.resolved):
        wrong.append(f"{_addresses(sight.resolved)} here")
    if not is_local and not own & there:
        wrong.append(f"{_addresses(sorted(there))} on the host")
    if wrong:
        what = f"{service.fqdn} resolves to {' and '.join(wrong)}, which is no address of the host"
        yield Finding("dns-mismatch", "warning", what)


def _addresses(found: Iterable[str]) -> str:
    return ", ".join(found) or "nothing"


def _orphan(seen: Survey, service: Service) -> list[Finding]:
    have = seen.state.services[service.name]
    has_timer, has_vhost = _has_timer(seen, service), service.name in seen.vhosted
    if have.cert is None and have.public is None and service.key not in seen.state.stats:
        words = [service.timer] * has_timer + ["a vhost"] * has_vhost
        return [Finding("orphan", "warning", f"{' and '.join(words)} without a pair")] if words else []
    if has_timer or has_vhost:
        return []
    return [Finding("orphan", "warning", "a pair without a timer and a vhost")]


def _has_timer(seen: Survey, service: Service) -> bool:
    timer = seen.state.unit(service.timer)
    return timer.enabled == "enabled" or timer.active == "active"


def _clock(seen: Survey, asked: tuple[datetime, datetime]) -> Iterator[Finding]:
    """Sure of itself: the host read its clock, in whole seconds, at some moment between the operator's two."""
    ahead = (seen.state.now - asked[1]).total_seconds()
    behind = (asked[0] - seen.state.now).total_seconds() - 1
    off = max(ahead, behind)
    if off > _SKEW_SECONDS:
        what = f"the host's clock is {off:.0f} s {'ahead of' if ahead > behind else 'behind'} this machine's"
        yield Finding("clock-skew", "warning", what, remedies.for_clock(seen.state.host))


def _secrets(seen: Survey, paths: Iterable[str]) -> Iterator[Finding]:
    for path in paths:
        what = f"{one_line(path)} lies on the host"
        yield Finding("secret-left", "critical", what, remedies.for_secret(path, seen.state.host))


def _with_remedy(seen: Survey, finding: Finding, service: Service) -> Finding:
    todo = remedies.for_service(
        finding, service, seen.state.host, is_declared=service.name in seen.declared or finding.code != "cert-missing"
    )
    if finding.code == "dns-mismatch":
        todo = remedies.for_dns(service, next(iter(seen.state.addresses), "the host's address"))
    elif finding.code == "not-served" and "nginx is not running" in finding.message:
        todo = remedies.for_nginx(seen.state.host)
    return dataclasses.replace(finding, todo=todo)


def _urgency(leaf: Leaf | None, now: datetime) -> findings.Status:
    return "critical" if leaf is None or leaf.is_expiring(now) else "warning"


def _leaf(seen: Survey, service: Service) -> Leaf | None:
    try:
        return certificate.read_leaf(seen.state.services[service.name].cert or "")
    except ValueError:
        return None


def _about(leaf: Leaf | None) -> dict[str, object]:
    if leaf is None:
        return {}
    return {
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
        "serial": str(leaf.serial),
        "sans": leaf.sans,
    }


def _serial(sight: Sight) -> str | None:
    if sight.served is None or sight.served.der is None:
        return None
    try:
        return str(certificate.read_der(sight.served.der).serial)
    except ValueError:
        return None


def _is_served(sight: Sight, leaf: Leaf | None) -> bool | None:
    return None if sight.served is None else leaf is not None and sight.served.der == leaf.der


def _names(der: bytes) -> tuple[str, ...]:
    try:
        return certificate.read_der(der).sans
    except ValueError:
        return ()


def _sorted(found: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda one: -weight(one.status)))
