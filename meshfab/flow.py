"""The flow: probe, plan, act, prove, and look again until nothing is lacking. The public step functions live here.

Each takes a Fabric connection first and runs in any fabfile; `meshfab.tasks` only adds the command line.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshfab import act, certificate, pair, plan, probe, ready, wiring
from meshfab.errors import LockedError, MeshfabError, NotReadyError
from meshfab.eye import Eye
from meshfab.password import read_password
from meshfab.script import Request
from meshfab.settings import Service, Settings
from meshfab.shell import RootShell

if TYPE_CHECKING:
    from fabric import Connection

    from meshfab.certificate import Leaf
    from meshfab.plan import Part, Plan, Step
    from meshfab.probe import HostState
    from meshfab.served import Served

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


def provision(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    upstream: str | None = None,
    mtls: bool = False,
    vhost: bool = True,
    listen: Sequence[str] | None = None,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Take a name and a host to a certificate that is served, trusted and renews itself.

    Args:
        c: a Fabric connection; made strict before anything is sent.
        name: the short name, one DNS label.
        settings: the mesh's conventions; None reads them from `c.config`.
        sans: DNS names beside `<name>.<domain>`; None keeps those that the certificate has.
        upstream: the URL to proxy to; None keeps what an earlier run was asked for.
        mtls: show the pair to the upstream as a client certificate.
        vhost: False leaves the vhost to the operator, and gives them a file to include.
        listen: addresses for the vhost to listen on, or networks of which the host's own are meant, or "all"; None
            keeps what an earlier run was asked for.
        force: overwrite a file of ours that was edited by hand, and take an address from other servers.
        start: start an nginx that is stopped.
        dry_run: read only, and return the steps with a diff of each file.
        say: called with each step's verb and a sentence, as it is done.

    Raises:
        MeshfabError: one of its kinds, each one line; what was there before is in place.
    """
    settings = settings or Settings.load(c.config)
    service = Service.of(
        name,
        settings,
        sans=None if sans is None else tuple(sans),
        upstream=upstream,
        mtls=mtls,
        vhost=vhost,
        listen=None if listen is None else tuple(listen),
    )
    return _Run(c, service, settings, plan.EVERYTHING, dry_run=dry_run, say=say, force=force, start=start).converge()


def mint(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Make sure that a valid pair lies in its place. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    service = Service.of(name, settings, sans=None if sans is None else tuple(sans))
    return _Run(c, service, settings, frozenset({"mint"}), dry_run=dry_run, say=say).converge()


def renew_enable(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Make sure that the service's timer is installed and runs. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    return _Run(
        c,
        Service.of(name, settings),
        settings,
        frozenset({"renew-enable"}),
        dry_run=dry_run,
        say=say,
    ).converge()


def wire_nginx(
    c: Connection,
    name: str,
    *,
    settings: Settings | None = None,
    sans: Sequence[str] | None = None,
    upstream: str | None = None,
    mtls: bool = False,
    vhost: bool = True,
    listen: Sequence[str] | None = None,
    force: bool = False,
    start: bool = False,
    dry_run: bool = False,
    say: Say | None = None,
) -> Outcome:
    """Make sure that nginx serves the pair that lies there. Parameters and errors as for `provision`."""
    settings = settings or Settings.load(c.config)
    service = Service.of(
        name,
        settings,
        sans=None if sans is None else tuple(sans),
        upstream=upstream,
        mtls=mtls,
        vhost=vhost,
        listen=None if listen is None else tuple(listen),
    )
    parts: frozenset[Part] = frozenset({"wire-nginx"})
    return _Run(c, service, settings, parts, dry_run=dry_run, say=say, force=force, start=start).converge()


@dataclass
class _Run:
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
        text = state.services[self.service.name].cert
        try:
            leaf = certificate.read_leaf(text or "")
        except ValueError:
            leaf = None
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
