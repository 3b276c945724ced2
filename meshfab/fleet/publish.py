"""`publish-dns`: the names of services of all hosts in the mesh's DNS, in one write, and proved."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from meshfab.checks import client_addresses
from meshfab.config import validation
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.dns import mesh_address, opening, publication
from meshfab.dns.publication import Publication
from meshfab.dns.record import Change, Wish
from meshfab.errors import InputError, MeshfabError
from meshfab.fleet import reissue
from meshfab.host import facts, tls_client
from meshfab.provisioning import naming
from meshfab.ssh import session

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from meshfab.config.dns_options import DnsOptions
    from meshfab.fleet.host_outcome import HostOutcome


@dataclass(frozen=True)
class _Host:
    """Where the names of a host's services lead, or why that is not known."""

    name: str
    addresses: tuple[str, ...] = ()
    error: MeshfabError | None = None


def publish_dns(
    hosts: Sequence[str] | None = None,
    *,
    names: Sequence[str] | None = None,
    settings: Settings | None = None,
    config: Any = None,
    remove: bool = False,
    dry_run: bool = False,
) -> tuple[Publication, ...]:
    """Lead the names of services to their hosts in the mesh's DNS, and ask until everybody gets the right address.

    Asked are the DNS server itself, this machine's resolver, and the resolver of each host. A record that meshfab did
    not write is never changed. An error is not raised: it is in the publication of its name.

    Args:
        hosts: the hosts; None takes the hosts of the settings and those of the declared services.
        names: the services' short names; None takes all that are declared for the hosts. A service that is not declared
            needs `hosts`.
        settings: the mesh's conventions, with `dns` and `mesh_network`; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        remove: take the records of `names` away, wherever they lead; no host is asked, so it may be lost.
        dry_run: read only, and return what would be changed.

    Raises:
        InputError: an argument or a setting is not usable. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    options = settings.dns_options
    if options is None:
        raise InputError("meshfab.dns is not set: names are published by hand", remedy="docs/how-to/dns.md sets it up")
    opening.require_usable(settings)
    if remove:
        if not names or hosts:
            raise InputError("records are removed by name", remedy="give --name with --remove, and no --host")
        fqdns = [Service.of(validation.label(name), settings).fqdn for name in names]
        return _removed(options, fqdns, settings, config, dry_run=dry_run)
    chosen = reissue.choose(hosts, names, settings)
    if not chosen:
        raise InputError("no service is declared", remedy="give --name and --host, or declare it in meshfab.services")
    with ThreadPoolExecutor(min(settings.parallel, len(chosen))) as pool:
        found = pool.map(partial(_ask_host, settings=settings, config=config), chosen)
        wanted = [(host, service) for host in found for service in chosen[host.name]]
    return _published(options, wanted, settings, config, dry_run=dry_run, asks_unchanged=True)


def publish_outcomes(
    outcomes: Sequence[HostOutcome], settings: Settings, config: Any = None, *, dry_run: bool = False
) -> tuple[HostOutcome, ...]:
    """The last part of `apply`: lead the names of all services that are served to their hosts.

    Args:
        outcomes: those of the runs.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration to carry on.
        dry_run: read only.

    Returns:
        The outcomes with what was published; the same ones where the setting `dns` is not there.
    """
    options = settings.dns_options
    if options is None:
        return tuple(outcomes)
    # Not the service of the outcome: that has the names of the certificate on the host, too.
    wanted = [
        (_chosen(outcome.host, one.addresses, outcome.reached, settings), Service.of(one.service.name, settings))
        for outcome in outcomes
        for one in outcome.services
        if one.error is None
    ]
    published = _published(options, wanted, settings, config, dry_run=dry_run, asks_unchanged=False)
    return tuple(
        dataclasses.replace(outcome, published=tuple(one for one in published if one.host == outcome.host))
        for outcome in outcomes
    )


def _ask_host(name: str, settings: Settings, config: Any) -> _Host:
    try:
        return _chosen(name, *addresses_of(name, settings, config), settings)
    except MeshfabError as error:
        return _Host(name, error=error)


def addresses_of(host: str, settings: Settings, config: Any) -> tuple[tuple[str, ...], str]:
    """The host's addresses, as it says, and the one that SSH reached. Errors as for `session.shell_within`."""
    with session.shell_within(host, settings, config, session.HOST_SECONDS) as shell:
        return facts.read_host(shell, settings, []).addresses, client_addresses.peer(shell.c)


