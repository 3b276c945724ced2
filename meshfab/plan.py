"""From what is to what is lacking: the steps, each with its reason. Pure; nothing here talks to a host."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from meshfab import certificate, findings, nginx, renewal, vhost
from meshfab.errors import InputError, NginxError

if TYPE_CHECKING:
    from meshfab.findings import Finding
    from meshfab.nginx import Place
    from meshfab.probe import HostState
    from meshfab.settings import Service, Settings

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

    verb: Literal["finish", "sweep", "mint", "rights", "units", "timer", "vhost", "reload", "renew"]
    reason: str


@dataclass(frozen=True)
class Plan:
    """The steps that a host still lacks for a service.

    Attributes:
        service: the service, with what an earlier run was asked for and this one left open.
        steps: in the order they are done in; empty when nothing is to do.
        files: the unit files to put in place.
        place: where our vhost lies; None when the vhost is not ours to write.
        notes: what the operator should know and we do not change.
        port: where the service is asked for; None when nothing serves it and nothing is meant to.
    """

    service: Service
    steps: tuple[Step, ...]
    files: tuple[renewal.File, ...] = ()
    place: Place | None = None
    notes: tuple[str, ...] = ()
    port: int | None = None

    def reason(self, verb: str) -> str | None:
        """Why a step is in the plan; None when it is not."""
        return next((step.reason for step in self.steps if step.verb == verb), None)


def make(
    state: HostState,
    service: Service,
    settings: Settings,
    served: bytes | None,
    parts: frozenset[Part] = EVERYTHING,
) -> Plan:
    """Compare a host with what a service needs.

    Args:
        served: the leaf (DER) that a TLS client gets today, None when nothing answers.
        parts: the steps that were asked for.

    Raises:
        NginxError: the configuration was broken before we came, or is not ours to change.
    """
    service = keep_asked(state, service)
    faults = findings.of_pair(state, service)
    steps = _pair_steps(state, service, faults) if "mint" in parts else []
    minting = any(step.verb == "mint" for step in steps)
    files: list[renewal.File] = []
    if "renew-enable" in parts:
        wanted = renewal.wanted(service, settings)
        files = renewal.drifted(state, wanted)
        steps += _renewal_steps(state, service, wanted)
    wiring = _Wiring.of(state, service, settings, minting) if "wire-nginx" in parts else _Wiring()
    steps += wiring.steps
    if not wiring.steps and parts & {"mint", "wire-nginx"}:
        steps += _serving_steps(state, service, settings, minting, faults, served)
    if state.unit("nginx.service").active != "active" and any(step.verb in ("vhost", "reload") for step in steps):
        raise NginxError(
            "nginx is not running", host=state.host, todo="`systemctl start nginx` there, then run this again"
        )
    at = 443 if wiring.steps else port(state, service, settings)
    return Plan(service, tuple(steps), tuple(files), wiring.place, wiring.notes, at)


def port(state: HostState, service: Service, settings: Settings) -> int | None:
    """The TCP port that nginx serves the pair on; None where its live configuration does not."""
    where = nginx.place(state, service, settings)
    text = state.services[service.name].vhosts.get(where.path)
    if text and nginx.knows(state, where) and is_ours(text):
        return 443
    found = [server for server in nginx.servers(state, service) if server.cert == service.cert]
    return found[0].ports[0] if found else None


def is_ours(text: str) -> bool:
    """Whether a vhost was written by us and not edited since."""
    mark = vhost.read_mark(text)
    return mark is not None and mark.is_untouched


def keep_asked(state: HostState, service: Service) -> Service:
    """What the operator left open stays as an earlier run was asked: the upstream and mTLS from our vhost's mark, more
    names from the certificate. So a second run that names only the service undoes nothing.
    """
    have = state.services[service.name]
    changes: dict[str, Any] = {}
    mark = next((mark for mark in map(vhost.read_mark, have.vhosts.values()) if mark), None)
    if mark and service.upstream is None and isinstance(mark.asked.get("upstream"), str):
        changes.update(upstream=mark.asked["upstream"], mtls=service.mtls or bool(mark.asked.get("mtls")))
    if service.sans is None:
        changes["sans"] = _more_names(have.cert, service)
    kept = dataclasses.replace(service, **changes)
    if kept.upstream and kept.upstream != service.upstream:
        from meshfab import validation

        try:
            validation.url(kept.upstream, "the upstream of the vhost on the host")
        except InputError as error:
            raise NginxError(error.what, host=state.host, todo="give --upstream") from None
    return kept


def _more_names(cert: str | None, service: Service) -> tuple[str, ...] | None:
    try:
        leaf = certificate.read_leaf(cert or "")
    except ValueError:
        return None
    more = tuple(name for name in leaf.sans if name != service.fqdn)
    return more if service.fqdn in leaf.sans and more else None


def _pair_steps(state: HostState, service: Service, faults: list[Finding]) -> list[Step]:
    have, steps = state.services[service.name], []
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
    return not any(fault.code in _MINT_HEALS for fault in findings.of_pair(as_if, service))


def _renewal_steps(state: HostState, service: Service, wanted: list[renewal.File]) -> list[Step]:
    steps = []
    for fault in findings.of_renewal(state, service, {file.path: file.digest for file in wanted}):
        steps.append(Step("units" if fault.code == "unit-drift" else "timer", fault.message))
    # Files first: an enabled timer whose unit is missing is an error of systemd's.
    return sorted(steps, key=lambda step: step.verb != "units")


def _serving_steps(
    state: HostState,
    service: Service,
    settings: Settings,
    minting: bool,
    faults: list[Finding],
    served: bytes | None,
) -> list[Step]:
    if minting:
        return [Step("reload", "nginx holds the old pair")] * nginx.loads(state, service)
    if port(state, service, settings) is None or any(fault.code in _MINT_HEALS for fault in faults):
        return []
    disk = certificate.read_leaf(state.services[service.name].cert or "")
    return [Step("reload", fault.message) for fault in findings.of_served(service, disk, served)]


@dataclass(frozen=True)
class _Wiring:
    steps: tuple[Step, ...] = ()
    place: Place | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: HostState, service: Service, settings: Settings, minting: bool) -> _Wiring:
        words = nginx.broken(state)
        if words:
            if minting and nginx.is_about(words, service):
                # The pair is what nginx complains about: with a new one the configuration can be read.
                return cls(notes=("nginx's configuration can be judged once the pair is whole",))
            raise NginxError(
                f"nginx's configuration was broken before we came: {nginx.emergency(words)}",
                host=state.host,
                todo="repair it (nginx -t), then run this again",
            )
        where = nginx.place(state, service, settings)
        text = state.services[service.name].vhosts.get(where.path)
        mark = vhost.read_mark(text) if text else None
        if text and mark and is_ours(text) and nginx.knows(state, where):
            if not service.vhost or mark.wants == vhost.wants(service, settings, state.nginx_version):
                return cls(place=where)
            return cls((Step("vhost", "it was written for other settings"),), where)
        found = nginx.servers(state, service)
        if found:
            return cls._adopt(state, service, found)
        if not service.vhost:
            note = f"no server of nginx answers to {service.fqdn} yet, so nothing proves the pair"
            return cls(notes=(f"{note}: name it in a vhost of yours",))
        if text is not None and not is_ours(text):
            raise NginxError(
                f"{where.path} was not written by meshfab, or edited since, and is not enabled",
                host=state.host,
                todo="enable it, or move it away",
            )
        return cls((Step("vhost", "no server of nginx answers to the name"),), where)

    @classmethod
    def _adopt(cls, state: HostState, service: Service, found: list[nginx.Server]) -> _Wiring:
        """A server block that somebody wrote: right as it is, or theirs to change."""
        for server in found:
            if (server.cert, server.key) != (service.cert, service.key):
                raise NginxError(
                    f"{server.file}:{server.line} serves {service.fqdn} with {server.cert or 'another pair'},"
                    " and that file is not ours to edit",
                    host=state.host,
                    todo=f"set there `ssl_certificate {service.cert};` and `ssl_certificate_key {service.key};`",
                )
        notes = (f"the vhost at {found[0].file}:{found[0].line} is yours: adopted as it is",)
        return cls(notes=notes)
