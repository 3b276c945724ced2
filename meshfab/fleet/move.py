"""`move`: a service from one host to another: served on both, then the name, then the old one ends."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.dns import mesh_address, opening
from meshfab.dns.record import Wish
from meshfab.errors import InputError, NotReadyError
from meshfab.fleet import publish
from meshfab.fleet.name_wait import Resolvers, wrong_answers
from meshfab.host import certificate, facts
from meshfab.nginx import previous_options
from meshfab.provisioning import naming
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.remains import RetirementRequest
from meshfab.provisioning.request import Consent, MintingMeans, ProvisionRequest, minting_means, revoking_root
from meshfab.provisioning.retirement import retire_service
from meshfab.ssh import session
from meshfab.ssh.connection import connect_by_settings
from meshfab.ssh.interruptions import one_interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfab.provisioning.outcome import Outcome, Retirement

    # Called with the host, a step's verb and a sentence when it is done.
    OnHostStep = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Move:
    """A service that moved, or is on its way.

    Attributes:
        service: the service, with the options that it had on the old host.
        provisioned: the outcome on the new host.
        retired: the end on the old host; None while the name does not lead to the new one, and in a dry run.
        remaining: who does not resolve the name to the new host yet, a sentence each.
        addresses: the addresses of the new host, one of which the name must lead to.
    """

    service: Service
    provisioned: Outcome
    retired: Retirement | None = None
    remaining: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@one_interruption()
def move(
    name: str,
    source: str,
    target: str,
    *,
    settings: Settings | None = None,
    config: Any = None,
    sans: Sequence[str] | None = None,
    vhost: bool = True,
    revoke: bool = True,
    wait: bool = True,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    on_step: OnHostStep | None = None,
) -> Move:
    """Move a service to another host, without a moment in which a client gets no valid certificate.

    The service is provisioned on the new host and proved there, while the old one serves it too. When the name leads to
    the new host, for this machine and both hosts, and the record's time to live is over, the old one is retired. Each
    part is idempotent: a call that was interrupted is completed by the next one.

    Args:
        name: the service's short name.
        source: the old host.
        target: the new host.
        settings: the mesh's conventions and `services`; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        sans: the other DNS names; None takes those of the declaration. Names that only the old host's certificate has
            are never taken over: the host may have made them up.
        vhost: False leaves the vhosts to the operator.
        revoke: False does not revoke the old host's certificates.
        wait: False ends before the old host is retired, if the name does not lead to the new one yet.
        force: overwrite or remove files of ours that were edited by hand.
        start: start nginx on the new host if it is stopped.
        dry_run: read only.
        on_step: called with the host, a step's verb and a sentence when it is done.

    Raises:
        InputError: an argument, a declaration or the password is not usable; nothing was connected.
        NotReadyError: the old host's certificate has names that were not given.
        MeshfabError: as for `provision` and `retire`.
    """
    settings = settings or Settings.load(config if config is not None else {})
    if source == target:
        raise InputError(f"{name} is to move from {source} to itself", remedy="give another host")
    opening.require_usable(settings)
    say = on_step or _silent
    with closing(MintingMeans() if dry_run else minting_means(settings)) as means:
        service, retires = _read_source(_service(name, target, settings, sans, vhost=vhost), source, settings, config)
        request = ProvisionRequest(
            services=(service,),
            settings=settings,
            password=means.password,
            signer=means.signer,
            consent=Consent(force, start),
            dry_run=dry_run,
        )
        with connect_by_settings(target, settings, config) as c:
            provisioned = HostRun(c, request, lambda _service, verb, text: say(target, verb, text)).converge()[0]
        if provisioned.error:
            raise provisioned.error
        addresses, reached = publish.addresses_of(target, settings, config)
        if options := settings.dns_options:
            addresses = mesh_address.choose(target, addresses, reached, settings.mesh_network)
            wishes = dict.fromkeys(naming.names(service, settings), Wish(addresses))
            on_step = partial(say, target)
            steps = naming.carry_out(options, wishes, settings, config, dry_run=dry_run, on_step=on_step)
            provisioned = dataclasses.replace(provisioned, changed=(*provisioned.changed, *steps))
        resolvers = Resolvers((source, target), settings, config)
        if wait and not dry_run:
            resolvers.wait(service.fqdn, addresses, lambda text: say("", "wait", _waiting(service, addresses, text)))
        remaining = tuple(wrong_answers(resolvers.ask(service.fqdn), addresses))
        moved = Move(provisioned.service, provisioned, None, remaining, addresses)
        if remaining or dry_run or not retires:
            return moved
        ending = RetirementRequest(Service.of(name, settings), settings, revoke, revoking_root(settings), force=force)
        with connect_by_settings(source, settings, config) as c:
            retired = retire_service(c, ending, means.signer, on_step=lambda verb, text: say(source, verb, text))
        return dataclasses.replace(moved, retired=retired)


def _service(name: str, target: str, settings: Settings, sans: Sequence[str] | None, *, vhost: bool) -> Service:
    """The service as it is declared for the new host; else with nothing but what was given."""
    declared = {service.name: service for service in inventory.services(target, settings)}
    if name in declared and sans is None:
        return declared[name]
    return Service.of(name, settings, sans=sans, vhost=vhost)


def _read_source(service: Service, source: str, settings: Settings, config: Any) -> tuple[Service, bool]:
    """The service with the options of its vhost on the old host, and whether anything of it is there.

    Raises:
        NotReadyError: its certificate has more names than were given.
    """
    with session.shell_within(source, settings, config, session.HOST_SECONDS) as shell:
        state = facts.read_host(shell, settings, [service])
    have = state.services[service.name]
    leaf = certificate.leaf_of(have.cert)
    surplus = sorted(set(leaf.sans) - set(service.names)) if leaf else []
    if surplus:
        what = f"the certificate of {service.name} there has more names than it would have: {', '.join(surplus[:8])}"
        raise NotReadyError(what, host=source, remedy="give each with --san, or declare the service on the new host")
    known = dataclasses.replace(service, sans=service.sans or ())
    return previous_options.merge_previous_options(state, known), bool(leaf or have.vhosts or have.history.generations)


def _waiting(service: Service, addresses: Sequence[str], text: str) -> str:
    return f"point {service.fqdn} at {' or '.join(addresses[:3])} in the mesh's DNS: {text}"


def _silent(_host: str, _verb: str, _text: str) -> None:
    """Ignore the step: a library call returns its result."""
