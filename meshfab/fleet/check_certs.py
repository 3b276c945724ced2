"""Check many hosts at once: one connection and one command for each, and a report of all.

What is done for a host takes plain values and returns plain values, so that any executor can do it (remote_calls.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from meshfab.checks.report import HostReport, Look, Report
from meshfab.config import inventory, validation
from meshfab.config.settings import Settings
from meshfab.errors import InputError, MeshfabError, fault_line
from meshfab.fleet import remote_calls
from meshfab.fleet.host_check import import_clients, import_look
from meshfab.host import tls_client
from meshfab.ssh.jump_hosts import JumpHostPool

if TYPE_CHECKING:
    from meshfab.ssh.session import KeptShells

_OUTSIDE_AT_ONCE = 32
# Called with each host's report when it arrives, and the number of hosts that are still missing.
OnResult = Callable[[HostReport, int], None]


def check_certs(
    hosts: Sequence[str] | None = None,
    *,
    settings: Settings | None = None,
    config: Any = None,
    executor: Executor | None = None,
    on_result: OnResult | None = None,
    look: Look = "full",
    shells: KeptShells | None = None,
    on_asked: Callable[[], None] | None = None,
) -> Report:
    """Check every certificate on many hosts. A host's fault is not raised: it is in the report.

    Args:
        hosts: the hosts to check; None checks the hosts of the settings and those of the declared services.
        settings: the mesh's conventions; None reads them from `config`.
        config: an Invoke or Fabric configuration to use for the connections.
        executor: where the hosts are checked; None makes a pool of `settings.parallel` threads. Any executor other
            than a ThreadPoolExecutor gets plain values only: of `config` the options that
            `meshfab.fleet.portable_config` returns, and no password.
        on_result: called with each host's report when it arrives, and the number of hosts that are still missing.
        look: "full" needs sudo on the hosts. "quick" reads what their renewal ticks publish, which a login without any
            rights may do, and asks TLS clients and DNS from here. "outside" asks only those, without SSH, for the
            declared services.
        shells: connections that stay open for the next call (`meshfab.ssh.session.KeptShells`); for threads only.
        on_asked: called once, when the hosts are being asked and before the first answer is waited for.

    Raises:
        InputError: a host or a setting is not usable, or there is no host to check. Nothing was connected yet.
    """
    settings = settings or Settings.load(config if config is not None else {})
    names = requested_hosts(hosts, settings, look)
    checked_at, began = datetime.now(timezone.utc), time.monotonic()
    reports: dict[str, HostReport] = {}
    was_interrupted = False
    # Submitted within the try: Ctrl-C may come at any moment.
    futures: dict[Future[Any], tuple[str, ...]] = {}
    # A look from outside has no SSH handshake, and mostly waits.
    at_once = settings.parallel if look != "outside" else max(settings.parallel, _OUTSIDE_AT_ONCE)
    pool = executor or ThreadPoolExecutor(min(at_once, len(names)), thread_name_prefix="host")
    is_here = isinstance(pool, ThreadPoolExecutor)
    with JumpHostPool() as jumps:
        try:
            if is_here:
                import_clients(look)
            for part, call in remote_calls.split(names, settings, config, pool, jumps, look, shells):
                futures[pool.submit(call)] = part
            if is_here:
                import_look(look)
            if on_asked:
                on_asked()
            _collect(futures, reports, on_result, getattr(pool, "result_timeout", None))
        except KeyboardInterrupt:
            was_interrupted = True
        finally:
            for future in futures:
                future.cancel()
            if executor is None:
                pool.shutdown(wait=not was_interrupted, cancel_futures=True)
    in_order = tuple(reports.get(name) or HostReport(name, error="interrupted before it answered") for name in names)
    return Report(checked_at, in_order, time.monotonic() - began, was_interrupted, look)


def requested_hosts(hosts: Sequence[str] | None, settings: Settings, look: Look = "full") -> tuple[str, ...]:
    """Return the hosts to check, without duplicates, after all declarations were checked.

    Raises:
        InputError: a host or a setting is not usable, or there is no host.
    """
    inventory.check(settings)
    names = tuple(dict.fromkeys(validation.host(host) for host in hosts)) if hosts else inventory.hosts(settings)
    if look == "outside":
        # A look that checks no chain would call every certificate of anybody well.
        tls_client.verifying_context(str(settings.operator_root_file))
        declared = inventory.declarations_by_host(settings)
        if not (names := tuple(name for name in names if name in declared)):
            what = "no service is declared for these hosts, and only declared ones can be looked at from outside"
            raise InputError(what, remedy="declare them under meshfab.services")
    if not names:
        raise InputError("there is no host to ask", remedy="give --host, or set meshfab.hosts")
    return names


def _collect(
    futures: dict[Future[Any], tuple[str, ...]],
    reports: dict[str, HostReport],
    on_result: OnResult | None,
    timeout: float | None,
) -> None:
    """Take the reports as they arrive; if none arrives for `timeout` seconds, the rest is given up."""
    done: SimpleQueue[Future[Any]] = SimpleQueue()
    missing = sum(map(len, futures.values()))
    for future in futures:
        future.add_done_callback(done.put)
    pending = dict(futures)
    while pending:
        try:
            future = done.get(timeout=timeout)
            arrived = _result(future, pending.pop(future))
        except Empty:
            error = f"not checked: no worker returned a result for {timeout:g} s"
            arrived = tuple(HostReport(name, error=error) for part in pending.values() for name in part)
            pending.clear()
        for report in arrived:
            reports[report.host] = report
            missing -= 1
            if on_result:
                on_result(report, missing)


def _result(future: Future[Any], names: tuple[str, ...]) -> tuple[HostReport, ...]:
    try:
        return tuple(future.result())
    except CancelledError:  # by the executor; Dask does so when it loses the scheduler
        error = "not checked: the connection to the workers was lost"
    except MeshfabError as caught:
        return tuple(HostReport(name, error=f"not checked: {caught.what}", remedy=caught.remedy) for name in names)
    except Exception as caught:  # a worker that died must not affect the reports of other hosts
        error = f"not checked: {type(caught).__name__}: {fault_line(str(caught))[:200]}"
    return tuple(HostReport(name, error=error) for name in names)
