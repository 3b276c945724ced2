"""One run on one host: probe, plan, act, and the loop that looks again where the first look was blind."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshfab import act, certificate, pair, plan, probe, ready, wiring
from meshfab.errors import LockedError, MeshfabError, NotReadyError
from meshfab.eye import Eye
from meshfab.password import read_password
from meshfab.script import Request
from meshfab.shell import RootShell

if TYPE_CHECKING:
    from fabric import Connection

    from meshfab.certificate import Leaf
    from meshfab.plan import Part, Plan, Step
    from meshfab.probe import HostState
    from meshfab.served import Served
    from meshfab.settings import Service, Settings

# What a run tells while it works: a step's verb, and a sentence.
Say = Callable[[str, str], None]
# A pair that nginx choked on takes a second round, since only then can its vhosts be read; a wait for the lock a third.
_ROUNDS = 3
_LOCK_SECONDS = 30


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        host: the host, as it was named.
        service: the service, with what earlier runs were asked for.
        changed: the steps that were done (or would be, in a dry run); empty when there was nothing to do.
        leaf: the certificate on disk; None in a dry run without one.
        served: what a TLS client got at the end; None where nothing is meant to serve the name.
        notes: what the operator should know.
        diffs: in a dry run, a unified diff of every file that would change.
    """

    host: str
    service: Service
    changed: tuple[Step, ...]
    leaf: Leaf | None = None
    served: Served | None = None
    notes: tuple[str, ...] = ()
    diffs: tuple[str, ...] = ()


@dataclass
class Run:
    """One service on one host, from the first look to the proof."""

    c: Connection
    service: Service
    settings: Settings
    parts: frozenset[Part]
    dry_run: bool = False
    say: Say | None = None
    force: bool = False
    start: bool = False
    done: list[Step] = field(default_factory=list)

    def converge(self) -> Outcome:
        """Do what the host lacks, prove it, and say what that came to; in a dry run, only say what it lacks."""
        # Before any connection: a run that would need the password ends here when there is none.
        password = read_password(self.settings.password_file) if "mint" in self.parts and not self.dry_run else None
        shell = RootShell(self.c)
        # Before the shell is there: the first look at what is served fills the time that its start takes.
        eye = Eye(shell, self.service.fqdn)
        with shell:
            state, is_locked = probe.read_host(shell, self.settings, [self.service]), False
            for _ in range(_ROUNDS):
                todo = self._plan(state, eye)
                if not todo.steps or self.dry_run:
                    return self._outcome(shell, state, todo, eye)
                if not is_locked:
                    is_locked = True
                    if self._lock(shell):
                        # Somebody else was at work meanwhile: what we saw is old.
                        state = probe.read_host(shell, self.settings, [self.service])
                        continue
                leaf = act.carry_out(shell, state, todo, self.settings, eye, password, self.say or _silent)
                self.done += todo.steps
                if not todo.wiring.is_blind:
                    shown = eye.last if todo.port else None
                    return Outcome(shell.host, todo.service, tuple(self.done), leaf, shown, todo.notes)
                state = probe.read_host(shell, self.settings, [self.service])
            lacking = "; ".join(f"{step.verb}: {step.reason}" for step in self._plan(state, eye).steps)
            what = f"still lacking after {_ROUNDS} rounds: {lacking}"
            raise MeshfabError(what, host=shell.host, todo="is somebody else changing it?")

    def _plan(self, state: HostState, eye: Eye) -> Plan:
        if self.parts & {"mint"} or not self.dry_run:
            pair.require(state, self.settings)
        if "wire-nginx" in self.parts:
            ready.require(ready.of_nginx_program(state.tools), state.host)
        kept = plan.keep_asked(state, self.service)
        found = wiring.endpoint(state, kept, self.settings)
        shown = eye.look(state, found[1], found[0]).der if found else None
        return plan.make(state, self.service, self.settings, shown, self.parts, force=self.force, start=self.start)

    def _lock(self, shell: RootShell) -> bool:
        """Take the lock; True when we had to wait for it."""
        who = re.sub(r"[^A-Za-z0-9@._-]", "", f"{getpass.getuser()}@{socket.gethostname()}")
        words = (
            self.service.name,
            who,
            str(_LOCK_SECONDS),
            self.service.secret,
            pair.staging(self.service),
        )
        answer = shell.batch([Request("lock", words, stays=True)], timeout=_LOCK_SECONDS + 15)[0]
        if answer.status == 75:
            raise LockedError(
                f"{self.service.fqdn} is being worked on by {answer.err}",
                host=shell.host,
                todo="try again when that has ended",
            )
        if not answer.ok:
            raise NotReadyError(
                f"no lock could be taken: {answer.err}",
                host=shell.host,
                todo="is /run writable there?",
            )
        return answer.text == "waited"

    def _outcome(self, shell: RootShell, state: HostState, todo: Plan, eye: Eye) -> Outcome:
        leaf = certificate.leaf_of(state.services[self.service.name].cert)
        shown = eye.last if todo.port else None
        if self.dry_run:
            return Outcome(
                shell.host,
                todo.service,
                todo.steps,
                leaf,
                shown,
                todo.notes,
                act.diffs(shell, todo),
            )
        return Outcome(shell.host, todo.service, tuple(self.done), leaf, shown, todo.notes)


def _silent(verb: str, text: str) -> None:
    """Say nothing: a library call's outcome is its return value."""
