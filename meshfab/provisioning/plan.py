"""Plan the missing steps, each with its reason. Pure: nothing here connects to a host."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from meshfab.checks import preconditions, service_checks
from meshfab.errors import MintError
from meshfab.host import certificate, renewal_units
from meshfab.nginx import change, config_dump, layout, listeners
from meshfab.nginx.activation import Activation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.checks.finding import Finding
    from meshfab.config.service import Service
    from meshfab.host.facts import HostState
    from meshfab.host.target_file import File
    from meshfab.nginx.change import NginxChange
    from meshfab.nginx.layout import VhostPath
    from meshfab.nginx.listeners import Endpoint
    from meshfab.provisioning.observe import ServiceObservation
    from meshfab.provisioning.request import Part, ProvisionRequest

# Findings that only a new pair heals: a renewal keeps names and key, and needs a readable, unexpired certificate.
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

    verb: Literal[
        "finish",
        "sweep",
        "mint",
        "rights",
        "record",
        "units",
        "timer",
        "vhost",
        "snippet",
        "reload",
        "renew",
        "rekey",
        "revoke",
        "remove",
        "publish-dns",
    ]
    reason: str


@dataclass(frozen=True)
class Plan:
    """The missing steps for a service on a host.

    Attributes:
        service: the service, with the options of earlier runs that this one does not give.
        steps: in the order of execution; empty when there is nothing to do.
        files: the unit files to put in place.
        nginx_change: the change that nginx's configuration needs.
        endpoint: where clients ask for the service; None when nothing is meant to serve it.
        starts: whether nginx must be started instead of reloaded.
    """

    service: Service
    steps: tuple[Step, ...]
    files: tuple[File, ...] = ()
    nginx_change: NginxChange = field(default_factory=change.NginxChange)
    endpoint: Endpoint | None = None
    starts: bool = False

    @property
    def vhost_path(self) -> VhostPath | None:
        """The path of the managed vhost; None if the vhost is not managed."""
        return self.nginx_change.vhost_path

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should know and meshfab does not change."""
        return self.nginx_change.notes

    @property
    def activation(self) -> Activation:
        """What the service needs from a load of nginx."""
        return Activation(self.service.names, self.nginx_change, self.starts)

    def reason(self, verb: str) -> str | None:
        """Why a step is in the plan; None when it is not."""
        return next((step.reason for step in self.steps if step.verb == verb), None)


def to_mint(plans: Sequence[Plan]) -> list[Service]:
    """The services that need a new pair."""
    return [plan.service for plan in plans if plan.reason("mint") is not None]


def make_plan(state: HostState, observed: ServiceObservation, request: ProvisionRequest) -> Plan:
    """Compare a host with what a service needs.

    Args:
        state: the host's facts.
        observed: the service as it is now.
        request: what was asked for.

    Raises:
        NginxError: the configuration was broken before this run, or meshfab does not manage it.
        MintError: something is in the place of the password file.
        NotReadyError: a folder in which the plan writes is read-only.
    """
    service, settings, parts = observed.service, request.settings, request.parts
    findings = service_checks.check_pair(state, service)
    reissue = request.reissue.reason(state.services[service.name]) if request.reissue else ""
    steps = _pair_steps(state, service, findings, reissue) if "mint" in parts else []
    files: list[File] = []
    if "renew-enable" in parts:
        wanted = renewal_units.wanted(service, settings, state)
        drift = renewal_units.drift(state, wanted)
        files = [file for file in wanted if file.path in drift]
        steps += _renewal_steps(state, service, wanted)
    nginx_change = change.NginxChange()
    if "wire-nginx" in parts:
        heals = any(step.verb in ("mint", "finish") for step in steps)
        nginx_change = change.decide(state, service, settings, minting=heals, force=request.consent.force)
        steps += [Step(nginx_change.verb, nginx_change.reason)] * bool(nginx_change.reason)
    endpoint = _endpoint(state, observed, request, nginx_change)
    is_loaded = bool(nginx_change.reason) and nginx_change.is_loaded
    # An unreadable configuration is loaded after it was read again: the pair of another service may be missing too.
    if not is_loaded and not nginx_change.config_unreadable and _may_load(state, parts):
        steps += _load_steps(state, observed, findings, steps, endpoint)
    loads = is_loaded or any(step.verb == "reload" for step in steps)
    starts = loads and layout.must_start(state, start=request.consent.start)
    if "renew-enable" in parts:  # which brings the program that records
        steps += _record_steps(state, service, steps)
    plan = Plan(service, tuple(steps), tuple(files), nginx_change, endpoint, starts)
    preconditions.require(preconditions.check_writable(state.unwritable, _written_paths(plan)), state.host)
    return plan


