"""Snippets for the operator's own vhost (`--no-vhost`), in a folder that no include pattern matches."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from meshfab.errors import EditedError
from meshfab.host.nginx_config import PREFIX
from meshfab.host.target_file import File
from meshfab.nginx import vhost

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.nginx.server_blocks import Server
    from meshfab.nginx.vhost import Part


def path(service: Service, part: Part) -> str:
    """The path of a snippet on the host."""
    return f"{PREFIX}/snippets/{service.fqdn}.{part}.conf"


def missing_files(state: HostState, service: Service, settings: Settings, *, force: bool) -> tuple[File, ...]:
    """The snippets that are missing or differ.

    Raises:
        EditedError: one was edited by hand since, and `force` is not given.
    """
    parts: tuple[Part, ...] = ("tls", "mtls") if service.mtls else ("tls",)
    wanted_files = (_file(state, service, settings, part, force) for part in parts)
    return tuple(file for file in wanted_files if file)


def how_to_include(service: Service, servers: list[Server]) -> list[str]:
    """Instructions for an operator whose vhost does not serve the pair."""
    line = f"include {path(service, 'tls')};"
    if not servers:
        no_server = f"no server of nginx answers to {service.fqdn} yet, so nothing proves the pair"
        return [f"{no_server}: name it in a vhost of yours, with: {line}"]
    wrong_servers = [block for block in servers if not block.has_pair(service)]
    locations = [" and ".join(block.lines) or f"{block.file}:{block.line}" for block in wrong_servers]
    return [
        f"{service.fqdn} is served with another pair: put `{line}` in the place of {location}" for location in locations
    ]


def _file(state: HostState, service: Service, settings: Settings, part: Part, force: bool) -> File | None:
    """The file to write; None if it is there as wanted."""
    location = path(service, part)
    render = functools.partial(vhost.render, service, settings, state.nginx_version, (), part)
    text = state.services[service.name].vhosts.get(location)
    header = vhost.read_header(text) if text else None
    if header and header.is_untouched:
        input_digest = vhost.input_digest(service, settings, state.nginx_version, (), part)
        if header.input_digest == input_digest:
            return None
    elif text is not None and not (header and force):
        raise EditedError(
            f"{location} was edited by hand since meshfab wrote it, or not written by meshfab",
            host=state.host,
            remedy=vhost.HOW_TO_FORCE if header else "move it away",
            diff=vhost.diff(location, text, render()),
        )
    return File(location, "0644", render())
