"""One run on one host: probe, plan, act, and the loop that looks again where the first look was blind."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshfab.checks import preconditions
from meshfab.checks.eye import Eye
from meshfab.errors import LockedError, LostError, MeshfabError, NginxError, NotReadyError, SecretLeftError
from meshfab.host import certificate, discovery, facts
from meshfab.nginx import change, previous_options
from meshfab.provisioning import execute, mint, plan
from meshfab.provisioning.outcome import Outcome
from meshfab.ssh.root_shell import RootShell
from meshfab.ssh.script import Request

if TYPE_CHECKING:
    from datetime import datetime

    from fabric import Connection

    from meshfab.config.password import Password
    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.host.certificate import Leaf
    from meshfab.host.facts import HostState
    from meshfab.provisioning.execute import Tell
    from meshfab.provisioning.plan import Part, Plan, Step

# What a run of one service tells while it works: a step's verb, and a sentence.
Say = Callable[[str, str], None]
# A pair that nginx choked on takes a second round, since only then can its vhosts be read; a wait for the lock a third;
# each further service one more, since nginx tells of one such pair at a time.
_ROUNDS = 3
_LOCK_SECONDS = 30
# A run that has a lock is over by then, or its operator is gone without a word; and more for each further service.
_RUN_SECONDS = 240
_SERVICE_SECONDS = 60


@dataclass
class HostRun:
    """Services on one host, from the first look to the proof.

    They are worked on together: one probe, one lock, one load of units and of nginx. One that fails keeps no other
    from what it lacks.

    Attributes:
        password: the provisioner's; None where nothing is to be minted.
        tell: called with a service, a step's verb and a sentence.
        covers_all_services: whether these are all the services that the host is to have; then `strays` says what else is there.
        strays: sentences on services that lie on the host and were not asked for.
        error: what kept the whole host from its end.
    """

    c: Connection
    services: Sequence[Service]
    settings: Settings
    parts: frozenset[Part] = plan.EVERYTHING
    password: Password | None = None
    dry_run: bool = False
    tell: Tell | None = None
    force: bool = False
    start: bool = False
    covers_all_services: bool = False
    undeclared: tuple[str, ...] = ()
    error: MeshfabError | None = None
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _changed: dict[str, tuple[Step, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the shell, which somebody else may have to stop."""
        self.shell = RootShell(self.c)

    def converge(self) -> list[Outcome]:
        """Do what the host lacks and prove it, or, in a dry run, say what it lacks. One outcome for each service."""
        try:
            # Before the shell is there: the first look at what is served fills the time that its start takes.
            self._eyes = {service.name: Eye(self.shell, service.fqdn) for service in self.services}
            with self.shell:
                try:
                    self._convergence_loop(self.services)
                except (LostError, SecretLeftError):
                    raise
                except MeshfabError:
                    # A shell that ended with no answer (sudo says no) would only fail again, and without the reason.
                    if len(self._open(self.services)) == 1 or not self.shell.is_idle:
                        raise
                    self._one_by_one(self._open(self.services))
        except MeshfabError as error:
            # What concerns the host concerns every service that had not come to its end.
            self.error = error
            for service in self._open(self.services):
                self._fail(service, error)
        return [self._outcomes[service.name] for service in self.services]

    def stop(self, why: str) -> None:
        """From another thread: end the run, which cleans up on its way out."""
        self.shell.interrupt(why)

    def _convergence_loop(self, services: Sequence[Service]) -> None:
        state, is_locked = self._read(), False
        for _ in range(_ROUNDS + len(services) - 1):
            lacking = self._pending_plans(state, services)
            if not lacking:
                return
            if not is_locked and self._lock(state.now, self._open(services)):
                # Somebody else was at work meanwhile: what we saw is old.
                is_locked, state = True, self._read()
                continue
            is_locked = True
            self._carry_out(state, lacking)
            if not self._open(services):
                return
            state = self._read()
        plans = {plan.service.name: plan for plan in self._plans(state, self._open(services))}
        for service in self._open(services):
            steps = plans[service.name].steps if service.name in plans else ()
            what = "; ".join(f"{step.verb}: {step.reason}" for step in steps) or "nginx's configuration cannot be read"
            what = f"still lacking after all rounds: {what}"
            self._fail(service, MeshfabError(what, host=self.shell.host, remedy="is somebody else changing it?"))

    def _one_by_one(self, services: Sequence[Service]) -> None:
        """After all together failed, and was undone: each alone, with an error of its own."""
        for service in services:
            try:
                self._convergence_loop([service])
            except (LostError, SecretLeftError):
                raise
            except MeshfabError as error:
                self._fail(service, error)

    def _open(self, services: Sequence[Service]) -> list[Service]:
        return [service for service in services if service.name not in self._outcomes]

    def _pending_plans(self, state: HostState, services: Sequence[Service]) -> list[Plan]:
        """The plans with something to do; for the other services the run has come to its end."""
        lacking = []
        for plan in self._plans(state, self._open(services)):
            if plan.steps and not self.dry_run:
                lacking.append(plan)
            else:
                self._end(state, plan, certificate.leaf_of(state.services[plan.service.name].cert))
        return lacking

    def _read(self) -> HostState:
        if not self.covers_all_services:
            return facts.read_host(self.shell, self.settings, self.services)
        answer = self.shell.batch([discovery.request(self.settings, self.services, judge=False)])[0]
        seen = discovery.parse(answer, self.shell.host, self.settings, self.services)
        self.undeclared = discovery.undeclared(seen)
        return seen.state

    def _plans(self, state: HostState, services: Sequence[Service]) -> list[Plan]:
        plans: list[Plan] = []
        refused: list[tuple[Service, MeshfabError]] = []
        for service in services:
            try:
                plans.append(self._plan(state, service))
            except MeshfabError as error:
                refused.append((service, error))
        # nginx names one bad pair and reads no further: once that is healed, the others are looked at again.
        config_unreadable = any(plan.nginx_change.config_unreadable for plan in plans) and not self.dry_run
        for service, why in refused:
            if not (config_unreadable and isinstance(why, NginxError)):
                self._fail(service, why)
        return plans

    def _plan(self, state: HostState, service: Service) -> Plan:
        if self.parts & {"mint"} or not self.dry_run:
            mint.require(state, self.settings)
        if "wire-nginx" in self.parts:
            preconditions.require(preconditions.of_nginx_program(state.tools), state.host)
        kept = previous_options.merge_previous_options(state, service)
        found = change.endpoint(state, kept, self.settings)
        shown = self._eyes[service.name].look(state, found[1], found[0]).der if found else None
        return plan.make(state, service, self.settings, shown, self.parts, force=self.force, start=self.start)

    def _carry_out(self, state: HostState, lacking: Sequence[Plan]) -> None:
        found = execute.execute(
            self.shell, state, lacking, self.settings, self._eyes, self.password, self.tell or _silent
        )
        for plan in lacking:
            name, result = plan.service.name, found[plan.service.name]
            if isinstance(result, MeshfabError):
                self._fail(plan.service, result)
                continue
            self._changed[name] = self._changed.get(name, ()) + plan.steps
            if not plan.nginx_change.config_unreadable:
                self._end(state, plan, result)

    def _lock(self, now: datetime, services: Sequence[Service]) -> bool:
        """Take the services' locks; True when we had to wait for one."""
        who = re.sub(r"[^A-Za-z0-9@._-]", "", f"{getpass.getuser()}@{socket.gethostname()}")
        words = [who, now.isoformat(), str(_LOCK_SECONDS), str(_RUN_SECONDS + _SERVICE_SECONDS * (len(services) - 1))]
        # In one order for all, so that two operators cannot each hold what the other waits for.
        for service in sorted(services, key=lambda service: service.name):
            words += [service.name, service.secret, mint.staging(service)]
        seconds = _LOCK_SECONDS * len(services) + 15
        answer = self.shell.batch([Request("lock", tuple(words), stays=True)], timeout=seconds)[0]
        if answer.status == 75:
            fqdns = " or ".join(service.fqdn for service in services)
            what = f"{fqdns} is being worked on by {answer.err}"
            raise LockedError(what, host=self.shell.host, remedy="try again when that has ended")
        if not answer.ok:
            what = f"no lock could be taken: {answer.err}"
            raise NotReadyError(what, host=self.shell.host, remedy="is /run writable there?")
        return "waited" in answer.text

    def _end(self, state: HostState, plan: Plan, leaf: Leaf | None) -> None:
        name = plan.service.name
        changed = plan.steps if self.dry_run else self._changed.get(name, ())
        diffs = execute.diffs(self.shell, plan) if self.dry_run else ()
        shown = self._eyes[name].last if plan.port else None
        self._outcomes[name] = Outcome(state.host, plan.service, changed, leaf, shown, plan.notes, diffs)

    def _fail(self, service: Service, error: MeshfabError) -> None:
        changed = self._changed.get(service.name, ())
        self._outcomes[service.name] = Outcome(self.shell.host, service, changed, error=error)


def _silent(_service: Service, _verb: str, _text: str) -> None:
    """Say nothing: a library call's outcome is its return value."""
