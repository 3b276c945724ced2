"""The server blocks of nginx's live configuration, parsed from `nginx -T` output with nginx's grammar. Pure."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from meshfab.nginx.config_dump import PREFIX, dump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.config.service import Service
    from meshfab.host.facts import HostState
    from meshfab.nginx.layout import VhostPath

# How nginx writes all addresses.
WILD = ("", "*", "0.0.0.0", "[::]")  # noqa: S104

_MAX_INCLUDE_DEPTH = 5
_STREAM = re.compile(r"(?:^|[{};])[ \t]*stream\s{0,64}\{", re.MULTILINE)


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
    name, files = (name or service.fqdn).lower(), dump(state.nginx_conf)
    skipped = (except_path.path, except_path.link) if except_path else ()
    servers = []
    for path, text in files.items():
        # Only files that contain the name are parsed: a host may have hundreds.
        if name in text.lower() and path not in skipped:
            servers += [_server(block, path, service, name, files) for block in _blocks(_parse(text), "server")]
    return [server for server in servers if server]


def stream_listens(state: HostState) -> list[tuple[str, str, int]]:
    """Every TCP `listen` of a `stream` block: its "file:line", host and port."""
    files, listens = dump(state.nginx_conf), []
    for path, text in files.items():
        # Only such a file is parsed, and hardly a host has one.
        for block in _blocks(_parse(text), "stream") if _STREAM.search(text) else ():
            for location, server in _flat(block["block"], path, files):
                for at, directive in _flat(server.get("block", []), location.rpartition(":")[0], files):
                    if directive["directive"] == "listen" and "udp" not in directive["args"]:
                        listens.append((at, *socket_of(directive["args"])))
    return listens


@functools.lru_cache(maxsize=64)
def _parse(text: str) -> list[dict[str, Any]]:
    """Parse a text with crossplane, which reads only files. Includes are resolved in the dump instead."""
    import tempfile

    import crossplane

    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        payload = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
    config: list[dict[str, Any]] = payload["config"][0]["parsed"]
    return config


def _blocks(directives: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    for directive in directives:
        if directive["directive"] == name and "block" in directive:
            yield directive
        else:
            yield from _blocks(directive.get("block", []), name)


def _server(block: dict[str, Any], path: str, service: Service, name: str, files: dict[str, str]) -> Server | None:
    """Parse a block, if it serves the name over TLS."""
    directives: dict[str, list[tuple[str, list[str]]]] = {}
    for location, directive in _flat(block["block"], path, files):
        directives.setdefault(directive["directive"], []).append((location, directive["args"]))
    # nginx compares names case-insensitively.
    names = [arg.lower() for _, args in directives.get("server_name", []) for arg in args]
    has_ssl = any(args == ["on"] for _, args in directives.get("ssl", []))
    tls = [args for _, args in directives.get("listen", []) if has_ssl or "ssl" in args]
    if name not in names or not tls:
        return None
    pairs = list(zip(directives.get("ssl_certificate", []), directives.get("ssl_certificate_key", []), strict=False))
    # There may be one certificate for each kind of key.
    pairs.sort(key=lambda pair: [args for _, args in pair] != [[service.cert], [service.key]])
    (cert_location, cert), (key_location, key) = pairs[0] if pairs else (("", [""]), ("", [""]))
    sockets = [_client_socket(args) for args in tls]
    return Server(
        path,
        block["line"],
        cert[0],
        key[0],
        tuple(dict.fromkeys(port for _, port in sockets)),
        tuple(location for location in (cert_location, key_location) if location),
        tuple(dict.fromkeys(host for host, _ in sockets if host not in WILD)),
    )


def _flat(
    directives: list[dict[str, Any]], path: str, files: dict[str, str], includers: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A block's own directives with their "file:line", and those of the files that it includes.

    nginx refuses files that include each other, so a file is not followed from within itself, nor deeper than people
    write it: two includes in each of forty files would be a trillion.
    """
    for directive in directives:
        if directive["directive"] != "include":
            yield f"{path}:{directive['line']}", directive
        elif len(includers) < _MAX_INCLUDE_DEPTH:
            pattern = str(PurePosixPath(PREFIX, directive["args"][0]))
            for name, text in files.items():
                if name != path and name not in includers and PurePosixPath(name).match(pattern):
                    yield from _flat(_parse(text), name, files, (*includers, path))


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
