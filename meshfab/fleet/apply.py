"""`apply`: every declared service on every host at once, each host by one run of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from meshfab.config import inventory
from meshfab.config.password import Password, read_password
from meshfab.config.settings import Settings
from meshfab.errors import MeshfabError, StoppedError, one_line
from meshfab.fleet import check_certs
from meshfab.provisioning.host_run import HostRun
from meshfab.provisioning.password_transfer import signals_ignored
from meshfab.provisioning.request import Consent, ProvisionRequest
from meshfab.ssh.connection import connect
from meshfab.ssh.jump_hosts import JumpHostPool

if TYPE_CHECKING:
    from meshfab.config.service import Service
    from meshfab.provisioning.outcome import Outcome

# All that one host may take, and more for each of its services: a mint may wait a minute for a slow CA.
HOST_SECONDS = 120.0
SERVICE_SECONDS = 60.0
_INTERRUPTED = "interrupted before it was finished"
_BEFORE = "interrupted before its turn"


@dataclass(frozen=True)
class HostOutcome:
    """The outcome of `apply` on one host.

    Attributes:
        host: the host, as it was named.
        services: an outcome for each service that is declared there; empty where the host was not reached.
        steps: the steps that were done: the service, the step's verb and a sentence.
        undeclared: sentences on services that are there and not declared.
        error: the error that ended the run of the whole host, such as a lost connection or a refused login.
        seconds: the duration.
    """

    host: str
    services: tuple[Outcome, ...] = ()
    steps: tuple[tuple[Service, str, str], ...] = ()
    undeclared: tuple[str, ...] = ()
    error: MeshfabError | None = None
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether all that is declared there is served, trusted and renews itself (or, in a dry run, could be read)."""
        return self.error is None and all(outcome.error is None for outcome in self.services)


# Called with each host's outcome when it arrives, and the number of hosts that are still missing.
OnResult = Callable[[HostOutcome, int], None]


def apply(
    hosts: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    config: Any = None,
    dry_run: bool = False,
    force: bool = False,
    start: bool = False,
    on_result: OnResult | None = None,
) -> tuple[HostOutcome, ...]:
    """Take every declared service to a certificate that is served, trusted and renews itself, on all hosts at once.

    A host's error is not raised: it is in its outcome, and no host waits for another. Services that are on a host and
    not declared are named there and left unchanged. Ctrl-C stops the active runs, which clean up, and starts no more.

    Args:
        hosts: the hosts; None takes the hosts of the settings and those of the declared services.
        settings: the mesh's conventions and `services`; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        dry_run: read only, and return the steps with a diff of each file.
        force: overwrite files of ours that were edited by hand, and take addresses from a host's other servers.
        start: start nginx where it is stopped.
        on_result: called with each host's outcome when it arrives, and the number of hosts that are still missing.

    Raises:
        InputError: a declaration, a host or the password file is not usable. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    names = check_certs.requested_hosts(hosts, settings)
    password = None if dry_run else read_password(settings.password_file)
    with (
        JumpHostPool() as jumps,
        ThreadPoolExecutor(min(settings.parallel, len(names)), thread_name_prefix="host") as pool,
    ):
        runs = HostRuns(settings, config, password, jumps, Consent(force, start), dry_run)
        futures: dict[Future[HostOutcome], str] = {}
        results: dict[str, HostOutcome] = {}
        try:
            # Submitted within the try: Ctrl-C may come at any moment.
            futures.update((pool.submit(runs.work, name), name) for name in names)
            runs.collect(futures, results, on_result)
        except KeyboardInterrupt:
            with signals_ignored():
                runs.stop()
                runs.collect(futures, results, on_result)
    for name in names:
        if name not in results:
            results[name] = HostOutcome(name, error=StoppedError(_BEFORE, host=name))
            if on_result:
                on_result(results[name], len(names) - len(results))
    return tuple(results[name] for name in names)


@dataclass
class HostRuns:
    """The active runs, each with its deadline."""

    settings: Settings
    config: Any
    password: Password | None
    jumps: JumpHostPool
    consent: Consent
    dry_run: bool
    is_stopped: bool = False
    _runs: dict[str, tuple[HostRun, float]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def work(self, host: str) -> HostOutcome:
        """Run one host; every error is in its outcome."""
        began = time.monotonic()
        steps: list[tuple[Service, str, str]] = []
        try:
            c = connect(
                host,
                self.config,
                ssh_config=self.settings.ssh_config,
                accept_new=self.settings.host_keys == "accept-new",
                jumps=self.jumps,
            )
            request = ProvisionRequest(
                services=inventory.services(host, self.settings),
                settings=self.settings,
                password=self.password,
                consent=self.consent,
                dry_run=self.dry_run,
                covers_all_services=True,
            )
            run = HostRun(c, request, lambda *step: steps.append(step))
            with c:
                outcomes = self._watched(host, run)
            error = run.error
        except MeshfabError as fault:
            return HostOutcome(host, steps=tuple(steps), error=fault, seconds=time.monotonic() - began)
        except Exception as fault:  # a host may answer anything; its answer must not stop the other hosts
            what = f"its answer cannot be handled: {type(fault).__name__}: {one_line(str(fault))[:200]}"
            return HostOutcome(host, steps=tuple(steps), error=MeshfabError(what, host=host))
        return HostOutcome(host, tuple(outcomes), tuple(steps), run.undeclared, error, time.monotonic() - began)

    def collect(
        self, futures: dict[Future[HostOutcome], str], results: dict[str, HostOutcome], on_result: OnResult | None
    ) -> None:
        """Collect the outcomes as they arrive, and stop runs at their deadlines."""
        remaining = {future for future in futures if futures[future] not in results}
        while remaining:
            done, remaining = wait(remaining, self._wait_timeout(), FIRST_COMPLETED)
            for future in done:
                if not future.cancelled():
                    name = futures[future]
                    results[name] = future.result()
                    if on_result:
                        on_result(results[name], len(futures) - len(results))
            if self.is_stopped:
                for future in remaining:
                    future.cancel()
            self._stop_late()

    def stop(self) -> None:
        """Stop the active runs; the others do not start."""
        with self._lock:
            self.is_stopped = True
            for run, _ in self._runs.values():
                run.stop(_INTERRUPTED)

    def _watched(self, host: str, run: HostRun) -> list[Outcome]:
        until = time.monotonic() + HOST_SECONDS + SERVICE_SECONDS * len(run.request.services)
        with self._lock:
            if self.is_stopped:
                raise StoppedError(_BEFORE, host=host)
            self._runs[host] = run, until
        try:
            return run.converge()
        finally:
            with self._lock:
                del self._runs[host]

    def _wait_timeout(self) -> float | None:
        """Seconds until the next deadline."""
        with self._lock:
            ends = [until for _, until in self._runs.values()]
        # A run that started after this was computed has a later deadline than these.
        return max(min(ends) - time.monotonic(), 0.05) if ends else HOST_SECONDS

    def _stop_late(self) -> None:
        with self._lock:
            for run, until in self._runs.values():
                if time.monotonic() >= until:
                    run.stop("its time was up before it was finished")
