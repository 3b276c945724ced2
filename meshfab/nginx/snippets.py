"""Files for an operator's own vhost to include, under `--no-vhost`: in a folder that nothing includes by a pattern."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from meshfab.errors import EditedError
from meshfab.host.target_file import File
from meshfab.nginx import vhost
from meshfab.nginx.config_dump import PREFIX

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.nginx.server_blocks import Server
    from meshfab.nginx.vhost import Part


def path(service: Service, part: Part) -> str:
    """Where a part lies on the host."""
    return f"{PREFIX}/snippets/{service.fqdn}.{part}.conf"


def lacking(state: HostState, service: Service, settings: Settings, *, force: bool) -> tuple[File, ...]:
    """The files that are not there yet as wanted.

    Raises:
        EditedError: one was edited by hand since, and `force` is not given.
    """
    parts: tuple[Part, ...] = ("tls", "mtls") if service.mtls else ("tls",)
    files = (_file(state, service, settings, part, force) for part in parts)
    return tuple(file for file in files if file)


def how_to_include(service: Service, found: list[Server]) -> list[str]:
    """What to tell an operator whose vhost does not serve the pair."""
    line = f"include {path(service, 'tls')};"
    if not found:
        first = f"no server of nginx answers to {service.fqdn} yet, so nothing proves the pair"
        return [f"{first}: name it in a vhost of yours, with: {line}"]
    wrong = [block for block in found if not block.has_pair(service)]
    where = [" and ".join(block.lines) or f"{block.file}:{block.line}" for block in wrong]
    return [f"{service.fqdn} is served with another pair: put `{line}` in the place of {at}" for at in where]


def _file(state: HostState, service: Service, settings: Settings, part: Part, force: bool) -> File | None:
    """The file to write; None where it lies there as wanted."""
    place = path(service, part)
    render = functools.partial(vhost.render, service, settings, state.nginx_version, (), part)
    text = state.services[service.name].vhosts.get(place)
    mark = vhost.read_header(text) if text else None
    if mark and mark.is_untouched:
        wants = vhost.wants(service, settings, state.nginx_version, (), part)
        if mark.wants == wants:
            return None
    elif text is not None and not (mark and force):
        raise EditedError(
            f"{place} was edited by hand since meshfab wrote it, or not written by it",
            host=state.host,
            remedy=vhost.HOW_TO_FORCE if mark else "move it away",
            diff=vhost.diff(place, text, render()),
        )
    return File(place, "0644", render())
