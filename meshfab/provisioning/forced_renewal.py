"""A renewal on purpose, through the unit that will do it at night: what it would fail of is found on day one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.checks import service_checks
from meshfab.checks.eye import Eye
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import NotReadyError, RenewError, ServedError
from meshfab.host import certificate, facts, renewal_units, tls_client
from meshfab.nginx import change
from meshfab.provisioning import plan
from meshfab.provisioning.outcome import Outcome
from meshfab.ssh.root_shell import RootShell

if TYPE_CHECKING:
    from fabric import Connection

    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.host_run import Say

# Above all of the tick's own time-outs (unit-files/step@.service, TimeoutStartSec).
_TICK_SECONDS = 390.0


def renew(c: Connection, name: str, *, settings: Settings | None = None, say: Say | None = None) -> Outcome:
    """Force a renewal through the installed unit, and prove that the new leaf is the one that clients get.

    Args:
        c: a Fabric connection; made strict before anything is sent.
        name: the service's short name.
        settings: the mesh's conventions; None reads them from `c.config`.
        say: called with a verb and a sentence, as things are done.

    Raises:
        NotReadyError: there is no pair yet, or the renewal is not set up as it should be.
        RenewError: the unit failed, in its own words; the old pair is in place.
        ServedError: clients do not get the new leaf.
    """
    settings = settings or Settings.load(c.config)
    service = Service.of(name, settings)
    shell = RootShell(c, timeout=_TICK_SECONDS)
    eye = Eye(shell, service.fqdn)
    with shell:
        state = facts.read_host(shell, settings, [service])
        old = _ready(state, service, settings)
        answer = shell.batch([renewal_units.force(service)])[0]
        if not answer.ok:
            raise RenewError(f"the renewal failed: {answer.err or 'without a word'}", host=shell.host)
        state = facts.read_host(shell, settings, [service])
        new = certificate.read_leaf(state.services[name].cert or "")
        if new.serial == old.serial:
            what = "the unit ended well, and yet the certificate is the old one"
            raise RenewError(what, host=shell.host, remedy=f"see `journalctl -u step@{name}` there")
        changed = f"serial {old.serial} gave way to {new.serial}, valid until {new.not_after:%Y-%m-%d %H:%M} UTC"
        if say:
            say("renew", changed)
        return _proved(state, service, settings, eye, Outcome(shell.host, service, (plan.Step("renew", changed),), new))


def _ready(state: HostState, service: Service, settings: Settings) -> Leaf:
    wanted = renewal_units.wanted(service, settings)
    lacking = [finding.message for finding in service_checks.of_renewal(state, service, wanted)]
    remedy = f"inv provision --name {service.name} --host {state.host}"
    if lacking:
        raise NotReadyError(f"the renewal is not set up right: {'; '.join(lacking)}", host=state.host, remedy=remedy)
    try:
        return certificate.read_leaf(state.services[service.name].cert or "")
    except ValueError as error:
        raise NotReadyError(f"there is no certificate to renew: {error}", host=state.host, remedy=remedy) from None


def _proved(state: HostState, service: Service, settings: Settings, eye: Eye, outcome: Outcome) -> Outcome:
    import dataclasses

    found, leaf = change.endpoint(state, service, settings), outcome.leaf
    if found is None or leaf is None:
        note = f"no server of nginx answers to {service.fqdn}, so nothing proves the renewal on the wire"
        return dataclasses.replace(outcome, notes=(note,))
    shown = tls_client.until(leaf.der, lambda: eye.look(state, found[1], found[0]))
    if shown.der == leaf.der:
        return dataclasses.replace(outcome, served=shown)
    what = (
        f"renewed, and clients at {shown.address}:{shown.port} do not get the new leaf ({shown.why or 'another one'})"
    )
    raise ServedError(what, host=outcome.host, remedy="see nginx's error log there")
