"""The server blocks of nginx's live configuration that answer to a service's names over TLS. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.host.facts import HostState
    from meshfab.host.nginx_grammar import ServerBlock
    from meshfab.nginx.layout import VhostPath

# How nginx writes all addresses.
WILD = ("", "*", "0.0.0.0", "[::]")  # noqa: S104

_MAX_PORT = 65535


@dataclass(frozen=True)
class Server:
    """A server block of the live configuration that answers to a service's name over TLS.

    Attributes:
        file: the file that contains the block.
        line: the line it begins on.
        cert: the certificate that it names, the service's own if there are several; "" for none.
        key: the key beside it.
        ports: where it listens with TLS, in the order of the file.
        lines: the directives that name the certificate and the key, each as "file:line".
        hosts: the single addresses that it listens on, without wildcards.
    """

    file: str
    line: int
    cert: str
    key: str
    ports: tuple[int, ...]
    lines: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def has_pair(self, service: Service) -> bool:
        """Whether it serves the service's own pair."""
        return (self.cert, self.key) == (service.cert, service.key)


def find(state: HostState, service: Service, name: str = "", except_path: VhostPath | None = None) -> list[Server]:
    """The TLS server blocks for the service's name, parsed with nginx's grammar.

    Args:
        name: another name of the service; empty for its first.
        except_path: a path to leave out: that of our own vhost.
    """
    skipped = (except_path.path, except_path.link) if except_path else ()
    blocks = state.server_blocks.named(name or service.fqdn)
    servers = [_server(block, service) for block in blocks if block.file not in skipped]
    return [server for server in servers if server]


def stream_listens(state: HostState) -> list[tuple[str, str, int]]:
    """Every TCP `listen` of a `stream` block: its "file:line", host and port."""
    return [
        (f"{file}:{line}", *socket_of(args))
        for file, line, args in state.server_blocks.stream_listens()
        if "udp" not in args
    ]


def _server(block: ServerBlock, service: Service) -> Server | None:
    """The block, if it serves its name over TLS."""
    has_ssl = ["on"] in block.args("ssl")
    sockets = [_client_socket(args) for args in block.args("listen") if has_ssl or "ssl" in args]
    ports = tuple(dict.fromkeys(port for _, port in sockets if 0 < port <= _MAX_PORT))
    if not ports:
        return None
    certs, keys = (block.directives.get(name, []) for name in ("ssl_certificate", "ssl_certificate_key"))
    # There may be one certificate for each kind of key.
    pairs = sorted(
        zip(certs, keys, strict=False),
        key=lambda pair: [args for *_, args in pair] != [[service.cert], [service.key]],
    )
    own_pair = pairs[0] if pairs else ()
    cert, key = (args[0] for *_, args in own_pair) if own_pair else ("", "")
    return Server(
        block.file,
        block.line,
        cert,
        key,
        ports,
        tuple(f"{file}:{line}" for file, line, _ in own_pair),
        tuple(dict.fromkeys(str(address) for host, _ in sockets if (address := _single_address(host)))),
    )


def _single_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of a `listen`, which nginx writes in brackets for IPv6; None for a wildcard and for a name."""
    if host in WILD:
        return None
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def socket_of(args: list[str]) -> tuple[str, int]:
    """The address ("" for all) and port of a `listen` with these arguments."""
    address = args[0]
    host, colon, tail = address.rpartition(":")
    if address.isdecimal() and len(address) <= 5:
        return "", int(address)
    if colon and tail.isdecimal() and len(tail) <= 5 and not address.endswith("]"):
        return host, int(tail)
    # nginx's default port.
    return address, 80


def _client_socket(args: list[str]) -> tuple[str, int]:
    """Where clients reach a `listen`. Behind a proxy on the host, they reach the proxy's port."""
    is_behind = args[0].startswith(("unix:", "127.", "[::1]", "localhost")) or "proxy_protocol" in args
    return ("", 443) if is_behind else socket_of(args)
