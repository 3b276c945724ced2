"""nginx on the host: what its configuration says of a service, and how ours gets in, is loaded, or is taken back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.errors import MeshfabError, NginxError
from meshfab.script import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.probe import HostState
    from meshfab.settings import Service, Settings

_FILE = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)


@dataclass(frozen=True)
class Server:
    """A server block of the live configuration that answers to a service's name over TLS."""

    file: str
    line: int
    cert: str
    key: str
    ports: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a vhost of ours lies, and the link that enables it where the layout has one."""

    path: str
    link: str = ""


def broken(state: HostState) -> str:
    """nginx's own words about a configuration it refuses; empty when it is sound."""
    return "" if _FILE.search(state.nginx_conf) else " ".join(state.nginx_conf.split())


def is_about(words: str, service: Service) -> bool:
    """Whether nginx's complaint is about this service's own pair, which a mint heals."""
    return service.cert in words or service.key in words


def place(state: HostState, service: Service, settings: Settings) -> Place:
    """The vhost's path in the host's own layout: Debian's sites-available and a link, else conf.d."""
    file = f"{service.fqdn}.conf"
    if settings.conf_dir:
        return Place(f"{settings.conf_dir}/{file}")
    if state.has_sites and "/etc/nginx/sites-enabled/" in state.nginx_conf:
        return Place(f"/etc/nginx/sites-available/{file}", f"/etc/nginx/sites-enabled/{file}")
    return Place(f"/etc/nginx/conf.d/{file}")


def servers(state: HostState, service: Service) -> list[Server]:
    """The TLS server blocks for the service's name, found with nginx's grammar and not with a pattern."""
    dump = _dump(state.nginx_conf)
    found = []
    for path, text in dump.items():
        if service.fqdn in text:
            for block in _blocks(_parse(text), "server"):
                server = _server(block, path, service, dump)
                if server:
                    found.append(server)
    return found


def knows(state: HostState, where: Place) -> bool:
    """Whether the live configuration includes a vhost at this place."""
    return f"# configuration file {where.link or where.path}:" in state.nginx_conf


def loads(state: HostState, service: Service) -> bool:
    """Whether the live configuration names the pair at all, so that a new one needs a reload."""
    return service.cert in state.nginx_conf


def wire(state: HostState, where: Place, text: str) -> Request:
    """Put a vhost in and try it; what was there before comes back when nginx refuses."""
    return Request("wire", (where.path, "" if knows(state, where) else where.link, text))


def reload() -> Request:
    """Try the configuration, then reload."""
    return Request("reload")


def unwire(state: HostState, where: Place) -> Request:
    """Take the vhost of this run out again: what was there before comes back."""
    return Request("unwire", (where.path, "" if knows(state, where) else where.link))


def explain(answer: Answer, host: str) -> MeshfabError:
    """The error that a failed `wire` or `reload` stands for."""
    if answer.status == 3:
        return NginxError(
            f"nginx refuses the configuration: {emergency(answer.err)}",
            host=host,
            todo="what was there before is back in place",
        )
    return NginxError(
        f"nginx was not reloaded: {answer.err}",
        host=host,
        todo="see `journalctl -u nginx` on the host",
    )


def emergency(words: str) -> str:
    """The line that matters of what `nginx -t` prints."""
    match = re.search(r"\[emerg\] (?:\d+#\d+: )?(.*?)(?:\s+nginx: |$)", words)
    return match[1] if match else words


def _dump(conf: str) -> dict[str, str]:
    """`nginx -T` taken apart: the text of each file by its path."""
    _, *parts = _FILE.split(conf)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _parse(text: str) -> list[dict[str, Any]]:
    """crossplane reads files only, so it gets one. Includes are looked up in the dump instead."""
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


def _server(block: dict[str, Any], path: str, service: Service, dump: dict[str, str]) -> Server | None:
    directives = list(_flat(block["block"], dump))
    names = [arg for d in directives if d["directive"] == "server_name" for arg in d["args"]]
    listens = [d["args"] for d in directives if d["directive"] == "listen"]
    ports = tuple(_port(args[0]) for args in listens if "ssl" in args)
    if service.fqdn not in names or not ports:
        return None
    said = {
        d["directive"]: d["args"][0] for d in directives if d["directive"].startswith("ssl_certificate") and d["args"]
    }
    return Server(
        path,
        block["line"],
        said.get("ssl_certificate", ""),
        said.get("ssl_certificate_key", ""),
        tuple(dict.fromkeys(ports)),
    )


def _flat(directives: list[dict[str, Any]], dump: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A block's own directives, with those of the files that it includes by name."""
    for directive in directives:
        if directive["directive"] == "include":
            name = directive["args"][0]
            included = dump.get(name if name.startswith("/") else str(Path("/etc/nginx") / name))
            yield from _flat(_parse(included), dump) if included else ()
        else:
            yield directive


def _port(address: str) -> int:
    tail = address.rpartition(":")[2] if ":" in address and not address.endswith("]") else address
    return int(tail) if tail.isdigit() else 443