def _written_paths(plan: Plan) -> list[str]:
    """The files that the plan writes. A pair is minted in /run, and the password for it lies in /tmp."""
    paths = [*(file.path for file in plan.files), *(file.path for file in plan.nginx_change.files)]
    if plan.reason("mint") is not None:
        paths += [plan.service.cert, plan.service.key, plan.service.secret, "/run/meshfab/lock"]
    return paths


def _endpoint(
    state: HostState, observed: ServiceObservation, request: ProvisionRequest, nginx_change: NginxChange
) -> Endpoint | None:
    """Where clients ask for the service when the plan is done."""
    if nginx_change.vhost_path and nginx_change.reason:
        requested = {service.name: service.listen or () for service in request.services}
        operators = (*request.settings.listen, *requested.get(observed.service.name, ()))
        addresses = listeners.addresses(state, observed.service, request.settings)
        return listeners.endpoint(state, addresses, operators)
    if "wire-nginx" not in request.parts and not layout.is_running(state):
        return None
    return observed.endpoint


def _may_load(state: HostState, parts: frozenset[Part]) -> bool:
    # A stopped nginx has no old pair in memory, and reads the new one when it starts.
    return "wire-nginx" in parts or ("mint" in parts and layout.is_running(state))


def _load_steps(
    state: HostState,
    observed: ServiceObservation,
    findings: list[Finding],
    steps: list[Step],
    endpoint: Endpoint | None,
) -> list[Step]:
    service = observed.service
    if any(step.verb == "mint" for step in steps):
        return [Step("reload", "nginx holds the old pair")] * config_dump.names_pair(state, service)
    return _serving_steps(state, service, findings, observed.served) if endpoint else []


def _pair_steps(state: HostState, service: Service, findings: list[Finding], reissue: str) -> list[Step]:
    service_state, steps = state.services[service.name], []
    if service_state.is_secret_folder:
        what = f"{service.secret} is a folder, and meshfab does not remove it"
        raise MintError(what, host=state.host, remedy=f"look at it, then `rm -r {service.secret}`")
    if service_state.secret:
        steps.append(Step("sweep", f"{service.secret} was left by an earlier run"))
    reasons = [finding for finding in findings if finding.code in _MINT_HEALS]
    if any(finding.code == "key-mismatch" for finding in reasons) and _completes(
        service_state.staged, service_state.public, state, service
    ):
        return [*steps, Step("finish", "an earlier run moved only the new key into place")]
    if service_state.has_leftovers and not service_state.secret:
        steps.append(Step("sweep", "an interrupted run left files beside the pair"))
    if reasons or reissue:
        steps.append(Step("mint", "; ".join(finding.message for finding in reasons) or reissue))
    else:
        steps += [
            Step("rights", finding.message) for finding in findings if finding.code in ("mode-drift", "acl-missing")
        ][:1]
    return steps


def _completes(staged: str | None, public: str | None, state: HostState, service: Service) -> bool:
    """Whether the staged certificate is valid and belongs to the live key: a power cut interrupted the move."""
    if staged is None or public is None:
        return False
    completed_state = dataclasses.replace(state.services[service.name], cert=staged)
    completed_host = dataclasses.replace(state, services={**state.services, service.name: completed_state})
    return not any(finding.code in _MINT_HEALS for finding in service_checks.check_pair(completed_host, service))


def _record_steps(state: HostState, service: Service, steps: list[Step]) -> list[Step]:
    """A new pair is recorded without a step of its own; an adopted one, or one by a tick with a full disk, is not."""
    leaf = certificate.leaf_of(state.services[service.name].cert)
    is_new = any(step.verb in ("mint", "finish") for step in steps)
    if leaf is None or is_new or state.services[service.name].history.has(leaf):
        return []
    return [Step("record", "the host's history lacks this certificate")]


def _renewal_steps(state: HostState, service: Service, wanted: list[File]) -> list[Step]:
    steps = []
    for finding in service_checks.check_renewal(state, service, wanted):
        steps.append(Step("units" if finding.code == "unit-drift" else "timer", finding.message))
    # Files first: systemd refuses to enable a timer whose unit is missing.
    return sorted(steps, key=lambda step: step.verb != "units")


def _serving_steps(state: HostState, service: Service, findings: list[Finding], served: bytes | None) -> list[Step]:
    if any(finding.code in _MINT_HEALS for finding in findings):
        return []
    disk = certificate.read_leaf(state.services[service.name].cert or "")
    return [Step("reload", finding.message) for finding in service_checks.check_served(service, disk, served)]
