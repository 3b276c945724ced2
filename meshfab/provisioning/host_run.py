"""One run on one host: observe, plan, lock, execute, verify, and repeat where necessary."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshfab.checks.endpoint_probe import EndpointProbe
from meshfab.errors import LostError, MeshfabError, NginxError, SecretLeftError
from meshfab.host import certificate
from meshfab.provisioning import execute, password_transfer, service_lock
from meshfab.provisioning.observe import HostObservation, observe
from meshfab.provisioning.outcome import Outcome
from meshfab.provisioning.plan import make_plan, to_mint
from meshfab.ssh.root_shell import RootShell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fabric import Connection

    from meshfab.config.service import Service
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.execute import OnStep
    from meshfab.provisioning.plan import Plan, Step
    from meshfab.provisioning.request import ProvisionRequest
    from meshfab.ssh.script import Answer

# A pair that nginx refuses needs a second round, because the configuration can be read only then; a wait for the lock
# needs a third; and each further service one more, because nginx names one such pair at a time.
_ROUNDS = 3


@dataclass
class HostRun:
    """Services on one host, from the first observation to the proof.

    They are handled together: one probe, one lock, one load of units and of nginx. If one fails, the others still get
    what they lack.

    Attributes:
        c: a Fabric connection.
        request: what was asked for.
        on_step: called with a service, a step's verb and a sentence.
        undeclared: sentences on services that are on the host and not in the request.
        prunable: the names of those of them that carry meshfab's mark.
        error: the error that ended the run of the whole host.
    """

    c: Connection
    request: ProvisionRequest
    on_step: OnStep | None = None
    undeclared: tuple[str, ...] = ()
    prunable: tuple[str, ...] = ()
    error: MeshfabError | None = None
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _changed: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    _requested: Answer | None = None

    def __post_init__(self) -> None:
        """Make the shell here, because another thread may have to stop it."""
        self.shell = RootShell(self.c)

    def converge(self) -> list[Outcome]:
        """Do what is missing and prove it, or, in a dry run, report it. Returns one outcome for each service."""
        services, signer = self.request.services, self.request.signer
        try:
            # Before the shell starts: TLS answers arrive in the meantime. A name that is not served may need a mint.
            on_unserved = signer.unlock_early if signer else None
            self._probe = EndpointProbe(self.shell, [service.fqdn for service in services], on_unserved=on_unserved)
            with self.shell:
                try:
                    self._convergence_loop(services)
                except (LostError, SecretLeftError):
                    raise
                except MeshfabError:
                    # A shell that ended without an answer (sudo refused) would only fail again, without the reason.
                    if len(self._unfinished(services)) == 1 or not self.shell.is_idle:
                        raise
                    self._one_by_one(self._unfinished(services))
        except MeshfabError as error:
            # An error of the host is an error of every unfinished service.
            self.error = error
            for service in self._unfinished(services):
                self._fail(service, error)
        return [self._outcomes[service.name] for service in services]

    def stop(self, reason: str) -> None:
        """From another thread: stop the run, which then cleans up."""
        self.shell.interrupt(reason)

    def _convergence_loop(self, services: Sequence[Service]) -> None:
        observation, is_locked = self._observe(services), False
        for _ in range(_ROUNDS + len(services) - 1):
            pending = self._pending_plans(observation, services)
            if not pending:
                return
            if not is_locked and self._lock(observation.state.now, self._unfinished(services), pending):
                # Another run had the lock: the observation is out of date.
                self._requested, is_locked, observation = None, True, self._observe(services)
                continue
            is_locked = True
            self._execute(observation, pending)
            if not self._unfinished(services):
                return
            observation = self._observe(services)
        self._give_up(observation, services)

    def _give_up(self, observation: HostObservation, services: Sequence[Service]) -> None:
        plans = {plan.service.name: plan for plan in self._plans(observation, self._unfinished(services))}
        for service in self._unfinished(services):
            steps = plans[service.name].steps if service.name in plans else ()
            what = "; ".join(f"{step.verb}: {step.reason}" for step in steps) or "nginx's configuration cannot be read"
            what = f"still missing after all rounds: {what}"
            self._fail(service, MeshfabError(what, host=self.shell.host, remedy="is somebody else changing it?"))

    def _one_by_one(self, services: Sequence[Service]) -> None:
        """After the batch failed and was rolled back: try each service alone, so that each has its own error."""
        for service in services:
            try:
                self._convergence_loop([service])
            except (LostError, SecretLeftError):
                raise
            except MeshfabError as error:
                self._fail(service, error)

    def _unfinished(self, services: Sequence[Service]) -> list[Service]:
        return [service for service in services if service.name not in self._outcomes]

    def _observe(self, services: Sequence[Service]) -> HostObservation:
        observation = observe(self.shell, self._probe, self.request, self._unfinished(services))
        self.undeclared, self.prunable = observation.undeclared, observation.prunable
        return observation

    def _pending_plans(self, observation: HostObservation, services: Sequence[Service]) -> list[Plan]:
        """The plans that have steps. Services whose plan has none are finished."""
        pending = []
        for plan in self._plans(observation, self._unfinished(services)):
            if plan.steps and not self.request.dry_run:
                pending.append(plan)
            else:
                self._end(
                    observation.state, plan, certificate.leaf_of(observation.state.services[plan.service.name].cert)
                )
        return pending

    def _plans(self, observation: HostObservation, services: Sequence[Service]) -> list[Plan]:
        plans: list[Plan] = []
        refused: list[tuple[Service, MeshfabError]] = []
        for service in services:
            try:
                if service.name in observation.refused:
                    raise observation.refused[service.name]
                plans.append(
                    make_plan(observation.state, observation.services[service.name], self._request_for(service))
                )
            except MeshfabError as error:
                refused.append((service, error))
        # nginx stops at the first bad pair: after that is healed, the other services are planned again.
        plans_again = any(plan.nginx_change.config_unreadable for plan in plans) and not self.request.dry_run
        for service, reason in refused:
            if not (plans_again and isinstance(reason, NginxError)):
                self._fail(service, reason)
        return plans

    def _request_for(self, service: Service) -> ProvisionRequest:
        """The request as far as it is not met yet: a new key is made once."""
        is_new = any(step.verb == "mint" for step in self._changed.get(service.name, ()))
        return dataclasses.replace(self.request, reissue=None) if is_new else self.request

    def _execute(self, observation: HostObservation, pending: Sequence[Plan]) -> None:
        if self.request.password is not None and any(plan.reason("mint") is not None for plan in pending):
            password_transfer.require_safe(self.shell, self._transfer_check)
        requested, self._requested = self._requested, None
        results = execute.execute(
            self.shell, self._probe, observation, pending, self.request, self.on_step or _silent, requested
        )
        for plan in pending:
            name, result = plan.service.name, results[plan.service.name]
            if isinstance(result, MeshfabError):
                self._fail(plan.service, result)
                continue
            self._changed[name] = self._changed.get(name, ()) + plan.steps
            if not plan.nginx_change.config_unreadable:
                self._end(observation.state, plan, result)

    def _lock(self, now: datetime, services: Sequence[Service], pending: Sequence[Plan]) -> bool:
        """Take the services' locks, and begin a mint in the same round trip; returns whether it had to wait for one."""
        to_sign = to_mint(pending) if self.request.signer else []
        if not to_sign:
            check = password_transfer.check()
            waited, self._transfer_check = service_lock.take(self.shell, services, check, since=now.isoformat())
            return waited
        from meshfab.provisioning import signed_pairs

        then = signed_pairs.make_requests(to_sign)
        waited, self._requested = service_lock.take(self.shell, services, then, since=now.isoformat())
        return waited

    def _end(self, state: HostState, plan: Plan, leaf: Leaf | None) -> None:
        name, dry_run = plan.service.name, self.request.dry_run
        changed = plan.steps if dry_run else self._changed.get(name, ())
        diffs = execute.diffs(self.shell, plan) if dry_run else ()
        clients = self._probe.latest.get(plan.service.fqdn) if plan.endpoint else None
        answer = clients.served(leaf.der if leaf else None) if clients else None
        self._outcomes[name] = Outcome(
            state.host, plan.service, changed, leaf, answer, plan.notes, diffs, state.addresses
        )

    def _fail(self, service: Service, error: MeshfabError) -> None:
        changed = self._changed.get(service.name, ())
        self._outcomes[service.name] = Outcome(self.shell.host, service, changed, error=error)


def _silent(_service: Service, _verb: str, _text: str) -> None:
    """Ignore the step: a library call returns its outcome."""
