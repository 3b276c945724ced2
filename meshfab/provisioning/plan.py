"""From what is to what is lacking: the steps, each with its reason. Pure; nothing here talks to a host."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from meshfab.checks import service_checks
from meshfab.errors import MintError
from meshfab.host import certificate, renewal_units
from meshfab.nginx import change, config_dump, layout, listeners, previous_options
from meshfab.nginx.activation import Activation

if TYPE_CHECKING:
    from meshfab.checks.finding import Finding
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.facts import HostState
    from meshfab.host.target_file import File
    from meshfab.nginx.change import NginxChange
    from meshfab.nginx.layout import VhostPath

Part = Literal["mint", "renew-enable", "wire-nginx"]
EVERYTHING: frozenset[Part] = frozenset(("mint", "renew-enable", "wire-nginx"))

# What only a new pair heals: a renewal keeps names and key, and needs a certificate that is whole and not expired.
_MINT_HEALS = {
    "cert-missing",
    "cert-unreadable",
    "cert-expired",
    "cert-not-yet-valid",
    "san-mismatch",
    "chain-untrusted",
    "key-missing",
    "key-mismatch",
}


@dataclass(frozen=True)
class Step:
    """One thing to do, and why."""

    verb: Literal["finish", "sweep", "mint", "rights", "units", "timer", "vhost", "snippet", "reload", "renew"]
    reason: str


@dataclass(frozen=True)
class Plan:
    """The steps that a host still lacks for a service.

    Attributes:
        service: the service, with what an earlier run was asked for and this one left open.
        steps: in the order they are done in; empty when nothing is to do.
        files: the unit files to put in place.
        wiring: what is to be done about nginx.
        port: where the service is asked for; None when nothing serves it and nothing is meant to.
        addresses: those of the host that it is asked for at; empty for its mesh address.
        starts: whether nginx is to be started, where it would be reloaded otherwise.
    """

    service: Service
    steps: tuple[Step, ...]
    files: tuple[File, ...] = ()
    nginx_change: NginxChange = field(default_factory=change.NginxChange)
    port: int | None = None
    addresses: tuple[str, ...] = ()
    starts: bool = False

    @property
    def place(self) -> VhostPath | None:
        """Where our vhost lies; None when the vhost is not ours to write."""
        return self.nginx_change.place

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know and we do not change."""
        return self.nginx_change.notes

    @property
    def activation(self) -> Activation:
        """What the service asks of a load of nginx."""
        return Activation(self.service.names, self.nginx_change, self.starts)

    def reason(self, verb: str) -> str | None:
        """Why a step is in the plan; None when it is not."""
        return next((step.reason for step in self.steps if step.verb == verb), None)


def make(
    state: HostState,
    service: Service,
    settings: Settings,
    served: bytes | None,
    parts: frozenset[Part] = EVERYTHING,
    *,
    force: bool = False,
    start: bool = False,
) -> Plan:
    """Compare a host with what a service needs.

    Args:
        served: the leaf (DER) that a TLS client gets today, None when nothing answers.
        parts: the steps that were asked for.
        force: as for `wiring.decide`.
        start: start an nginx that is stopped.

    Raises:
        NginxError: the configuration was broken before we came, or is not ours to change.
    """
    service = previous_options.merge_previous_options(state, service)
    faults = service_checks.of_pair(state, service)
    steps = _pair_steps(state, service, faults) if "mint" in parts else []
    minting = any(step.verb == "mint" for step in steps)
    files: list[File] = []
    if "renew-enable" in parts:
        wanted = renewal_units.wanted(service, settings)
        drift = renewal_units.drift(state, wanted)
        files = [file for file in wanted if file.path in drift]
        steps += _renewal_steps(state, service, wanted)
    heals = any(step.verb in ("mint", "finish") for step in steps)
    wired = change.NginxChange()
    if "wire-nginx" in parts:
        wired = change.decide(state, service, settings, minting=heals, force=force)
        steps += [Step(wired.verb, wired.reason)] * bool(wired.reason)
    found = change.endpoint(state, service, settings)
    if "wire-nginx" not in parts and state.unit("nginx.service").active not in ("active", "reloading"):
        # A stopped nginx holds no old pair, and takes the new one up when it is started.
        found, parts = None, frozenset(parts - {"mint"})
    if wired.place and wired.reason:
        found = listeners.addresses(state, service, settings), 443
    is_loaded = bool(wired.reason) and wired.is_loaded
    # What cannot be read yet is loaded after the second look: a pair of another service may be missing too.
    if not is_loaded and not wired.config_unreadable and parts & {"mint", "wire-nginx"}:
        if minting:
            steps += [Step("reload", "nginx holds the old pair")] * config_dump.loads(state, service)
        elif found:
            steps += _serving_steps(state, service, faults, served)
    starts = (is_loaded or any(step.verb == "reload" for step in steps)) and layout.must_start(state, start=start)
    addresses, port = found or ((), None)
    return Plan(service, tuple(steps), tuple(files), wired, port, addresses, starts)


def _pair_steps(state: HostState, service: Service, faults: list[Finding]) -> list[Step]:
    have, steps = state.services[service.name], []
    if have.is_secret_folder:
        what = f"{have.secret} is a folder, which no run of ours makes and none removes"
        raise MintError(what, host=state.host, remedy=f"look at it, then `rm -r {have.secret}`")
    if have.secret:
        steps.append(Step("sweep", f"{have.secret} was left by an earlier run"))
    reasons = [fault for fault in faults if fault.code in _MINT_HEALS]
    if any(fault.code == "key-mismatch" for fault in reasons) and _completes(have.staged, have.public, state, service):
        return [*steps, Step("finish", "an earlier run had moved in the new key only")]
    if have.has_leftovers and not have.secret:
        steps.append(Step("sweep", "an interrupted run left files beside the pair"))
    if reasons:
        steps.append(Step("mint", "; ".join(fault.message for fault in reasons)))
    else:
        steps += [Step("rights", fault.message) for fault in faults if fault.code in ("mode-drift", "acl-missing")][:1]
    return steps


def _completes(staged: str | None, public: str | None, state: HostState, service: Service) -> bool:
    """Whether the staged certificate is the live key's and sound: the move that a power cut interrupted."""
    if staged is None or public is None:
        return False
    moved = dataclasses.replace(state.services[service.name], cert=staged)
    as_if = dataclasses.replace(state, services={**state.services, service.name: moved})
    return not any(fault.code in _MINT_HEALS for fault in service_checks.of_pair(as_if, service))


def _renewal_steps(state: HostState, service: Service, wanted: list[File]) -> list[Step]:
    steps = []
    for fault in service_checks.of_renewal(state, service, wanted):
        steps.append(Step("units" if fault.code == "unit-drift" else "timer", fault.message))
    # Files first: an enabled timer whose unit is missing is an error of systemd's.
    return sorted(steps, key=lambda step: step.verb != "units")


def _serving_steps(state: HostState, service: Service, faults: list[Finding], served: bytes | None) -> list[Step]:
    if any(fault.code in _MINT_HEALS for fault in faults):
        return []
    disk = certificate.read_leaf(state.services[service.name].cert or "")
    return [Step("reload", fault.message) for fault in service_checks.of_served(service, disk, served)]
