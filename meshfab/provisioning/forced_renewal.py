"""A forced renewal through the installed unit: a fault that would stop renewals is found on the first day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshfab.checks import service_checks
from meshfab.checks.endpoint_probe import EndpointProbe
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import NotReadyError, RenewError, ServedError
from meshfab.host import certificate, facts, renewal_units
from meshfab.nginx import change
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.plan import Step
from meshfab.provisioning.verify import wait_until_served
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection

    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState

# Longer than all of the tick's own time-outs (unit-files/step@.service, TimeoutStartSec).
_TICK_SECONDS = 390.0


def renew(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    on_step: Callable[[str, str], None] | None = None,
) -> Outcome:
    """Force a renewal through the installed unit, and prove that the new leaf is the one that clients get.

    Args:
        c: a Fabric connection; made strict before anything is sent.
        name: the service's short name.
        settings: the mesh's conventions; None reads them from `c.config`.
        on_step: called with a verb and a sentence for each step.

    Raises:
        NotReadyError: there is no pair yet, or the renewal is not set up as it should be.
        RenewError: the unit failed, with its message; the old pair is in place.
        ServedError: clients do not get the new leaf.
    """
    settings = settings or Settings.load(c.config)
    return renew_service(c, Service.of(name, settings), settings, on_step)


def renew_service(
    c: Connection, service: Service, settings: Settings, on_step: Callable[[str, str], None] | None = None
) -> Outcome:
    """The same for a service that was checked already."""
    shell = RootShell(c, timeout=_TICK_SECONDS)
    probe = EndpointProbe(shell, [service.fqdn])
    with shell:
        old = _require_set_up(facts.read_host(shell, settings, [service]), service, settings)
        answer = shell.batch([Request("renew", (service.name,))])[0]
        if not answer.ok:
            raise RenewError(f"the renewal failed: {answer.err or 'no error message'}", host=shell.host)
        state = facts.read_host(shell, settings, [service])
        new = certificate.read_leaf(state.services[service.name].cert or "")
        if new.serial == old.serial:
            what = "the unit succeeded, but the certificate is still the old one"
            raise RenewError(what, host=shell.host, remedy=f"see `journalctl -u step@{service.name}` there")
        message = f"renewed: serial {old.serial} -> {new.serial}, valid until {new.not_after:%Y-%m-%d %H:%M} UTC"
        if on_step:
            on_step("renew", message)
        return _verify(probe, state, service, settings, new, message)


def _require_set_up(state: HostState, service: Service, settings: Settings) -> Leaf:
    """Return the leaf to renew; everything that renews it is in place."""
    wanted = renewal_units.wanted(service, settings)
    messages = [finding.message for finding in service_checks.check_renewal(state, service, wanted)]
    remedy = f"inv provision --name {service.name} --host {state.host}"
    if messages:
        raise NotReadyError(f"the renewal is not set up right: {'; '.join(messages)}", host=state.host, remedy=remedy)
    try:
        return certificate.read_leaf(state.services[service.name].cert or "")
    except ValueError as error:
        raise NotReadyError(f"there is no certificate to renew: {error}", host=state.host, remedy=remedy) from None


def _verify(
    probe: EndpointProbe, state: HostState, service: Service, settings: Settings, new: Leaf, message: str
) -> Outcome:
    endpoint = change.serving_endpoint(state, service, settings)
    changed = (Step("renew", message),)
    if endpoint is None:
        note = f"no server of nginx answers to {service.fqdn}, so nothing proves the renewal on the wire"
        return Outcome(state.host, service, changed, new, notes=(note,))
    answer = wait_until_served(probe, state, service.fqdn, endpoint, new)
    if answer.der == new.der:
        return Outcome(state.host, service, changed, new, answer)
    what = f"renewed, and clients at {answer.location} do not get the new leaf ({answer.why or 'another'})"
    raise ServedError(what, host=state.host, remedy="see nginx's error log there")
