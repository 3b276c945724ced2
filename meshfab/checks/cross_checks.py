"""Checks that compare several sources: files, units, TLS clients, DNS. Pure: values in, findings out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from meshfab.checks.duration import duration
from meshfab.checks.finding import Finding
from meshfab.config import inventory
from meshfab.errors import NginxError, one_line
from meshfab.host import certificate, history
from meshfab.nginx import change, config_dump, previous_options, server_blocks, vhost
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


_REKEY_GRACE = timedelta(days=1)


def check_last_tick(discovery: Discovery, service: Service, leaf: Leaf | None) -> Iterator[Finding]:
    """The last tick failed: its own message, or systemd's result when the tick left no message."""
    name = f"step@{service.name}.service"
    unit = discovery.state.unit(name)
    tick_message = discovery.failed.get(service.name, "").strip()
    if tick_message or unit.active == "failed" or unit.result not in ("", "success"):
        what = tick_message or f"{unit.result or unit.active}, see journalctl -u {name} there"
        yield Finding("renewal-failed", urgency(leaf, discovery.state.now), f"the last renewal failed: {what}")


def check_key_age(discovery: Discovery, service: Service, leaf: Leaf | None) -> Iterator[Finding]:
    """The key is older than the age at which the tick replaces it, by more than a day: it failed at that many times."""
    if leaf is None or service.rekey_seconds is None:
        return
    known_since = discovery.state.services[service.name].history.key_since(history.digest(leaf))
    age = discovery.state.now - min(known_since or leaf.not_before, leaf.not_before)
    limit = timedelta(seconds=service.rekey_seconds)
    if age > limit + _REKEY_GRACE:
        what = f"its key is {duration(age)} old, and rekey_after is {duration(limit)}"
        yield Finding("key-old", "warning", what)


def check_provisioner(leaf: Leaf | None, settings: Settings) -> Iterator[Finding]:
    """The certificate comes from another provisioner, as after its key leaked and a new one took its place."""
    if leaf and leaf.provisioner and leaf.provisioner != settings.provisioner:
        what = f"it comes from the provisioner '{one_line(leaf.provisioner)[:64]}', not from '{settings.provisioner}'"
        yield Finding("provisioner-other", "warning", what)


def check_served(
    discovery: Discovery, service: Service, observation: EndpointObservation, leaf: Leaf | None
) -> Iterator[Finding]:
    """Compare what TLS clients get with what is on disk."""
    answer = observation.served(leaf.der if leaf else None)
    if answer is None or (leaf is not None and answer.der == leaf.der):
        return
    if _awaits_vhost(discovery, service):
        what = f"no server of nginx answers to {service.fqdn} yet, and its vhost is yours to write"
        yield Finding("not-served", "warning", what)
    elif answer.der is None:
        is_down = discovery.state.unit("nginx.service").active != "active"
        why = "nginx is not running" if is_down else f"{answer.location}: {answer.why or 'no answer'}"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn} ({why})")
    elif (served := certificate.leaf_of_der(answer.der)) is None or service.fqdn not in served.sans:
        what = f"what answers at {answer.location} has no certificate for it"
        yield Finding("not-served", "critical", f"nothing answers for {service.fqdn}: {what}")
    else:
        what = "another certificate than the one on disk" if leaf else "a certificate that is not on disk"
        yield Finding("served-stale", "critical", f"clients of {service.fqdn} get {what}")


def check_dns(discovery: Discovery, service: Service, observation: EndpointObservation) -> Iterator[Finding]:
    """The name resolves to the host, for the operator and on the host itself, where the loopback is correct too."""
    host_addresses = set(discovery.state.addresses)
    host_resolved = discovery.resolved.get(service.name, frozenset())
    is_right_there = any(
        address in host_addresses or address.startswith("127.") or address == "::1" for address in host_resolved
    )
    mismatches = []
    if not host_addresses & set(observation.resolved):
        mismatches.append(f"{_listed(observation.resolved)} here")
    if not is_right_there:
        mismatches.append(f"{_listed(sorted(host_resolved))} on the host")
    if mismatches:
        what = f"{service.fqdn} resolves to {' and '.join(mismatches)}, which is no address of the host"
        yield Finding("dns-mismatch", "warning", what)


