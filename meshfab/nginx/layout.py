"""The layout of nginx's configuration on the host, and the path of our vhost in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshfab.errors import NginxError
from meshfab.host.nginx_config import PREFIX

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState


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
    return state.nginx.would_include(vhost_path.link or vhost_path.path)


def is_included(state: HostState, vhost_path: VhostPath) -> bool:
    """Whether the live configuration includes a vhost at this path."""
    return (vhost_path.link or vhost_path.path) in state.nginx.files


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
