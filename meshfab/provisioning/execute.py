"""Carry out the plans of a host: thin, in one batch for all of its services, and each proved on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.errors import LostError, MeshfabError, SecretLeftError
from meshfab.host import certificate, facts, renewal_units
from meshfab.nginx import activation, vhost
from meshfab.provisioning import mint, password_transfer
from meshfab.provisioning.rollback import Proof, undone
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


def carry_out(
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
    for todo in plans:
        try:
            if todo.reason("mint") is not None:
                leaf = _mint(shell, state, todo, settings, password)
                said = f"new pair, valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC: {todo.reason('mint')}"
                tell(todo.service, "mint", said)
            ready.append(todo)
        except (LostError, SecretLeftError):
            raise
        except MeshfabError as error:
            found[todo.service.name] = error
    return {**found, **(_together(shell, state, ready, eyes, tell) if ready else {})}


def diffs(shell: RootShell, todo: Plan) -> tuple[str, ...]:
    """A unified diff of every file that the plan would change; reads, and writes nothing."""
    texts = {file.path: file.text for file in (*todo.files, *todo.wiring.files)}
    there = facts.fields(shell.run("read", *texts).out) if texts else {}
    return tuple(vhost.diff(path, there.get(path), text) for path, text in texts.items())


def _together(
    shell: RootShell, state: HostState, plans: Sequence[Plan], eyes: Mapping[str, Eye], tell: Tell
) -> dict[str, Leaf | MeshfabError | None]:
    # What clients get now is what they must get again if this fails.
    proofs = {todo.service.name: Proof(shell, state, todo, eyes[todo.service.name]) for todo in plans if _touches(todo)}
    jobs = _jobs(state, plans)
    answers = shell.batch([request for request, _ in jobs])
    if not answers[-1].ok:
        moved = [todo for request, todo in jobs[: len(answers) - 1] if todo and request.script == "commit"]
        raise undone(shell, state, plans, answers[-1], list(proofs.values()), moved)
    for todo in plans:
        for step in todo.steps:
            if step.verb != "mint":
                tell(todo.service, step.verb, f"{_done(step.verb, todo)}: {step.reason}")
    # The last answer is the certificates as they lie on disk now: the proof compares with that, not with our intent.
    texts = facts.fields(answers[-1].out)
    found: dict[str, Leaf | MeshfabError | None] = {}
    for todo in plans:
        name, disk = todo.service.name, certificate.leaf_of(texts.get(todo.service.cert))
        found[name] = disk
        if disk and name in proofs:
            try:
                proofs[name].require(disk)
            except MeshfabError as error:
                found[name] = error
    good = [todo for todo in plans if not isinstance(found[todo.service.name], MeshfabError)]
    kept = [todo for todo in good if _had_files(state, todo.service)]
    if kept and not (settled := shell.batch([_settle(kept)])[0]).ok:
        raise MeshfabError(f"old files could not be removed: {settled.err}", host=shell.host, todo="run this again")
    return found


def _touches(todo: Plan) -> bool:
    return todo.port is not None and bool(_TOUCHES_SERVING & {step.verb for step in todo.steps})


def _mint(shell: RootShell, state: HostState, todo: Plan, settings: Settings, password: Password | None) -> Leaf:
    if password is None:
        raise MeshfabError("a new pair is needed, and there is no password to mint it with", host=shell.host)
    # Rendered while the CA works. What goes wrong there goes wrong again, and is told, when the text is asked for.
    drafts = Thread(target=lambda: [file.text for file in todo.wiring.files], daemon=True)
    drafts.start()
    return mint.mint(shell, state, todo.service, settings, password)


def _jobs(state: HostState, plans: Sequence[Plan]) -> list[tuple[Request, Plan | None]]:
    """The scripts, each with the plan that it is for: pairs first, then what the host's services have in common."""

    def with_step(verb: str) -> list[Plan]:
        return [todo for todo in plans if todo.reason(verb) is not None]

    jobs: list[tuple[Request, Plan | None]] = []
    for todo in plans:
        service = todo.service
        of_pair = {
            "sweep": [password_transfer.sweep(service), _settle([todo])],
            "finish": [mint.finish(service)],
            "mint": [mint.commit(state, service)],
            "rights": [mint.set_rights(state, service)],
        }
        jobs += [(request, todo) for step in todo.steps for request in of_pair.get(step.verb, ())]
    loading: list[Request] = []
    if written := [todo for todo in plans if todo.wiring.files]:
        loading.append(activation.wire(state, [todo.activation for todo in written]))
    stale = with_step("reload")
    if stale and not any(todo.wiring.is_loaded for todo in written):
        loading.append(activation.reload(state, [todo.activation for todo in stale]))
    setting_up = _setting_up(state, with_step("units"), with_step("timer"), beside=bool(loading))
    reading = Request("read", tuple(todo.service.cert for todo in plans))
    common = [*setting_up[:1], *loading, *setting_up[1:], reading]
    return [*jobs, *((request, None) for request in common)]


def _setting_up(state: HostState, units: Sequence[Plan], timers: Sequence[Plan], *, beside: bool) -> list[Request]:
    """systemd and nginx know nothing of each other, so the units are seen to while nginx loads."""
    if not units and not timers:
        return []
    files = [file for todo in units for file in todo.files]
    services = [todo.service for todo in units], [todo.service for todo in timers]
    request = renewal_units.set_up(state, services[0], files, services[1], beside=beside)
    return [request, Request("wait_background", stays=True)] if beside else [request]


def _had_files(state: HostState, service: Service) -> bool:
    """Whether there was anything to keep until now; a new service is spared the round trip."""
    have = state.services[service.name]
    return have.cert is not None or service.key in state.stats or bool(have.vhosts) or have.has_leftovers


def _settle(plans: Sequence[Plan]) -> Request:
    """Drop the old files that were kept until now, and what an interrupted run left."""
    places: list[str] = []
    for todo in plans:
        places += [todo.service.cert, todo.service.key, *(file.path for file in todo.wiring.files)]
        places += [todo.wiring.place.path] if todo.wiring.place and not todo.wiring.files else []
    return Request("remove_backups", tuple(places))


def _done(verb: str, todo: Plan) -> str:
    written = " and ".join(file.path for file in todo.wiring.files)
    loaded = "nginx started" if todo.starts else "nginx reloaded"
    return {
        "sweep": "removed",
        "finish": "the staged certificate is moved in",
        "rights": "owner, mode and ACL set",
        "units": "installed",
        "timer": f"{todo.service.timer} enabled and started",
        "vhost": f"{written} written, {loaded}",
        "snippet": f"{written} written, {loaded}" if todo.wiring.is_loaded else f"{written} written",
        "reload": loaded,
    }[verb]
