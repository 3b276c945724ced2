"""What only shows when everything that is known of a service is laid side by side. Pure: values in, findings out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from meshfab.checks.finding import Finding
from meshfab.errors import MeshfabError, one_line
from meshfab.host import certificate
from meshfab.nginx import change, previous_options
from meshfab.nginx.listeners import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from meshfab.checks.endpoint_probe import EndpointObservation
    from meshfab.checks.finding import Status
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.certificate import Leaf
    from meshfab.host.discovery import Discovery


def of_last_tick(seen: Discovery, service: Service, leaf: Leaf | None) -> Iterator[Finding]:
    """The last tick failed: by its own word, or by systemd's when it never came to speak."""
    name = f"step@{service.name}.service"
    unit = seen.state.unit(name)
    said = one_line(seen.failed.get(service.name, ""))
    if said or unit.active == "failed" or unit.result not in ("", "success"):
        what = said or f"{unit.result or unit.active}, see journalctl -u {name} there"
        yield Finding("renewal-failed", urgency(leaf, seen.state.now), f"the last renewal failed: {what}")


def of_served(
    seen: Discovery, service: Service, observation: EndpointObservation, leaf: Leaf | None
) -> Iterator[Finding]:
    """What TLS clients get, held against what is on disk."""
    shown = observation.served(leaf.der if leaf else None)
    if shown is None or (leaf is not None and shown.der == leaf.der):
        return
    if shown.der is None:
        is_down = seen.state.unit("nginx.service").active != "active"
        why = "nginx is not running" if is_down else f"{shown.address}:{shown.port}: {shown.why or 'no answer'}"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn} ({why})")
    elif service.fqdn not in _names(shown.der):
        what = f"what answers at {shown.address}:{shown.port} has no certificate for it"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn}: {what}")
    else:
        what = "another certificate than the one on disk" if leaf else "a certificate that is not on disk"
        yield Finding("served-stale", "critical", f"clients of {service.fqdn} get {what}")


def of_dns(seen: Discovery, service: Service, observation: EndpointObservation) -> Iterator[Finding]:
    """The name leads to the host, for the operator and on the host itself, where the loopback is right as well."""
    own = set(seen.state.addresses)
    there = seen.resolved.get(service.name, frozenset())
    is_right_there = any(one in own or one.startswith("127.") or one == "::1" for one in there)
    wrong = []
    if not own & set(observation.resolved):
        wrong.append(f"{_listed(observation.resolved)} here")
    if not is_right_there:
        wrong.append(f"{_listed(sorted(there))} on the host")
    if wrong:
        what = f"{service.fqdn} resolves to {' and '.join(wrong)}, which is no address of the host"
        yield Finding("dns-mismatch", "warning", what)


def of_public_dns(service: Service, public: Sequence[str]) -> Iterator[Finding]:
    """The name is known outside the mesh."""
    if public:
        yield Finding("dns-public", "critical", f"{service.fqdn} is public: {one_line('; '.join(public))}")


def of_orphan(seen: Discovery, service: Service) -> Iterator[Finding]:
    """A pair that nothing uses, or the reverse, of a service that nobody declared."""
    if service.name in seen.declared:
        return
    users = [service.timer] * has_timer(seen, service) + ["a vhost"] * (service.name in seen.vhosted)
    if not any(path in seen.state.stats for path in (service.cert, service.key)):
        if users:
            yield Finding("orphan", "warning", f"{' and '.join(users)} without a pair")
    elif not users:
        yield Finding("orphan", "warning", "a pair without a timer and a vhost")


def expected_endpoint(seen: Discovery, service: Service, settings: Settings) -> Endpoint | None:
    """Where clients ask for a service; None when nothing is meant to serve it.

    A pair that nobody declared and that neither a timer nor nginx knows is a leftover. One that nginx's configuration
    mentions as a client certificate only is shown to upstreams, and to nobody else.
    """
    state, name = seen.state, service.name
    try:
        found = change.serving_endpoint(state, previous_options.merge_previous_options(state, service), settings)
    except MeshfabError:
        found = None  # a vhost that asks for what the host has not: clients are the judges
    if found is not None or name in seen.declared:
        return found or Endpoint()
    if name not in seen.vhosted:
        return Endpoint() if has_timer(seen, service) else None
    return None if _is_for_upstreams(state.nginx_conf, service) else Endpoint()


def is_in_use(seen: Discovery, service: Service) -> bool:
    """Whether anything wants the service: the settings, a timer or a vhost."""
    return service.name in seen.declared or service.name in seen.vhosted or has_timer(seen, service)


def has_timer(seen: Discovery, service: Service) -> bool:
    """Whether its timer is enabled or active."""
    timer = seen.state.unit(service.timer)
    return timer.enabled == "enabled" or timer.active == "active"


def urgency(leaf: Leaf | None, now: datetime) -> Status:
    """How bad a failed renewal is: while there is time, the next tick may still heal it."""
    return "critical" if leaf is None or leaf.is_expiring(now) else "warning"


def _is_for_upstreams(conf: str, service: Service) -> bool:
    words = conf.replace(";", " ").split()
    before = {first for first, second in itertools.pairwise(words) if second.strip("\"'") == service.cert}
    return before == {"proxy_ssl_certificate"}


def _listed(found: Iterable[str]) -> str:
    return ", ".join(found) or "nothing"


def _names(der: bytes) -> tuple[str, ...]:
    try:
        return certificate.read_der(der).sans
    except ValueError:
        return ()
