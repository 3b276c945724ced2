"""nginx as it is configured on the host: what the live configuration says of a service, and where ours belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from meshfab.errors import NginxError
from meshfab.server import FILE, PREFIX

if TYPE_CHECKING:
    from meshfab.probe import HostState
    from meshfab.settings import Service, Settings

_INCLUDE = re.compile(r"(?:^|[{;])[ \t]*include\s+[\"']?([^\s;\"']+)", re.MULTILINE)
_ERROR_LOG = re.compile(r"(?:^|[{;])[ \t]*error_log\s+[\"']?(/[^\s;\"']+)", re.MULTILINE)
_CONFLICT = re.compile(r'conflicting server name "([^"]+)" on (\S+), ignored')


@dataclass(frozen=True)
class Place:
    """Where a vhost of ours lies, and the link that enables it where the layout has one."""

    path: str
    link: str = ""


def broken(state: HostState) -> str:
    """nginx's own words about a configuration it refuses; empty when it is sound."""
    return "" if FILE.search(state.nginx_conf) else " ".join(state.nginx_conf.split())


def is_about(words: str, service: Service) -> bool:
    """Whether nginx's complaint is about this service's own pair, which a mint heals."""
    return any(re.search(rf"{re.escape(path)}(?![\w.-])", words) for path in (service.cert, service.key))


def place(state: HostState, service: Service, settings: Settings) -> Place:
    """The vhost's path in the host's own layout: Debian's sites-available and a link, else conf.d."""
    file = f"{service.fqdn}.conf"
    if settings.conf_dir:
        return Place(f"{settings.conf_dir}/{file}")
    site = Place(f"{PREFIX}/sites-available/{file}", f"{PREFIX}/sites-enabled/{file}")
    if state.has_sites and includes(state, site):
        return site
    return Place(f"{PREFIX}/conf.d/{file}")


def includes(state: HostState, where: Place) -> bool:
    """Whether some `include` of the live configuration takes in a file at this place, once there is one."""
    path = PurePosixPath(where.link or where.path)
    patterns = (PurePosixPath(PREFIX, match[1]) for match in _INCLUDE.finditer(state.nginx_conf))
    return any(path.match(str(pattern)) for pattern in patterns)


def knows(state: HostState, where: Place) -> bool:
    """Whether the live configuration includes a vhost at this place."""
    return f"# configuration file {where.link or where.path}:" in state.nginx_conf


def is_free(state: HostState, port: int) -> bool:
    """Whether surely no server listens on the port. Read without the grammar, which costs more than it could save."""
    return not re.search(rf"^\s*listen\s[^;]*\b{port}\b", state.nginx_conf, re.MULTILINE)


def loads(state: HostState, service: Service) -> bool:
    """Whether the live configuration names the pair at all, so that a new one needs a reload."""
    return service.cert in state.nginx_conf


def conflicts(state: HostState, service: Service) -> list[str]:
    """Where nginx warns that it ignores one of two servers for a name of ours, as "NAME on ADDRESS:PORT"."""
    head = FILE.split(state.nginx_conf, maxsplit=1)[0]
    return [f"{match[1]} on {match[2]}" for match in _CONFLICT.finditer(head) if match[1] in service.names]


def must_start(state: HostState, *, start: bool) -> bool:
    """Whether loading a configuration means to start nginx, and not to reload it.

    Raises:
        NginxError: it is stopped and nobody asked to start it, or systemd will do neither.
    """
    unit = state.unit("nginx.service")
    if unit.load == "masked":
        raise NginxError(
            "nginx.service is masked, and systemd neither starts nor reloads it",
            host=state.host,
            todo="`systemctl unmask nginx` there, then run this again",
        )
    if unit.active in ("active", "reloading"):
        return False
    if start:
        return True
    raise NginxError(
        "nginx is not running",
        host=state.host,
        todo="give --start, or `systemctl start nginx` there, and run this again",
    )


def error_log(state: HostState) -> str:
    """Where nginx says why it did not take a configuration up: the first of its error logs is the main one."""
    match = _ERROR_LOG.search(state.nginx_conf)
    return match[1] if match else "/var/log/nginx/error.log"


def emergency(words: str) -> str:
    """The line that matters of what `nginx -t` prints."""
    match = re.search(r"\[emerg\] (?:\d+#\d+: )?(.*?)(?:\s+nginx: |$)", words)
    return match[1] if match else words
