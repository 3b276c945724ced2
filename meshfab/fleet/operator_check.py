"""The preconditions of the operator's own machine, for `doctor`: the password or the agent, keys, and resolvers."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from meshfab.ca import client, ssh_agent
from meshfab.checks import provisioner_checks
from meshfab.checks.finding import Finding
from meshfab.config import password, password_source
from meshfab.config.service import Service
from meshfab.dns import opening
from meshfab.errors import InputError, MeshfabError
from meshfab.fleet import resolver_look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshfab.config.settings import Settings


def examine(settings: Settings) -> tuple[Finding, ...]:
    """The preconditions of the operator's own machine."""
    checks = [
        _of_agent() if settings.signing == "agent" else _of_password(settings),
        provisioner_checks.describe_signing(settings),
    ]
    if settings.signing != "host":
        checks.append(_of_operator_root(settings))
    checks += _of_dns_key(settings)
    names = [Service.of(name, settings).fqdn for name in settings.services]
    checks += resolver_look.look(resolver_look.own_configuration(), "", names, settings)
    return tuple(checks)


def _of_dns_key(settings: Settings) -> Iterator[Finding]:
    """The key that signs updates of the DNS, checked as the password's file is."""
    options = settings.dns_options
    if options is None or not options.key_file:
        return
    try:
        opening.name_server(options, settings)
    except InputError as error:
        yield Finding("dns-key", "critical", error.what, error.remedy)
        return
    exposed = password.exposure(options.key_path)
    if exposed:
        yield Finding("dns-key", "warning", exposed.what, exposed.remedy)
    else:
        yield Finding("dns-key", "ok", str(options.key_path))


def _of_password(settings: Settings) -> Finding:
    try:
        # A prompt has nothing that could be checked before.
        if not settings.ask_password:
            password_source.obtain(settings)
    except InputError as error:
        return Finding("password", "critical", error.what, error.remedy)
    exposure = password_source.source_exposure(settings)
    if exposure:
        return Finding("password", "warning", exposure.what, exposure.remedy)
    return Finding("password", "ok", password_source.describe(settings))


def _of_agent() -> Finding:
    try:
        with closing(ssh_agent.open_agent()) as agent:
            return Finding("agent", "ok", f"ssh-agent answers, and has {len(agent.get_keys())} keys")
    except MeshfabError as error:
        return Finding("agent", "critical", error.what, error.remedy)


def _of_operator_root(settings: Settings) -> Finding:
    try:
        client.read_root(settings.operator_root_file)
    except InputError as error:
        return Finding("operator-root", "critical", error.what, error.remedy)
    return Finding("operator-root", "ok", str(settings.operator_root_file))