def _chosen(name: str, addresses: Sequence[str], reached: str, settings: Settings) -> _Host:
    try:
        return _Host(name, mesh_address.choose(name, addresses, reached, settings.mesh_network))
    except MeshfabError as error:
        return _Host(name, error=error)


def _published(
    options: DnsOptions,
    wanted: Sequence[tuple[_Host, Service]],
    settings: Settings,
    config: Any,
    *,
    dry_run: bool,
    asks_unchanged: bool,
) -> tuple[Publication, ...]:
    """Write all names at once; a host or a name that fails keeps no other back."""
    by_name = {fqdn: service for _, service in wanted for fqdn in naming.names(service, settings)}
    publications = [
        Publication(host.name, fqdn, host.addresses, error=host.error)
        for host, service in wanted
        for fqdn in naming.names(service, settings)
    ]
    wishes = {}
    for fqdn, service in by_name.items():
        known = [each for each in publications if each.fqdn == fqdn and each.error is None]
        if known:
            addresses = tuple(address for each in known for address in each.addresses)
            wishes[fqdn] = naming.wish_for(addresses, service, settings)
    if not wishes:
        return tuple(publications)
    changes = _written(options, wishes, settings, config, dry_run=dry_run)
    publications = [
        each if each.error else _with_change(each, changes[each.fqdn], wishes[each.fqdn]) for each in publications
    ]
    if dry_run:
        return tuple(publications)

    def proved(each: Publication) -> Publication:
        if each.error:
            return each
        asks_host = asks_unchanged or bool(each.reason)
        hosts = {each.host: partial(_resolve_on, each.host, settings=settings, config=config)} if asks_host else {}
        return _proved(
            each, wishes[each.fqdn], publication.askers(options, tls_client.resolve, hosts), options, settings
        )

    with ThreadPoolExecutor(min(settings.parallel, len(publications))) as pool:
        return tuple(pool.map(proved, publications))


def _removed(
    options: DnsOptions, fqdns: Iterable[str], settings: Settings, config: Any, *, dry_run: bool
) -> tuple[Publication, ...]:
    wishes = {fqdn: Wish((), is_removal=True, is_whole=True) for fqdn in fqdns}
    changes = _written(options, wishes, settings, config, dry_run=dry_run)
    results = []
    for fqdn, change in changes.items():
        each = _with_change(Publication("", fqdn), change, wishes[fqdn])
        if each.reason and not dry_run:
            gone = Wish(each.before, is_removal=True)
            each = _proved(each, gone, publication.askers(options, tls_client.resolve, {}), options, settings)
        results.append(each)
    return tuple(results)


def _written(
    options: DnsOptions, wishes: Mapping[str, Wish], settings: Settings, config: Any, *, dry_run: bool
) -> Mapping[str, Change | MeshfabError | None]:
    try:
        return naming.write(options, wishes, settings, config, dry_run=dry_run)
    except MeshfabError as error:
        return dict.fromkeys(wishes, error)


def _with_change(each: Publication, change: Change | MeshfabError | None, wish: Wish) -> Publication:
    if isinstance(change, MeshfabError):
        return dataclasses.replace(each, error=change)
    if change is None:
        return dataclasses.replace(each, addresses=wish.addresses)
    return dataclasses.replace(each, addresses=change.addresses, before=change.before.addresses, reason=change.reason)


def _proved(
    each: Publication,
    wish: Wish,
    who: Mapping[str, publication.Asker],
    options: DnsOptions,
    settings: Settings,
) -> Publication:
    try:
        publication.prove(each.fqdn, wish, who, options.wait)
    except MeshfabError as error:
        return dataclasses.replace(each, error=error)
    return dataclasses.replace(each, error=None if wish.is_removal else naming.public_error(each.fqdn, settings))


def _resolve_on(host: str, fqdn: str, *, settings: Settings, config: Any) -> Collection[str]:
    with session.shell_within(host, settings, config, session.HOST_SECONDS, as_root=False) as shell:
        return naming.resolve_in(shell, fqdn)
