"""What the sockets of our vhost collide with: a `stream` block, and the sockets of a running nginx. Pure.

`nginx -t` finds none of this, because it ignores an address that is in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.errors import NginxError
from meshfab.nginx import layout, listeners, server_blocks
from meshfab.nginx.server_blocks import WILD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.host.facts import HostState
    from meshfab.nginx.layout import VhostPath

CANNOT_CHANGE = "a running nginx cannot change between all addresses and single ones"
HOW_TO_CHANGE = "give the --listen of its other servers, or `systemctl stop nginx` there and run this with --start"


def require_bindable(state: HostState, fqdn: str, listens: Sequence[str], vhost_path: VhostPath) -> None:
    """Require that nginx can bind the sockets of our vhost.

    Raises:
        NginxError: a stream block has the port, or a running nginx would have to be stopped first.
    """
    location = _stream_listener(state, listens)
    if location:
        raise NginxError(
            f"{location}, in nginx's stream block, listens on port 443, so that no vhost can listen there",
            host=state.host,
            remedy="give --no-vhost, write a vhost that listens on 127.0.0.1:8443 and includes the file that this"
            f" names, and pass {fqdn} to that address in the stream block",
        )
    if layout.is_running(state) and _needs_restart(state, listens, vhost_path):
        raise NginxError(
            f"{CANNOT_CHANGE}, and this vhost would listen on {' and '.join(listens)}",
            host=state.host,
            remedy=HOW_TO_CHANGE,
        )


def _stream_listener(state: HostState, listens: Sequence[str]) -> str:
    """The "file:line" of a `listen` in a stream block that takes a socket of ours; "" for none.

    nginx binds the sockets of its modules one by one, and the second bind() fails.
    """
    wanted = [server_blocks.socket_of([listen]) for listen in listens]
    for location, host, port in server_blocks.stream_listens(state):
        if any(port == our_port and _collide(host, our_host) for our_host, our_port in wanted):
            return location
    return ""


def _needs_restart(state: HostState, listens: Sequence[str], vhost_path: VhostPath) -> bool:
    """Whether a reload would have to replace a wildcard socket by single ones, or the reverse.

    It binds the new sockets before it closes the old ones, and the two cannot be bound at the same time. Within one
    configuration there is no conflict: nginx then binds the wildcard only.
    """
    before = listeners.hosts_on(state, 443)
    after = listeners.hosts_on(state, 443, vhost_path) | {server_blocks.socket_of([listen])[0] for listen in listens}
    kinds = [{_bound(hosts, is_ipv6=is_ipv6) for hosts in (before, after)} for is_ipv6 in (False, True)]
    return {"wildcard", "single"} in kinds


def _bound(hosts: set[str], *, is_ipv6: bool) -> str:
    """What nginx binds for these hosts in one address family: "wildcard", "single", or "" for nothing."""
    family = {host for host in hosts if host.startswith("[") == is_ipv6}
    if not family:
        return ""
    return "wildcard" if family & set(WILD) else "single"


def _collide(host: str, other: str) -> bool:
    if host.startswith("[") != other.startswith("["):
        return False
    return host == other or host in WILD or other in WILD
