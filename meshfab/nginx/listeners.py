"""Where nginx listens: the addresses of our vhost, and conflicts between `listen` directives. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import NginxError
from meshfab.nginx.server_blocks import WILD, socket_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.nginx.layout import VhostPath


@dataclass(frozen=True)
class Endpoint:
    """Where nginx serves a name.

    Attributes:
        addresses: the single addresses that it listens on; empty for all addresses of the host.
        port: the TCP port.
    """

    addresses: tuple[str, ...] = ()
    port: int = 443


def addresses(state: HostState, service: Service, settings: Settings) -> tuple[str, ...]:
    """The addresses that our vhost must listen on; empty for all addresses of the host.

    Raises:
        NginxError: the host has no address in a requested network.
    """
    import ipaddress

    requested = service.listen or settings.listen
    if "all" in requested:
        return ()
    addresses_found: list[str] = []
    for item in requested:
        if "/" not in item:
            addresses_found.append(item)
            continue
        network = ipaddress.ip_network(item)
        host_addresses = [address for address in state.addresses if _is_in(address, network)]
        if not host_addresses:
            all_addresses = ", ".join(state.addresses) or "none"
            raise NginxError(
                f"no address of the host is in {item} (it has {all_addresses})", host=state.host, remedy="see --listen"
            )
        addresses_found += host_addresses
    return tuple(dict.fromkeys(addresses_found))


def endpoint(state: HostState, listen_addresses: Sequence[str], operators: Sequence[str], port: int = 443) -> Endpoint:
    """Where clients are to ask for what listens on these addresses.

    Some come from files on the host, which could send the operator's machine anywhere. So an address counts only if it
    is the host's own, or one that the operator named.
    """
    return Endpoint(tuple(address for address in listen_addresses if address in (*state.addresses, *operators)), port)


def listens(state: HostState, service: Service, settings: Settings) -> tuple[str, ...]:
    """The arguments of `listen` in our vhost."""
    own_addresses = tuple(f"{_bracketed(address)}:443" for address in addresses(state, service, settings))
    return own_addresses or (("443", "[::]:443") if state.has_ipv6 else ("443",))


def shadowed_listener(state: HostState, listen_addresses: tuple[str, ...], except_path: VhostPath) -> str:
    """The "file:line" of a wildcard `listen` from which a `listen` on single addresses would take connections.

    nginx picks the socket before the name: with `listen 10.87.0.12:443` in one server, a server that has only
    `listen 443` is not reached at that address any more, whatever name the client sends.
    """
    listening = [(location, host) for location, host, port in _listening(state, except_path) if port == 443]
    taken = {host for _, host in listening}
    for address in listen_addresses:
        wild = WILD[3:] if ":" in address else WILD[:3]
        for location, host in listening:
            if host in wild and _bracketed(address) not in taken:
                return location
    return ""


def listener(state: HostState, port: int) -> str:
    """The "file:line" of a `listen` on the port; "" if there is none."""
    return next((location for location, _, listen_port in _listening(state) if listen_port == port), "")


def hosts_on(state: HostState, port: int, except_path: VhostPath | None = None) -> set[str]:
    """The hosts of every `listen` on the port, as nginx writes them."""
    return {host for _, host, listen_port in _listening(state, except_path) if listen_port == port}


def overriding_listener(state: HostState, address: str, port: int, except_path: VhostPath) -> str:
    """The "file:line" of a `listen` on exactly this address: a wildcard is not reached there."""
    wanted = (_bracketed(address), port)
    listening = _listening(state, except_path)
    return next((location for location, *socket in listening if tuple(socket) == wanted), "")


def _listening(state: HostState, except_path: VhostPath | None = None) -> Iterator[tuple[str, str, int]]:
    """Every `listen` outside our own vhost: its "file:line", host and port.

    A pattern is enough: a match only leads to a refusal or a note, and a host may have hundreds of files.
    """
    for path, line, args in state.nginx.listens:
        if not except_path or path not in (except_path.path, except_path.link):
            yield f"{path}:{line}", *socket_of(args)


def _is_in(address: str, network: IPv4Network | IPv6Network) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
