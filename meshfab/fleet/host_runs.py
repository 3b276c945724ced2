"""Runs on many hosts at once, each with a deadline, and their outcomes as they arrive."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from meshfab.checks import client_addresses
from meshfab.errors import LostError, MeshfabError, StoppedError, one_line
from meshfab.fleet.host_outcome import HostOutcome
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.password_transfer import REAPER_SECONDS
from meshfab.ssh.connection import connect_by_settings
from meshfab.ssh.interruptions import signals_ignored
from meshfab.ssh.jump_hosts import JumpHostPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshfab.config.service import Service
    from meshfab.config.settings import Settings
    from meshfab.fleet.host_outcome import OnResult
    from meshfab.provisioning.outcome import Outcome
    from meshfab.provisioning.request import ProvisionRequest

# All that one host may take, and more for each of its services: a mint may wait a minute for a slow CA.
HOST_SECONDS = 120.0
SERVICE_SECONDS = 60.0
# How long a run that is stopped is waited for: it removes the password (20 s at most), and may wait for a TLS client.
STOP_SECONDS = 40.0
_INTERRUPTED = "interrupted before it was finished"
_BEFORE = "interrupted before its turn"


def run_all(
    names: Sequence[str],
    request_for: Callable[[str], ProvisionRequest],
    settings: Settings,
    config: Any,
    on_result: OnResult | None,
) -> tuple[HostOutcome, ...]:
    """Run on all hosts, `settings.parallel` at a time.

    Ctrl-C stops the active runs, which clean up, and starts no more.

    Args:
        names: the hosts.
        request_for: makes the request for a host.
        settings: the mesh's conventions.
        config: an Invoke or Fabric configuration to carry on.
        on_result: called with each host's outcome when it arrives, and the number of hosts that are still missing.
    """
    results: dict[str, HostOutcome] = {}
    with JumpHostPool() as jumps:
        runs = HostRuns(request_for, settings, config, jumps, deque(names), len(names))
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
    return tuple(results[name] for name in names)


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

    request_for: Callable[[str], ProvisionRequest]
    settings: Settings
    config: Any
    jumps: JumpHostPool
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
            c = connect_by_settings(host, settings, self.config, self.jumps)
            run = HostRun(c, self.request_for(host), lambda *step: steps.append(step))
            with c:
                outcomes = self._watched(active, run)
                reached = client_addresses.peer(c) if settings.dns and c.is_connected else ""
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
            reached,
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