def check_public_dns(service: Service, public: Sequence[str]) -> Iterator[Finding]:
    """A resolver outside the mesh knows the name."""
    if public:
        yield Finding("dns-public", "critical", f"{service.fqdn} is public: {'; '.join(public)}")


def check_orphan(discovery: Discovery, service: Service) -> Iterator[Finding]:
    """An undeclared pair that nothing uses, or a timer or vhost without a pair."""
    if service.name in discovery.declared:
        return
    users = [service.timer] * has_timer(discovery, service) + ["a vhost"] * (service.name in discovery.vhosted)
    if not any(path in discovery.state.stats for path in (service.cert, service.key)):
        if users:
            yield Finding("orphan", "warning", f"{' and '.join(users)} without a pair")
    elif not users:
        yield Finding("orphan", "warning", "a pair without a timer and a vhost")


def check_declared(discovery: Discovery, service: Service, settings: Settings) -> Iterator[Finding]:
    """A service of ours that nobody declared, on a host that the declarations name: `apply --prune` would retire it.

    Without any declaration the mesh is kept by `provision`, and everything is as it should be.
    """
    if not settings.services or not is_prunable(discovery, service):
        return
    if discovery.state.host in inventory.hosts(settings):
        yield Finding("undeclared", "warning", "meshfab set it up, and it is not declared for this host")


def is_prunable(discovery: Discovery, service: Service) -> bool:
    """Whether meshfab set it up, with the settings of its ticks or a vhost of ours, and nobody declares it here.

    A pair or a timer alone may be somebody else's.
    """
    state, vhosts = discovery.state, discovery.state.services[service.name].vhosts.values()
    is_ours = service.env_file in state.digests or any(map(vhost.read_header, vhosts))
    return is_ours and service.name not in discovery.declared


def expected_endpoint(discovery: Discovery, service: Service, settings: Settings) -> Endpoint | None:
    """Where clients ask for a service; None when nothing is meant to serve it.

    An undeclared pair without a timer and without a place in nginx's configuration is a leftover. A pair that the
    configuration names only as a client certificate is shown to upstreams, not to clients.
    """
    state, name = discovery.state, service.name
    try:
        endpoint = change.serving_endpoint(state, previous_options.merge_previous_options(state, service), settings)
    except NginxError:
        endpoint = None  # the vhost names an address that the host does not have: ask as a client
    if endpoint is not None or name in discovery.declared:
        return endpoint or Endpoint()
    if name not in discovery.vhosted:
        return Endpoint() if has_timer(discovery, service) else None
    return None if state.nginx.words_before(service.cert) == {"proxy_ssl_certificate"} else Endpoint()


def is_in_use(discovery: Discovery, service: Service) -> bool:
    """Whether the settings, a timer or a vhost use the service."""
    return service.name in discovery.declared or service.name in discovery.vhosted or has_timer(discovery, service)


def has_timer(discovery: Discovery, service: Service) -> bool:
    """Whether its timer is enabled or active."""
    timer = discovery.state.unit(service.timer)
    return timer.enabled == "enabled" or timer.active == "active"


def urgency(leaf: Leaf | None, now: datetime) -> Status:
    """The status of a failed renewal: a warning while the next ticks have time to succeed."""
    return "critical" if leaf is None or leaf.is_expiring(now) else "warning"


def _awaits_vhost(discovery: Discovery, service: Service) -> bool:
    """Whether the operator, who declared that they write the vhost, has not written it yet."""
    if service.name not in discovery.declared or service.vhost or config_dump.config_error(discovery.state):
        return False
    return not server_blocks.find(discovery.state, service)


def _listed(addresses: Iterable[str]) -> str:
    return ", ".join(addresses) or "nothing"
