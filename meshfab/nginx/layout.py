"""The layout of nginx's configuration on the host, and the path of our vhost in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from meshfab.errors import NginxError
from meshfab.nginx.config_dump import PREFIX

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState

_INCLUDE = re.compile(r"(?:^|[{;])[ \t]*include\s+[\"']?([^\s;\"']+)", re.MULTILINE)


@dataclass(frozen=True)
class VhostPath:
    """The path of a managed vhost, and the link that enables it if the layout has one."""

    path: str
    link: str = ""


def choose_vhost_path(state: HostState, service: Service, settings: Settings) -> VhostPath:
    """The vhost's path in the host's own layout: Debian's sites-available and a link, else conf.d."""
    file = f"{service.fqdn}.conf"
    if settings.conf_dir:
        return VhostPath(f"{settings.conf_dir}/{file}")
    site = VhostPath(f"{PREFIX}/sites-available/{file}", f"{PREFIX}/sites-enabled/{file}")
    if state.has_sites and would_include(state, site):
        return site
    return VhostPath(f"{PREFIX}/conf.d/{file}")


def would_include(state: HostState, vhost_path: VhostPath) -> bool:
    """Whether some `include` of the live configuration includes a file at this path, once it exists."""
    path = PurePosixPath(vhost_path.link or vhost_path.path)
    patterns = (PurePosixPath(PREFIX, match[1]) for match in _INCLUDE.finditer(state.nginx_conf))
    return any(path.match(str(pattern)) for pattern in patterns)


def is_included(state: HostState, vhost_path: VhostPath) -> bool:
    """Whether the live configuration includes a vhost at this path."""
    return f"# configuration file {vhost_path.link or vhost_path.path}:" in state.nginx_conf


def is_running(state: HostState) -> bool:
    """Whether nginx runs."""
    return state.unit("nginx.service").active in ("active", "reloading")


def must_start(state: HostState, *, start: bool) -> bool:
    """Whether nginx must be started to load a configuration, instead of reloaded.

    Raises:
        NginxError: it is stopped and `start` is not given, or systemd can do neither.
    """
    unit = state.unit("nginx.service")
    if unit.load == "masked":
        raise NginxError(
            "nginx.service is masked, and systemd neither starts nor reloads it",
            host=state.host,
            remedy="`systemctl unmask nginx` there, then run this again",
        )
    if is_running(state):
        return False
    if start:
        return True
    raise NginxError(
        "nginx is not running",
        host=state.host,
        remedy="give --start, or `systemctl start nginx` there, and run this again",
    )
