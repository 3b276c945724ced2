"""Checks of a pair and its renewal on a host. Pure: facts in, findings out; plans and reports use the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.checks.finding import Finding
from meshfab.host import certificate, certificate_chain, renewal_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from meshfab.config.service import Service
    from meshfab.host.discovery import HostCertificate
    from meshfab.host.facts import HostState
    from meshfab.host.target_file import File


def check_pair(state: HostState, service: Service | HostCertificate) -> list[Finding]:
    """Check the certificate and its key as they are on the host."""
    have = state.services[service.name]
    if have.cert is None:
        findings = [Finding("cert-missing", "critical", f"no certificate at {service.cert}")]
        return findings if have.public is None else [*findings, *_rights(state, service)]
    try:
        leaf = certificate.read_leaf(have.cert)
    except ValueError as error:
        return [Finding("cert-unreadable", "critical", f"{service.cert}: {error}")]
    return [
        *check_dates(leaf.not_before, leaf.not_after, state.now),
        *_trust(state, service, leaf),
        *_key(state, service, leaf),
        *_rights(state, service),
    ]


def check_renewal(state: HostState, service: Service, wanted: Sequence[File]) -> list[Finding]:
    """Check the timer and the installed unit files against the wanted ones."""
    findings = []
    timer = state.unit(service.timer)
    if timer.enabled != "enabled" or timer.active != "active":
        what = "not installed" if timer.load == "not-found" else f"{timer.enabled or 'not enabled'} and {timer.active}"
        findings.append(Finding("timer-missing", "critical", f"{service.timer} is {what}"))
    faults = list(renewal_units.drift(state, wanted).values()) + renewal_units.unread(state, service)
    if faults:
        findings.append(Finding("unit-drift", "warning", ", ".join(faults)))
    return findings


def check_dates(not_before: datetime, not_after: datetime, now: datetime) -> Iterator[Finding]:
    """A certificate has begun, has not expired, and was renewed in time."""
    if not_before > now:
        what = f"valid only from {not_before:%Y-%m-%d %H:%M} UTC: is a clock wrong?"
        yield Finding("cert-not-yet-valid", "critical", what)
    elif not_after <= now:
        yield Finding("cert-expired", "critical", f"expired {not_after:%Y-%m-%d %H:%M} UTC")
    elif certificate.is_expiring(not_before, not_after, now):
        what = f"under a third of its life is left, until {not_after:%Y-%m-%d %H:%M} UTC"
        yield Finding("cert-expiring", "warning", what)


def check_served(service: Service, disk: certificate.Leaf, served: bytes | None, why: str = "") -> list[Finding]:
    """Compare what a TLS client gets (DER, None when nothing answers) with the leaf on disk."""
    if served is None:
        return [
            Finding(
                "not-served",
                "critical",
                f"nothing answers for {service.fqdn} ({why or 'no listener'})",
            )
        ]
    if served != disk.der:
        return [
            Finding(
                "served-stale",
                "critical",
                f"clients of {service.fqdn} get another certificate than the one on disk",
            )
        ]
    return []


def key_acl_right(acl: str, user: str) -> str:
    """The effective right of a user in `getfacl -cpE` output, such as "r--": its entry cut by the mask.

    >>> key_acl_right("user::rw-\\nuser:nginx:r--\\ngroup::---\\nmask::r--\\nother::---", "nginx")
    'r--'
    """
    entries = dict(row.rsplit(":", 1) for row in acl.split() if row.count(":") == 2)
    user_right, mask = entries.get(f"user:{user}", "---"), entries.get("mask:", "rwx")
    return "".join(bit if bit == limit else "-" for bit, limit in zip(user_right, mask, strict=False))


def _trust(state: HostState, service: Service | HostCertificate, leaf: certificate.Leaf) -> Iterator[Finding]:
    lacking = [name for name in service.names if name not in leaf.sans]
    surplus = [] if service.sans is None else sorted(set(leaf.sans) - set(service.names))
    if lacking or surplus:
        faults = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [
            f"has {', '.join(surplus)}, which nobody asked for"
        ] * bool(surplus)
        yield Finding("san-mismatch", "critical", f"the certificate {' and '.join(faults)}")
    fault = certificate_chain.chain_fault(leaf, state.root or "", state.now)
    if fault:
        yield Finding("chain-untrusted", "critical", f"does not chain to the mesh's root ({fault})")


def _key(state: HostState, service: Service | HostCertificate, leaf: certificate.Leaf) -> Iterator[Finding]:
    public = state.services[service.name].public
    if public is None:
        yield Finding("key-missing", "critical", f"no key at {service.key}")
    elif not certificate.is_key_of(leaf, public):
        yield Finding("key-mismatch", "critical", f"the key at {service.key} is not this certificate's")


def _rights(state: HostState, service: Service | HostCertificate) -> Iterator[Finding]:
    for path, mode in ((service.cert, 0o644), (service.key, 0o640)):
        stat = state.stats.get(path)
        if stat is None or (stat.owner, stat.mode) == ("root:root", mode):
            continue
        open_to_all = path == service.key and stat.mode & 0o007
        yield Finding(
            "mode-drift",
            "critical" if open_to_all else "warning",
            f"{path} is {stat.owner} {stat.mode:04o}, not root:root {mode:04o}",
        )
    user = state.nginx_user
    if service.key in state.stats and "r" not in key_acl_right(state.services[service.name].acl, user):
        yield Finding("acl-missing", "warning", f"{user} has no effective right to read {service.key}")
