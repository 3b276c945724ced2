"""What the operator's side sees of a host's services: the leaf under each name, and what DNS says. All at once."""

from __future__ import annotations

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.checks.eye import mesh_address
from meshfab.errors import MeshfabError
from meshfab.host import certificate, facts, tls_client
from meshfab.host.tls_client import Served
from meshfab.nginx import change, previous_options
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.discovery import Discovery
    from meshfab.ssh.root_shell import RootShell

_AT_ONCE = 8
_RESOLVER_SECONDS = 2.0


@dataclass(frozen=True)
class Sight:
    """One service as clients see it.

    Attributes:
        served: the leaf that they get; None when the service is not meant to be served.
        resolved: the addresses that its name has for the operator.
        public: the answers of the public resolvers that know the name, as "address (by resolver)".
    """

    served: Served | None = None
    resolved: tuple[str, ...] = ()
    public: tuple[str, ...] = ()


def look(
    shell: RootShell, survey: Discovery, settings: Settings, *, seconds: float = tls_client.SECONDS
) -> dict[str, Sight]:
    """Look at every service of a host, from here and, where that is impossible, from the host."""
    services = survey.services
    if not services:
        return {}
    peer = "" if shell.c.gateway else str(shell.c.transport.getpeername()[0])

    def one(service: Service) -> Sight:
        resolved = tls_client.resolve(service.fqdn)
        public = tuple(asked_public(service.fqdn, settings.public_resolvers))
        at = asked_at(survey, service, settings)
        if at is None:
            return Sight(None, resolved, public)
        (addresses, port), own = at, survey.state.addresses
        # Clients go where the name leads, whatever nginx listens on; where it leads astray, its own address will do.
        leads = sorted((one for one in resolved if one in own), key=lambda one: one not in addresses)
        address = mesh_address(leads, own if leads else addresses or own, peer)
        return Sight(tls_client.ask(address, service.fqdn, port, timeout=seconds), resolved, public)

    with ThreadPoolExecutor(min(_AT_ONCE, len(services)), thread_name_prefix="sight") as pool:
        seen = dict(zip((service.name for service in services), pool.map(one, services), strict=True))
    return {**seen, **_from_host(shell, services, seen)}


def asked_at(survey: Discovery, service: Service, settings: Settings) -> tuple[tuple[str, ...], int] | None:
    """Where clients ask for a service: addresses (none for any) and the port. None when nothing is meant to serve it.

    A pair that nobody declared and that neither a timer nor nginx knows is a leftover. One that nginx's configuration
    mentions as a client certificate only is shown to upstreams, and to nobody else.
    """
    state, name = survey.state, service.name
    try:
        found = change.endpoint(state, previous_options.merge_previous_options(state, service), settings)
    except MeshfabError:
        found = None  # a vhost that asks for what the host has not: clients are the judges
    if found is not None or name in survey.declared:
        return found or ((), 443)
    if name not in survey.vhosted:
        timer = state.unit(service.timer)
        return ((), 443) if timer.enabled == "enabled" or timer.active == "active" else None
    return None if _is_for_upstreams(state.nginx_conf, service) else ((), 443)


def asked_public(fqdn: str, resolvers: Iterable[str]) -> list[str]:
    """What public resolvers say to a name that must never be public; silence and a refusal are no answers."""
    resolvers = tuple(resolvers)
    if not resolvers:
        return []
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    found = []
    for resolver in resolvers:
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME):
            query = dns.message.make_query(fqdn, kind)
            try:
                answer, _ = dns.query.udp_with_fallback(query, resolver, timeout=_RESOLVER_SECONDS)
            except (dns.exception.DNSException, OSError, ValueError):
                break
            rows = [rdata.to_text() for rrset in answer.answer for rdata in rrset]
            if rows:
                found.append(f"{', '.join(rows)} (says {resolver})")
                break
    return found


def _is_for_upstreams(conf: str, service: Service) -> bool:
    words = conf.replace(";", " ").split()
    before = {first for first, second in itertools.pairwise(words) if second.strip("\"'") == service.cert}
    return before == {"proxy_ssl_certificate"}


def _from_host(shell: RootShell, services: Sequence[Service], seen: dict[str, Sight]) -> dict[str, Sight]:
    """The same question through the root shell, for an operator who cannot reach the address; in one go."""
    deaf: dict[str, tuple[Sight, Served]] = {}
    words: list[str] = []
    for service in services:
        shown = seen[service.name].served
        if shown is not None and shown.der is None:
            deaf[service.name] = seen[service.name], shown
            at = f"[{shown.address}]" if ":" in shown.address else shown.address
            words += [service.name, f"{at}:{shown.port}", service.fqdn]
    if not deaf:
        return {}
    said = facts.fields(shell.batch([Request("eyes", tuple(words))])[0].out)
    return {name: _through(shell.host, sight, shown, said.get(name, "")) for name, (sight, shown) in deaf.items()}


def _through(host: str, sight: Sight, failed: Served, pem: str) -> Sight:
    try:
        der = certificate.read_leaf(pem).der
    except ValueError:
        return sight
    return dataclasses.replace(sight, served=Served(der, failed.address, failed.port, via=host))
