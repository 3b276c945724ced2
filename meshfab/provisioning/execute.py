"""Carry out the plans of a host: thin, in one batch for all of its services, and each proved on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.errors import LostError, MeshfabError, SecretLeftError
from meshfab.host import certificate, facts, renewal_units
from meshfab.nginx import activation, vhost
from meshfab.provisioning import mint, password_transfer
from meshfab.provisioning.rollback import ServingCheck, roll_back
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from meshfab.checks.eye import Eye
    from meshfab.config.password import Password
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.plan import Plan
    from meshfab.ssh.root_shell import RootShell

# Called with a service, a step's verb and a sentence, as it is done.
Tell = Callable[["Service", str, str], None]
# Steps after which clients may get another leaf than before.
_TOUCHES_SERVING = {"finish", "mint", "vhost", "snippet", "reload"}


def execute(
    shell: RootShell,
    state: HostState,
    plans: Sequence[Plan],
    settings: Settings,
    eyes: Mapping[str, Eye],
    password: Password | None,
    tell: Tell,
) -> dict[str, Leaf | MeshfabError | None]:
    """Do every step of a host's plans, with one load of units and of nginx, and prove that the pairs are served.

    Each script proves its own effect (a right that was set is read back), and the wire proves the whole.

    Returns:
        For each service the certificate as it lies on disk then, or why its mint or its proof failed; its pair and
        vhost are then as they were before.

    Raises:
        MeshfabError: a step failed; every pair and vhost is as it was before.
    """
    found: dict[str, Leaf | MeshfabError | None] = {}
    ready = []
    for plan in plans:
        try:
            if plan.reason("mint") is not None:
                leaf = _mint(shell, state, plan, settings, password)
                said = f"new pair, valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC: {plan.reason('mint')}"
                tell(plan.service, "mint", said)
            ready.append(plan)
        except (LostError, SecretLeftError):
            raise
        except MeshfabError as error:
            found[plan.service.name] = error
    return {**found, **(_execute_batch(shell, state, ready, eyes, tell) if ready else {})}


def diffs(shell: RootShell, plan: Plan) -> tuple[str, ...]:
    """A unified diff of every file that the plan would change; reads, and writes nothing."""
    texts = {file.path: file.text for file in (*plan.files, *plan.nginx_change.files)}
    there = facts.fields(shell.run("read", *texts).out) if texts else {}
    return tuple(vhost.diff(path, there.get(path), text) for path, text in texts.items())


def _execute_batch(
    shell: RootShell, state: HostState, plans: Sequence[Plan], eyes: Mapping[str, Eye], tell: Tell
) -> dict[str, Leaf | MeshfabError | None]:
    # What clients get now is what they must get again if this fails.
    proofs = {
        plan.service.name: ServingCheck(shell, state, plan, eyes[plan.service.name]) for plan in plans if _touches(plan)
    }
    jobs = _jobs(state, plans)
    answers = shell.batch([request for request, _ in jobs])
    if not answers[-1].ok:
        moved = [plan for request, plan in jobs[: len(answers) - 1] if plan and request.script == "commit"]
        raise roll_back(shell, state, plans, answers[-1], list(proofs.values()), moved)
    for plan in plans:
        for step in plan.steps:
            if step.verb != "mint":
                tell(plan.service, step.verb, f"{_done(step.verb, plan)}: {step.reason}")
    # The last answer is the certificates as they lie on disk now: the proof compares with that, not with our intent.
    texts = facts.fields(answers[-1].out)
    found: dict[str, Leaf | MeshfabError | None] = {}
    for plan in plans:
        name, disk = plan.service.name, certificate.leaf_of(texts.get(plan.service.cert))
        found[name] = disk
        if disk and name in proofs:
            try:
                proofs[name].require(disk)
            except MeshfabError as error:
                found[name] = error
    good = [plan for plan in plans if not isinstance(found[plan.service.name], MeshfabError)]
    kept = [plan for plan in good if _had_files(state, plan.service)]
    if kept and not (settled := shell.batch([_settle(kept)])[0]).ok:
        raise MeshfabError(f"old files could not be removed: {settled.err}", host=shell.host, remedy="run this again")
    return found


def _touches(plan: Plan) -> bool:
    return plan.port is not None and bool(_TOUCHES_SERVING & {step.verb for step in plan.steps})


def _mint(shell: RootShell, state: HostState, plan: Plan, settings: Settings, password: Password | None) -> Leaf:
    if password is None:
        raise MeshfabError("a new pair is needed, and there is no password to mint it with", host=shell.host)
    # Rendered while the CA works. What goes wrong there goes wrong again, and is told, when the text is asked for.
    drafts = Thread(target=lambda: [file.text for file in plan.nginx_change.files], daemon=True)
    drafts.start()
    return mint.mint(shell, state, plan.service, settings, password)


def _jobs(state: HostState, plans: Sequence[Plan]) -> list[tuple[Request, Plan | None]]:
    """The scripts, each with the plan that it is for: pairs first, then what the host's services have in common."""

    def with_step(verb: str) -> list[Plan]:
        return [plan for plan in plans if plan.reason(verb) is not None]

    jobs: list[tuple[Request, Plan | None]] = []
    for plan in plans:
        service = plan.service
        of_pair = {
            "sweep": [password_transfer.sweep(service), _settle([plan])],
            "finish": [mint.finish(service)],
            "mint": [mint.commit(state, service)],
            "rights": [mint.set_rights(state, service)],
        }
        jobs += [(request, plan) for step in plan.steps for request in of_pair.get(step.verb, ())]
    loading: list[Request] = []
    if written := [plan for plan in plans if plan.nginx_change.files]:
        loading.append(activation.wire(state, [plan.activation for plan in written]))
    stale = with_step("reload")
    if stale and not any(plan.nginx_change.is_loaded for plan in written):
        loading.append(activation.reload(state, [plan.activation for plan in stale]))
    setting_up = _setting_up(state, with_step("units"), with_step("timer"), beside=bool(loading))
    reading = Request("read", tuple(plan.service.cert for plan in plans))
    common = [*setting_up[:1], *loading, *setting_up[1:], reading]
    return [*jobs, *((request, None) for request in common)]


