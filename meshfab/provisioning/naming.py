"""The names of services in the mesh's DNS, as a step of a run on their host: published when they are served."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from meshfab.checks import client_addresses, public_dns
from meshfab.config import inventory
from meshfab.dns import mesh_address, opening, publication
from meshfab.dns.record import Change, Wish
from meshfab.errors import DnsError, MeshfabError
from meshfab.host import host_addresses, tls_client
from meshfab.provisioning.plan import Step
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fabric import Connection

    from meshfab.config.dns_options import DnsOptions
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.provisioning.outcome import Outcome, Retirement

    OnStep = Callable[[str, str], None]


def names(service: Service, settings: Settings) -> tuple[str, ...]:
    """The names of a service that are published: its own, and the other ones that were asked for, in our domain.

    Never those that only a certificate on the host has: the host may have made them up.
    """
    more = inventory.options_of(service.name, settings)[1] if service.sans is None else service.sans
    return tuple(dict.fromkeys((service.fqdn, *(each for each in more if each.endswith(f".{settings.domain}")))))


def wish_for(addresses: tuple[str, ...], service: Service, settings: Settings) -> Wish:
    """What the names of a service should have; one that is declared for several hosts leads to all of them."""
    return Wish(addresses, keeps_others=len(set(inventory.options_of(service.name, settings)[0])) > 1)


def write(
    options: DnsOptions, wishes: Mapping[str, Wish], settings: Settings, config: Any, *, dry_run: bool
) -> dict[str, Change | MeshfabError | None]:
    """Write names; a public one is refused. Returns and errors as for `publication.write`."""
    refused: dict[str, Change | MeshfabError | None] = {}
    for fqdn, wish in wishes.items():
        if not wish.is_removal and (error := public_error(fqdn, settings)):
            refused[fqdn] = error
    private = {fqdn: wish for fqdn, wish in wishes.items() if fqdn not in refused}
    server = opening.name_server(options, settings, config)
    return {**refused, **(publication.write(server, private, dry_run=dry_run) if private else {})}


def public_error(fqdn: str, settings: Settings) -> DnsError | None:
    """The error for a name that resolvers outside the mesh know; None if they do not, or none is set."""
    found = public_dns.ask_public(fqdn, settings.public_resolvers)
    if not found:
        return None
    return DnsError(f"{fqdn} is public: {'; '.join(found)}", remedy="remove it from the public zone first")


def publish(
    c: Connection,
    outcome: Outcome,
    service: Service,
    settings: Settings,
    *,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Lead the names of a service that is served to its host; the outcome has one more step for each change.

    Args:
        c: the host's connection, open.
        outcome: what the run came to.
        service: the service, as it was asked for.
        settings: the mesh's conventions, with `dns`.
        dry_run: read only.
        on_step: called with each step's verb and a sentence when it is done.

    Raises:
        DnsError: a name is not published, or does not lead to the host for everybody who was asked.
        ConnectError: the host that has the file of names cannot be reached.
    """
    options = settings.dns_options
    if options is None:
        return outcome
    reached = client_addresses.peer(c)
    addresses = mesh_address.choose(outcome.host, outcome.addresses, reached, settings.mesh_network)
    wish = wish_for(addresses, service, settings)
    wishes = dict.fromkeys(names(service, settings), wish)
    steps = carry_out(options, wishes, settings, c.config, dry_run=dry_run, on_step=on_step)
    if not dry_run:
        who = publication.askers(options, tls_client.resolve, {outcome.host: lambda fqdn: resolve_on(c, fqdn)})
        for fqdn in wishes:
            publication.prove(fqdn, wish, who, options.wait)
            if error := public_error(fqdn, settings):
                raise error
    return dataclasses.replace(outcome, changed=(*outcome.changed, *steps))


def withdraw(
    c: Connection,
    retired: Retirement,
    settings: Settings,
    *,
    dry_run: bool = False,
    on_step: OnStep | None = None,
) -> Retirement:
    """Take the host's addresses away from the names of a service that ended there, where the record is ours.

    Args:
        c: the host's connection, whose configuration is carried on.
        retired: what became of the service.
        settings: the mesh's conventions.
        dry_run: read only.
        on_step: called with each step's verb and a sentence when it is done.

    Raises:
        DnsError: a record is not removed, or somebody who was asked still gets the host.
        ConnectError: the host that has the file of names cannot be reached.
    """
    options = settings.dns_options
    if options is None or not retired.addresses:
        return retired
    wish = Wish(retired.addresses, is_removal=True)
    wishes = dict.fromkeys(names(retired.service, settings), wish)
    steps = carry_out(options, wishes, settings, c.config, dry_run=dry_run, on_step=on_step)
    if steps and not dry_run:
        for fqdn in wishes:
            publication.prove(fqdn, wish, publication.askers(options, tls_client.resolve, {}), options.wait)
    return dataclasses.replace(retired, changed=(*retired.changed, *steps))


def resolve_on(c: Connection, fqdn: str) -> Collection[str]:
    """What the host's own resolver says of a name. Errors as for `RootShell.batch`."""
    with RootShell(c, timeout=10.0, as_root=False) as shell:
        return resolve_in(shell, fqdn)


def resolve_in(shell: RootShell, fqdn: str) -> Collection[str]:
    """The same in a shell that is open already; it needs no root."""
    answer = shell.batch([Request("resolve", (fqdn,))])[0]
    return host_addresses.resolved(answer.text).get(fqdn, frozenset())


def carry_out(
    options: DnsOptions,
    wishes: Mapping[str, Wish],
    settings: Settings,
    config: Any,
    *,
    dry_run: bool,
    on_step: OnStep | None,
) -> list[Step]:
    """Write names, and return a step for each change; what could be written is told before the first error is raised.

    Raises:
        DnsError: a name is public, or its record somebody else's; or as for `publication.write`.
        ConnectError: as for `publication.write`.
    """
    results = write(options, wishes, settings, config, dry_run=dry_run)
    steps = [Step("publish-dns", each.reason) for each in results.values() if isinstance(each, Change)]
    if on_step and not dry_run:
        for step in steps:
            on_step(step.verb, step.reason)
    for each in results.values():
        if isinstance(each, MeshfabError):
            raise each
    return steps
