"""Many hosts at once: ask each by one connection and one command, judge it, and tell the truth about all of them.

What is done for one host takes plain values and returns plain values, so that it runs on any executor (errands.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from datetime import datetime, timezone
from typing import Any

from meshfab.checks.report import HostReport, Report
from meshfab.config import inventory, validation
from meshfab.config.settings import Settings
from meshfab.errors import InputError, one_line
from meshfab.fleet import remote_calls
from meshfab.ssh.jump_hosts import JumpHostPool

# Called with each host's report as it comes, and how many are still to come.
Tell = Callable[[HostReport, int], None]


def check_certs(
    hosts: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    config: Any = None,
    executor: Executor | None = None,
    tell: Tell | None = None,
) -> Report:
    """Look at every certificate of the fleet. No fault of a host is raised: each is in the report.

    Args:
        hosts: whom to ask; None asks the hosts of the settings and those of the declared services.
        settings: the mesh's conventions; None reads them from `config`.
        config: an Invoke or Fabric configuration to carry on.
        executor: where the work runs; None makes a pool of `settings.parallel` threads. To any other than one of
            threads go plain values only: of `config` what `meshfab.fleet.portable_config` packs, and no password.
        tell: called with each host's report as it comes.

    Raises:
        InputError: a host or a setting is not usable, or there is no host to ask. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    names = asked(hosts, settings)
    checked_at, began = datetime.now(timezone.utc), time.monotonic()
    found: dict[str, HostReport] = {}
    was_interrupted = False
    # Submitted within the try: Ctrl-C may come at any moment.
    futures: dict[Future[Any], tuple[str, ...]] = {}
    pool = executor or ThreadPoolExecutor(min(settings.parallel, len(names)), thread_name_prefix="host")
    with JumpHostPool() as jumps:
        try:
            for part, work in remote_calls.of(names, settings, config, pool, jumps):
                futures[pool.submit(work)] = part
            _collect(futures, found, tell)
        except KeyboardInterrupt:
            was_interrupted = True
        finally:
            for future in futures:
                future.cancel()
            if executor is None:
                pool.shutdown(wait=not was_interrupted, cancel_futures=True)
    reports = tuple(found.get(name) or HostReport(name, error="interrupted before it answered") for name in names)
    return Report(checked_at, reports, time.monotonic() - began, was_interrupted)


def asked(hosts: Sequence[str] | None, settings: Settings) -> tuple[str, ...]:
    """The hosts to ask, once each, with every declaration checked.

    Raises:
        InputError: a host or a setting is not usable, or there is none.
    """
    inventory.check(settings)
    names = tuple(dict.fromkeys(validation.host(host) for host in hosts)) if hosts else inventory.hosts(settings)
    if not names:
        raise InputError("there is no host to ask", remedy="give --host, or set meshfab.hosts")
    return names


def _collect(futures: dict[Future[Any], tuple[str, ...]], found: dict[str, HostReport], tell: Tell | None) -> None:
    left = sum(map(len, futures.values()))
    for future in as_completed(futures):
        for report in _result(future, futures[future]):
            found[report.host] = report
            left -= 1
            if tell:
                tell(report, left)


def _result(future: Future[Any], names: tuple[str, ...]) -> tuple[HostReport, ...]:
    try:
        return tuple(future.result())
    except Exception as error:  # a worker process or machine that died takes no other report along
        why = f"{type(error).__name__}: {one_line(str(error))[:200]}"
        return tuple(HostReport(name, error=f"nobody could ask it: {why}") for name in names)
