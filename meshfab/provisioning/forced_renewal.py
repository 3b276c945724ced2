"""A forced renewal or re-key through the installed unit, which has all guarantees of the tick.

A renewal shows on the first day a fault that would stop renewals. A re-key is the one that the tick does by the age of
a key; a connection that is lost does not interrupt it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshfab.checks import service_checks
from meshfab.checks.endpoint_probe import EndpointProbe
from meshfab.config.service import Service
from meshfab.config.settings import Settings
from meshfab.errors import InputError, NotReadyError, RenewError, ServedError
from meshfab.host import certificate, facts, history, renewal_units
from meshfab.nginx import change
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.plan import Step
from meshfab.provisioning.verify import wait_until_served
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fabric import Connection

    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.host.history import Generation

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


def rekey(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    dry_run: bool = False,
    on_step: Callable[[str, str], None] | None = None,
) -> Outcome:
    """Replace a key through the installed unit, without a password, and prove that the new one is served.

    When it is, the CA revokes every certificate of the old key. Where that is not possible, because a certificate was
    not kept, a note of the outcome says until when it can be renewed.

    Args:
        c: a Fabric connection; made strict before anything is sent.
        name: the service's short name.
        settings: the mesh's conventions; None reads them from `c.config`.
        dry_run: read only, and return the step.
        on_step: called with a verb and a sentence for each step.

    Raises:
        InputError: the setting `ca_mtls` is false, and the CA re-keys over mTLS only.
        NotReadyError: there is no pair yet, or the renewal is not set up as it should be.
        RenewError: the unit failed, with its message. The old pair is in place, or the new one is and the old one is
            kept on the host until the CA has revoked it, which the next tick tries again.
        ServedError: clients do not get the new leaf.
    """
    settings = settings or Settings.load(c.config)
    return rekey_service(c, Service.of(name, settings), settings, on_step, dry_run=dry_run)


def renew_service(
    c: Connection, service: Service, settings: Settings, on_step: Callable[[str, str], None] | None = None
) -> Outcome:
    """The same as `renew` for a service that was checked already."""
    shell = RootShell(c, timeout=_TICK_SECONDS)
    probe = EndpointProbe(shell, [service.fqdn])
    with shell:
        old = _require_set_up(facts.read_host(shell, settings, [service]), service, settings)
        state, new = _run_tick(shell, service, settings, "force")
        if new.serial == old.serial:
            raise _unchanged(service, shell.host, "the certificate is still the old one")
        message = f"renewed: serial {old.serial} -> {new.serial}, valid until {new.not_after:%Y-%m-%d %H:%M} UTC"
        if on_step:
            on_step("renew", message)
        return _verify(probe, state, service, settings, new, Step("renew", message))


def rekey_service(
    c: Connection,
    service: Service,
    settings: Settings,
    on_step: Callable[[str, str], None] | None = None,
    *,
    dry_run: bool = False,
) -> Outcome:
    """The same as `rekey` for a service that was checked already."""
    if not settings.ca_mtls:
        what = "the CA re-keys over mTLS only, and meshfab.ca_mtls is false"
        raise InputError(what, remedy="let the hosts reach the CA without the proxy that ends TLS")
    shell = RootShell(c, timeout=_TICK_SECONDS)
    probe = EndpointProbe(shell, [service.fqdn])
    with shell:
        state = facts.read_host(shell, settings, [service])
        old = _require_set_up(state, service, settings)
        if dry_run:
            step = Step("rekey", f"a new key; then the CA revokes serial {_listed(_of_key(state, service, old))}")
            return Outcome(state.host, service, (step,), old)
        state, new = _run_tick(shell, service, settings, "rekey")
        if new.public == old.public:
            raise _unchanged(service, shell.host, "the key is still the old one")
        message = f"new key: serial {old.serial} -> {new.serial}, valid until {new.not_after:%Y-%m-%d %H:%M} UTC"
        if on_step:
            on_step("rekey", message)
        outcome = _verify(probe, state, service, settings, new, Step("rekey", message))
        notes = [
            f"not revoked, because its certificate was not kept: serial {each.serial}; who has the old key can renew it"
            f" until {each.not_after:%Y-%m-%d %H:%M} UTC"
            for each in _of_key(state, service, old)
        ]
        return replace(outcome, notes=(*outcome.notes, *notes))


def _run_tick(shell: RootShell, service: Service, settings: Settings, marker: str) -> tuple[HostState, Leaf]:
    """Run the unit with the tick's marker, and return the host and the leaf afterwards; the pair must be valid."""
    answer = shell.batch([Request("renew", (service.name, marker))])[0]
    what = "re-key" if marker == "rekey" else "renewal"
    if not answer.ok:
        raise RenewError(f"the {what} failed: {answer.err or 'no error message'}", host=shell.host)
    state = facts.read_host(shell, settings, [service])
    findings = service_checks.check_pair(state, service)
    faults = [finding.message for finding in findings if finding.status == "critical"]
    if faults:
        raise RenewError(f"the pair is not valid after the {what}: {'; '.join(faults)}", host=shell.host)
    return state, certificate.read_leaf(state.services[service.name].cert or "")


def _unchanged(service: Service, host: str, what: str) -> RenewError:
    remedy = f"see `journalctl -u step@{service.name}` there"
    return RenewError(f"the unit succeeded, but {what}", host=host, remedy=remedy)


def _of_key(state: HostState, service: Service, leaf: Leaf) -> list[Generation]:
    """The certificates of a key that the CA would still renew, as far as the host has recorded them."""
    live = state.services[service.name].history.live(state.now)
    return [generation for generation in live if generation.key_digest == history.digest(leaf)]


def _listed(generations: Sequence[Generation]) -> str:
    return (
        ", ".join(str(generation.serial) for generation in generations) or "of the old key, which is not recorded yet"
    )


def _require_set_up(state: HostState, service: Service, settings: Settings) -> Leaf:
    """Return the leaf to renew; everything that renews it is in place."""
    wanted = renewal_units.wanted(service, settings, state)
    messages = [finding.message for finding in service_checks.check_renewal(state, service, wanted)]
    remedy = f"inv provision --name {service.name} --host {state.host}"
    if messages:
        raise NotReadyError(f"the renewal is not set up right: {'; '.join(messages)}", host=state.host, remedy=remedy)
    try:
        return certificate.read_leaf(state.services[service.name].cert or "")
    except ValueError as error:
        raise NotReadyError(f"there is no certificate to renew: {error}", host=state.host, remedy=remedy) from None


def _verify(
    probe: EndpointProbe, state: HostState, service: Service, settings: Settings, new: Leaf, step: Step
) -> Outcome:
    endpoint = change.serving_endpoint(state, service, settings)
    if endpoint is None:
        note = f"no server of nginx answers to {service.fqdn}, so nothing proves the renewal on the wire"
        return Outcome(state.host, service, (step,), new, notes=(note,))
    answer = wait_until_served(probe, state, service.fqdn, endpoint, new)
    if answer.der == new.der:
        return Outcome(state.host, service, (step,), new, answer)
    what = f"renewed, and clients at {answer.location} do not get the new leaf ({answer.why or 'another'})"
    raise ServedError(what, host=state.host, remedy="see nginx's error log there")
