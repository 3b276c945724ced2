"""Execute the plans of a host, in one batch for all of its services, and prove each with a TLS client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING

from meshfab.errors import LostError, MeshfabError, SecretLeftError
from meshfab.host import answer_fields, certificate, renewal_units
from meshfab.nginx import vhost
from meshfab.provisioning import mint, password_transfer, record, renew_enable, rollback, wire_nginx
from meshfab.provisioning.plan import to_mint
from meshfab.provisioning.verify import ServingCheck
from meshfab.ssh.script import Answer, ExitStatus, Request

if TYPE_CHECKING:
    from meshfab.checks.endpoint_probe import EndpointProbe
    from meshfab.config.service import Service
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.observe import HostObservation
    from meshfab.provisioning.plan import Plan
    from meshfab.provisioning.request import ProvisionRequest
    from meshfab.ssh.root_shell import RootShell

# The pairs that were signed on this side, by service: the leaf and its chain (PEM), or an error.
SignedPairs = Mapping[str, "tuple[Leaf, str] | MeshfabError"]
# Called with a service, a step's verb and a sentence when it is done.
OnStep = Callable[["Service", str, str], None]
# Steps after which clients may get another leaf than before.
_TOUCHES_SERVING = {"finish", "mint", "vhost", "snippet", "reload"}


def execute(
    shell: RootShell,
    probe: EndpointProbe,
    before: HostObservation,
    plans: Sequence[Plan],
    request: ProvisionRequest,
    on_step: OnStep,
    requested: Answer | None = None,
) -> dict[str, Leaf | MeshfabError | None]:
    """Do every step of a host's plans, with one load of units and of nginx, and prove that the pairs are served.

    Each script verifies its own effect (a permission that was set is read back), and a TLS client verifies the whole.

    Args:
        shell: the root shell, which holds the lock.
        probe: asks as a TLS client.
        before: the host as it is now.
        plans: what its services lack.
        request: what was asked for.
        on_step: called with a service, a step's verb and a sentence.
        requested: the host's answer to `signed_pairs.make_requests`, if it was asked already.

    Returns:
        For each service the certificate on disk afterwards, or why its mint or its proof failed; then its pair and
        vhost are as they were before.

    Raises:
        MeshfabError: a step failed; every pair and vhost is as it was before.
    """
    results: dict[str, Leaf | MeshfabError | None] = {}
    ready, minted, staged = [], {}, _sign(shell, before.state_now, plans, request, requested)
    for plan in plans:
        try:
            if plan.reason("mint") is not None:
                leaf = minted[plan.service.name] = _mint(shell, before.state_now, plan, request, staged)
                message = f"new pair, valid until {leaf.not_after:%Y-%m-%d %H:%M} UTC: {plan.reason('mint')}"
                on_step(plan.service, "mint", message)
            ready.append(plan)
        except (LostError, SecretLeftError):
            raise
        except MeshfabError as error:
            results[plan.service.name] = error
    if ready:
        results.update(_execute_batch(shell, probe, before, ready, minted, staged, on_step))
    return results


def diffs(shell: RootShell, plan: Plan) -> tuple[str, ...]:
    """A unified diff of every file that the plan would change; reads, and writes nothing."""
    texts = {file.path: file.text for file in (*plan.files, *plan.nginx_change.files)}
    old_texts = answer_fields.parse_fields(shell.run("read", *texts).out, shell.host) if texts else {}
    mask = renewal_units.masked
    return tuple(
        vhost.diff(path, mask(old_texts[path]) if path in old_texts else None, mask(text))
        for path, text in texts.items()
    )


def _sign(
    shell: RootShell, state: HostState, plans: Sequence[Plan], request: ProvisionRequest, requested: Answer | None
) -> SignedPairs:
    """The pairs that are signed on this side, all in one round trip; empty where the host mints."""
    services = to_mint(plans)
    if request.signer is None or not services:
        return {}
    from meshfab.provisioning import signed_pairs

    answer = requested or shell.batch([signed_pairs.make_requests(services)])[0]
    return signed_pairs.sign_all(shell, state, services, request.signer, answer)


def _mint(shell: RootShell, state: HostState, plan: Plan, request: ProvisionRequest, staged: SignedPairs) -> Leaf:
    signed = staged.get(plan.service.name)
    if isinstance(signed, MeshfabError):
        raise signed
    if signed is not None:
        return signed[0]
    if request.password is None:
        raise MeshfabError("a new pair is needed, and there is no password to mint it with", host=shell.host)
    # Rendered while the CA works. An error here is raised again, and reported, when the text is needed.
    rendering = Thread(target=lambda: [file.text for file in plan.nginx_change.files], daemon=True)
    rendering.start()
    return mint.mint(shell, state, plan.service, request.settings, request.password)


def _execute_batch(
    shell: RootShell,
    probe: EndpointProbe,
    before: HostObservation,
    plans: Sequence[Plan],
    minted: Mapping[str, Leaf],
    staged: SignedPairs,
    on_step: OnStep,
) -> dict[str, Leaf | MeshfabError | None]:
    state = before.state
    # If this fails, clients must get again what they get now.
    checks = {
        plan.service.name: ServingCheck(probe, state, plan, before.services[plan.service.name])
        for plan in plans
        if _touches_serving(plan)
    }
    answers = shell.batch([*_pair_requests(state, plans, staged), *_shared_requests(state, plans, minted)])
    if not answers[-1].ok:
        is_moved = any(answer.script == "commit" for answer in answers[:-1])
        is_moved |= answers[-1].status == ExitStatus.PARTLY_MOVED
        moved = [plan for plan in plans if plan.reason("mint") is not None and is_moved]
        raise rollback.roll_back(shell, state, plans, answers[-1], list(checks.values()), moved)
    for plan in plans:
        for step in plan.steps:
            if step.verb != "mint":
                on_step(plan.service, step.verb, f"{_done(step.verb, plan)}: {step.reason}")
    for answer in answers:
        if answer.script == "record" and answer.text:
            on_step(plans[0].service, "record", f"not recorded: {answer.text}; the next tick tries again")
    # The last answer has the certificates that are on disk now: the proof compares with these, not with the intention.
    texts = answer_fields.parse_fields(answers[-1].out, shell.host)
    on_disk = {plan.service.name: certificate.leaf_of(texts.get(plan.service.cert)) for plan in plans}
    results = _prove(shell, state, checks, on_disk)
    _remove_backups(shell, state, [plan for plan in plans if not isinstance(results[plan.service.name], MeshfabError)])
    return results


def _touches_serving(plan: Plan) -> bool:
    return plan.endpoint is not None and bool(_TOUCHES_SERVING & {step.verb for step in plan.steps})


def _prove(
    shell: RootShell, state: HostState, checks: dict[str, ServingCheck], on_disk: dict[str, Leaf | None]
) -> dict[str, Leaf | MeshfabError | None]:
    """Wait until clients get what is on disk; roll back a service for which they never do, and no other."""
    results: dict[str, Leaf | MeshfabError | None] = {**on_disk}
    for name, check in checks.items():
        disk = on_disk[name]
        if disk is None:
            continue
        try:
            answer = check.wait_until_served(disk)
            if answer.der != disk.der:
                results[name] = rollback.not_served(shell, state, check, answer)
        except MeshfabError as error:
            results[name] = error
    return results


def _remove_backups(shell: RootShell, state: HostState, plans: Sequence[Plan]) -> None:
    """Remove the old files that were kept until now. A new service has none, and needs no round trip."""
    plans_with_backups = [plan for plan in plans if _had_files(state, plan.service)]
    if plans_with_backups and not (removed := shell.batch([_remove_backups_request(plans_with_backups)])[0]).ok:
        what = f"old files could not be removed: {removed.err}"
        raise MeshfabError(what, host=shell.host, remedy="run this again")


def _pair_requests(state: HostState, plans: Sequence[Plan], staged: SignedPairs) -> list[Request]:
    """The requests for the pairs, with one move for all new ones."""
    requests: list[Request] = []
    for plan in plans:
        service = plan.service
        by_verb = {
            "sweep": [password_transfer.sweep(service), _remove_backups_request([plan])],
            "finish": [mint.finish(service)],
            "rights": [mint.set_rights(state, service)],
        }
        requests += [request for step in plan.steps for request in by_verb.get(step.verb, ())]
    services = to_mint(plans)
    chains = [(service, pair[1]) for service in services if isinstance(pair := staged.get(service.name), tuple)]
    if chains:
        from meshfab.provisioning import signed_pairs

        requests.append(signed_pairs.stage_chains(chains))
    return [*requests, *([mint.commit(state, services)] if services else [])]


def _shared_requests(state: HostState, plans: Sequence[Plan], minted: Mapping[str, Leaf]) -> list[Request]:
    """The requests that the services share: units and nginx at the same time, the history, then reading the result."""
    nginx_requests = wire_nginx.requests(state, plans)
    unit_requests = renew_enable.requests(state, plans, background=bool(nginx_requests))
    read_request = Request("read", tuple(plan.service.cert for plan in plans))
    # After the units, which bring the program that records.
    last_requests = [*record.requests(state, plans, minted), read_request]
    return [*unit_requests[:1], *nginx_requests, *unit_requests[1:], *last_requests]


def _had_files(state: HostState, service: Service) -> bool:
    service_state = state.services[service.name]
    return (
        service_state.cert is not None
        or service.key in state.stats
        or bool(service_state.vhosts)
        or service_state.has_leftovers
    )


def _remove_backups_request(plans: Sequence[Plan]) -> Request:
    """The request that removes old files, and those of an interrupted run."""
    paths: list[str] = []
    for plan in plans:
        paths += [plan.service.cert, plan.service.key, *(file.path for file in plan.nginx_change.files)]
        paths += [plan.vhost_path.path] if plan.vhost_path and not plan.nginx_change.files else []
    return Request("remove_backups", tuple(paths))


def _done(verb: str, plan: Plan) -> str:
    written = " and ".join(file.path for file in plan.nginx_change.files)
    loaded = "nginx started" if plan.starts else "nginx reloaded"
    return {
        "sweep": "removed",
        "finish": "the staged certificate is moved into place",
        "rights": "owner, mode and ACL set",
        "record": "recorded",
        "units": "installed",
        "timer": f"{plan.service.timer} enabled and started",
        "vhost": f"{written} written, {loaded}",
        "snippet": f"{written} written, {loaded}" if plan.nginx_change.is_loaded else f"{written} written",
        "reload": loaded,
    }[verb]
