"""`inv doctor`: look at hosts before anything is done on them, and say what each precondition comes to."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from meshfab.checks import ca_checks, preconditions
from meshfab.checks.finding import Finding
from meshfab.checks.report import EXIT, worst
from meshfab.cli import table
from meshfab.config import inventory, password
from meshfab.config.settings import Settings
from meshfab.errors import InputError, MeshfabError, one_line
from meshfab.fleet import check_certs
from meshfab.host import facts, tls_client
from meshfab.ssh import session
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from meshfab.config.service import Service


def run(config: Any, hosts: Sequence[str]) -> int:
    """Examine the hosts, print a line for each precondition, and return the exit status.

    Raises:
        InputError: a word cannot be used; nothing was connected.
    """
    settings = Settings.load(config)
    names = check_certs.asked(hosts, settings)
    own = of_operator(settings)
    console = table.console(sys.stdout)
    _show(console, "here", own)
    every = list(own)
    with ThreadPoolExecutor(min(settings.parallel, len(names))) as pool:
        for name, found in zip(names, pool.map(partial(examine, settings=settings, config=config), names), strict=True):
            _show(console, name, found)
            every += found
    return EXIT[worst(one.status for one in every)]


def examine(host: str, settings: Settings, config: Any = None) -> tuple[Finding, ...]:
    """Every precondition of one host, by one connection and one command."""
    declared = inventory.services(host, settings)
    try:
        with session.shell_within(host, settings, config, session.HOST_SECONDS) as shell:
            state, extra = shell.batch([facts.request(settings, declared), _request(settings, declared)])
            seen = facts.parse(state, shell.host, settings, declared)
    except MeshfabError as error:
        return tuple(preconditions.of_login(error))
    return (*preconditions.of_login(None), *_of_host(seen, facts.fields(extra.out), settings, declared))


def of_operator(settings: Settings) -> tuple[Finding, ...]:
    """What has to be on the operator's own machine."""
    file = settings.password_file
    try:
        password.read_password(file)
    except InputError as error:
        return (Finding("password", "critical", error.what, error.remedy),)
    what, _, remedy = password.exposure(file).partition(" -> ")
    return (Finding("password", "warning", what, remedy) if what else Finding("password", "ok", str(file)),)


def _request(settings: Settings, declared: Sequence[Service]) -> Request:
    ca, port = _ca(settings)
    names = " ".join([ca, *(service.fqdn for service in declared)])
    folders = (settings.cert_dir, settings.key_dir, settings.conf_dir or "/etc/nginx", "/etc/systemd/system")
    words = (settings.ca_url, ca, str(port), settings.root, settings.nginx_user or "", names)
    # /tmp and /run carry the password and the new pair for a moment.
    return Request("doctor", (*words, *folders, "/tmp", "/run"))  # noqa: S108


def _of_host(
    state: facts.HostState, said: dict[str, str], settings: Settings, declared: Sequence[Service]
) -> Iterator[Finding]:
    version = one_line(said.get("step.version", ""))
    for tool in preconditions.of_tools(state.tools):
        has_version = tool.code == "step" and tool.status == "ok" and version
        yield Finding("step", "ok", f"{tool.message}, {version}") if has_version else tool
    yield preconditions.of_systemd(said.get("systemd", ""), runs="systemd.runs" in said)
    yield from preconditions.of_nginx(state, said.get("users", "").split())
    yield from preconditions.of_root(state.root, settings.root)
    resolved: dict[str, set[str]] = {}
    for row in said.get("resolved", "").splitlines():
        name, _, address = row.partition(" ")
        resolved.setdefault(name, set()).add(address)
    there = {name: frozenset(addresses) for name, addresses in resolved.items()}
    here = {service.fqdn: tls_client.resolve(service.fqdn) for service in declared}
    yield from preconditions.of_names(there, here, state.addresses, _ca(settings)[0])
    yield from ca_checks.checks(said, state.root, settings)
    yield from preconditions.of_folders(said.get("folders", ""))


def _ca(settings: Settings) -> tuple[str, int]:
    parts = urlsplit(settings.ca_url)
    return str(parts.hostname), parts.port or 443


def _show(console: Console, where: str, found: Sequence[Finding]) -> None:
    from rich.text import Text

    console.print(Text(where, "bold"), soft_wrap=True)
    for one in found:
        head = (f"  {one.status:<8}", table.STYLES[one.status])
        console.print(Text.assemble(head, f" {one.code:<20} {one_line(one.message)}"), soft_wrap=True)
        if one.remedy:
            console.print(Text.assemble(f"{'':31} -> ", (one_line(one.remedy), "bold")), soft_wrap=True)