def _setting_up(state: HostState, units: Sequence[Plan], timers: Sequence[Plan], *, beside: bool) -> list[Request]:
    """systemd and nginx know nothing of each other, so the units are seen to while nginx loads."""
    if not units and not timers:
        return []
    files = [file for plan in units for file in plan.files]
    services = [plan.service for plan in units], [plan.service for plan in timers]
    request = renewal_units.set_up(state, services[0], files, services[1], beside=beside)
    return [request, Request("wait_background", stays=True)] if beside else [request]


def _had_files(state: HostState, service: Service) -> bool:
    """Whether there was anything to keep until now; a new service is spared the round trip."""
    have = state.services[service.name]
    return have.cert is not None or service.key in state.stats or bool(have.vhosts) or have.has_leftovers


def _settle(plans: Sequence[Plan]) -> Request:
    """Drop the old files that were kept until now, and what an interrupted run left."""
    places: list[str] = []
    for plan in plans:
        places += [plan.service.cert, plan.service.key, *(file.path for file in plan.nginx_change.files)]
        places += [plan.nginx_change.place.path] if plan.nginx_change.place and not plan.nginx_change.files else []
    return Request("remove_backups", tuple(places))


def _done(verb: str, plan: Plan) -> str:
    written = " and ".join(file.path for file in plan.nginx_change.files)
    loaded = "nginx started" if plan.starts else "nginx reloaded"
    return {
        "sweep": "removed",
        "finish": "the staged certificate is moved in",
        "rights": "owner, mode and ACL set",
        "units": "installed",
        "timer": f"{plan.service.timer} enabled and started",
        "vhost": f"{written} written, {loaded}",
        "snippet": f"{written} written, {loaded}" if plan.nginx_change.is_loaded else f"{written} written",
        "reload": loaded,
    }[verb]
