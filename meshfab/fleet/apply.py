"""`apply`: every declared service on every host at once, each host by one run of its own."""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.config.password import hide_sudo_password
from meshfab.config.settings import Settings
from meshfab.errors import LostError, MeshfabError, StoppedError, one_line
from meshfab.fleet import check_certs
from meshfab.fleet import prune as pruning
from meshfab.fleet.host_outcome import HostOutcome
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.interruptions import one_interruption, signals_ignored
from meshfab.provisioning.password_transfer import REAPER_SECONDS
from meshfab.provisioning.request import Consent, MintingMeans, ProvisionRequest, minting_means
from meshfab.ssh.connection import connect
from meshfab.ssh.jump_hosts import JumpHostPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.config.service import Service
    from meshfab.fleet.host_outcome import OnResult
    from meshfab.provisioning.outcome import Outcome

# All that one host may take, and more for each of its services: a mint may wait a minute for a slow CA.
HOST_SECONDS = 120.0
SERVICE_SECONDS = 60.0
# How long a run that is stopped is waited for: it removes the password (20 s at most), and may wait for a TLS client.
STOP_SECONDS = 40.0
_INTERRUPTED = "interrupted before it was finished"
_BEFORE = "interrupted before its turn"


@one_interruption()
def apply(
    hosts: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    config: Any = None,
    dry_run: bool = False,
    force: bool = False,
    start: bool = False,
    prune: bool = False,
    on_result: OnResult | None = None,
) -> tuple[HostOutcome, ...]:
    """Take every declared service to a certificate that is served, trusted and renews itself, on all hosts at once.

    A host's error is not raised: it is in its outcome, and no host waits for another. Services that are on a host and
    not declared are named there and left unchanged, unless `prune` is given. Ctrl-C stops the active runs, which clean
    up, and starts no more.

    Args:
        hosts: the hosts; None takes the hosts of the settings and those of the declared services.
        settings: the mesh's conventions and `services`; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        dry_run: read only, and return the steps with a diff of each file.
        force: overwrite files of ours that were edited by hand, and take addresses from a host's other servers.
        start: start nginx where it is stopped.
        prune: retire what meshfab set up on a host and is not declared for it any more, as `retire` does it, without a
            question. What it would retire is in the outcomes of a dry run.
        on_result: called with each host's outcome when it arrives, and the number of hosts that are still missing.

    Raises:
        InputError: a declaration, a host or the password file is not usable. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    hide_sudo_password(config)
    names = check_certs.requested_hosts(hosts, settings)
    if prune:
        pruning.require_declared(names, settings)
    results: dict[str, HostOutcome] = {}
    with closing(MintingMeans() if dry_run else minting_means(settings)) as means, JumpHostPool() as jumps:
        runs = HostRuns(settings, config, means, jumps, Consent(force, start), dry_run, deque(names), len(names))
        try:
            # Started within the try: Ctrl-C may come at any moment.
            runs.start(min(settings.parallel, len(names)))
            runs.collect(results, on_result)
        except BaseException as error:
            with signals_ignored():
                runs.stop()
                runs.collect(results, on_result if isinstance(error, KeyboardInterrupt) else None)
            if not isinstance(error, KeyboardInterrupt):
                raise  # from `on_result`
    for name in names:
        if name not in results:
            results[name] = HostOutcome(name, error=StoppedError(_BEFORE, host=name))
            if on_result:
                on_result(results[name], len(names) - len(results))
    outcomes = tuple(results[name] for name in names)
    return pruning.prune(outcomes, settings, config, dry_run=dry_run, force=force) if prune else outcomes


@dataclass
class _ActiveRun:
    """A host that is worked on, and the end of its time, by the monotonic clock."""

    host: str
    until: float
    run: HostRun | None = None
    is_stopped: bool = False

    def stop(self, reason: str) -> None:
        self.is_stopped, self.until = True, time.monotonic() + STOP_SECONDS
        if self.run:
            self.run.stop(reason)


@dataclass
class HostRuns:
    """The hosts that wait for their turn, the active runs, each with its deadline, and the outcomes.

    Python does not wait for its threads, which are daemons, when it ends: a host that cannot be stopped is given up.
    """

    settings: Settings
    config: Any
    means: MintingMeans
    jumps: JumpHostPool
    consent: Consent
    dry_run: bool
    waiting: deque[str]
    total: int
    _active: dict[str, _ActiveRun] = field(default_factory=dict)
    _outcomes: dict[str, HostOutcome] = field(default_factory=dict)
    _changed: Condition = field(default_factory=Condition)

    def start(self, threads: int) -> None:
        """Start threads that take the hosts, one after the other."""
        for _ in range(threads):
            Thread(target=self._work_through, name="host", daemon=True).start()

    def collect(self, results: dict[str, HostOutcome], on_result: OnResult | None) -> None:
        """Collect the outcomes as they arrive, and stop runs at their deadlines."""
        while True:
            with self._changed:
                self._stop_late()
                arrived = [outcome for host, outcome in self._outcomes.items() if host not in results]
                if not arrived and not self._active and not self.waiting:
                    return
                if not arrived:
                    self._changed.wait(self._wait_timeout())
            for outcome in arrived:
                results[outcome.host] = outcome
                if on_result:
                    on_result(outcome, self.total - len(results))

    def stop(self) -> None:
        """Stop the active runs; the others do not start."""
        with self._changed:
            self.waiting.clear()
            for active in self._active.values():
                active.stop(_INTERRUPTED)

    def _work_through(self) -> None:
        while True:
            with self._changed:
                if not self.waiting:
                    return
                host = self.waiting.popleft()
                active = self._active[host] = _ActiveRun(host, time.monotonic() + HOST_SECONDS)
            outcome = self._work(active)
            with self._changed:
                if self._active.get(host) is not active:
                    return  # it was given up, and another thread has its place
                self._end(outcome)

    def _end(self, outcome: HostOutcome) -> None:
        self._outcomes[outcome.host] = outcome
        del self._active[outcome.host]
        self._changed.notify_all()

    def _work(self, active: _ActiveRun) -> HostOutcome:
        """Run one host; every error is in its outcome."""
        host, settings, began = active.host, self.settings, time.monotonic()
        steps: list[tuple[Service, str, str]] = []
        try:
            accept_new = settings.host_keys == "accept-new"
            c = connect(host, self.config, ssh_config=settings.ssh_config, accept_new=accept_new, jumps=self.jumps)
            request = ProvisionRequest(
                services=inventory.services(host, settings),
                settings=settings,
                password=self.means.password,
                signer=self.means.signer,
                consent=self.consent,
                dry_run=self.dry_run,
                covers_all_services=True,
            )
            run = HostRun(c, request, lambda *step: steps.append(step))
            with c:
                outcomes = self._watched(active, run)
        except MeshfabError as fault:
            return HostOutcome(host, steps=tuple(steps), error=fault, seconds=time.monotonic() - began)
        except Exception as fault:  # a host may answer anything; its answer must not stop the other hosts
            what = f"its answer cannot be handled: {type(fault).__name__}: {one_line(str(fault))[:200]}"
            return HostOutcome(host, steps=tuple(steps), error=MeshfabError(what, host=host))
        return HostOutcome(
            host,
            tuple(outcomes),
            tuple(steps),
            run.undeclared,
            run.prunable,
            error=run.error,
            seconds=time.monotonic() - began,
        )

    def _watched(self, active: _ActiveRun, run: HostRun) -> list[Outcome]:
        with self._changed:
            if active.is_stopped:
                raise StoppedError(_BEFORE, host=active.host)
            active.run = run
            active.until += SERVICE_SECONDS * len(run.request.services)
        return run.converge()

    def _wait_timeout(self) -> float:
        """Seconds until the next deadline. A run that starts after this was computed has a later one than these."""
        end = min((active.until for active in self._active.values()), default=time.monotonic() + HOST_SECONDS)
        return max(end - time.monotonic(), 0.05)

    def _stop_late(self) -> None:
        for active in [active for active in self._active.values() if time.monotonic() >= active.until]:
            if not active.is_stopped:
                active.stop("its time was up before it was finished")
                continue
            what = (
                f"stopped, but it did not end within {STOP_SECONDS:.0f} s and was given up; if it was minting,"
                f" the host itself removes the password within {REAPER_SECONDS} s"
            )
            remedy = "run the command again; it completes what is half done"
            self._end(HostOutcome(active.host, error=LostError(what, host=active.host, remedy=remedy)))
            if self.waiting:
                self.start(1)
