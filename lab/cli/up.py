"""Bring a lab up step by step, and take it down again if a step fails."""

from __future__ import annotations

import functools
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab import layout
from lab.cli import teardown
from lab.cli.progress import print_line, step
from lab.errors import LabError
from lab.machine import binaries, cache, image, machine, namespace_holder, packages, snapshot, sysctl
from lab.machine.process import spawn
from lab.services import ca, dns, hosts, identity, network, operator_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from lab.layout import Lab
    from lab.machine.binaries import Binaries

# The processor limits how fast hosts start; with more threads, each host only takes longer.
_MAX_THREADS = 8


def bring_up(count: int, *, keep: bool = False, owner: int | None = None, extra_packages: Sequence[str] = ()) -> bool:
    """Bring the current lab up with `count` hosts. Returns whether it was not up already.

    If a step fails, everything is removed, unless `keep` is set. The extra packages are Debian packages that a mesh
    host does not need. When the process with the ID `owner` ends, the lab is taken down.
    """
    packages.require_machine()
    lab = layout.current()
    host_names = layout.host_names(count)
    teardown.require_own_lab(lab)
    with cache.locked(lab.lock), _sigterm_raises():
        if _is_up(lab, host_names):
            print_line(f"lab {lab.name}", f"is up already, with {_count(host_names)}")
            return False
        teardown.remove(lab)
        try:
            with step(f"lab {lab.name}", "up"):
                _create(lab, host_names, extra_packages, owner, keep)
        except BaseException:
            if not keep:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the teardown
                print_line(f"lab {lab.name}", "did not come up; taking it down")
                teardown.remove(lab)
            raise
    return True


def _is_up(lab: Lab, host_names: list[str]) -> bool:
    if not (lab.state / "operator.env").exists() or namespace_holder.find_pid(lab) is None:
        return False
    present = hosts.names()
    if present != host_names:
        raise LabError(f"lab {lab.name} is up with {_count(present)}; run: inv lab.down first")
    return True


def _count(host_names: list[str]) -> str:
    return "1 host" if len(host_names) == 1 else f"{len(host_names)} hosts"


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, as Python does with SIGINT, so that the lab is taken down."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _create(lab: Lab, host_names: list[str], extra_packages: Sequence[str], owner: int | None, keep: bool) -> None:
    with step("packages") as outcome:
        outcome.message = "installed" if packages.ensure_commands() else "present"
    with step("step, step-ca") as outcome:
        bootstrap = functools.partial(image.ensure_bare, print_line, extra_packages)
        tools = binaries.ensure_binaries(print_line, meanwhile=bootstrap)
        outcome.message = "built" if tools.built else "cached"
    with step("base image") as outcome:
        images = {
            flavour: image.ensure_layers(flavour, tools, print_line, extra_packages) for flavour in image.FLAVOURS
        }
        outcome.message = "built" if any(built for _, built in images.values()) else "cached"
    with step("network"):
        _start_network(lab, host_names, tools, owner)
    with _worker_threads(lab, keep) as pool:
        ca_started = pool.submit(_start_ca, lab, tools)
        with step(_count(host_names), "started"):
            layers = {flavour: paths for flavour, (paths, _) in images.items()}
            list(pool.map(lambda host: _start_host(lab, host, layers), host_names))
            operator_home.write_known_hosts(lab, host_names)
        with step("CA"):
            ca_started.result()
        with step(_count(host_names)):
            list(pool.map(lambda host: _finish_host(lab, host, tools), host_names))
    operator_home.install_root(lab)
    if "h2" in host_names:
        dns.point("gongfoo", "h2")
    operator_home.write_environment(lab, tools)


@contextmanager
def _worker_threads(lab: Lab, keep: bool) -> Iterator[ThreadPoolExecutor]:
    """Threads for work on several hosts at once. After an error they end soon."""
    pool = ThreadPoolExecutor(_MAX_THREADS)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        if keep:
            raise
        # A thread that waits for a host stops waiting when the processes of the host have ended.
        teardown.end_processes(lab)
        raise
    finally:
        pool.shutdown()


def _start_network(lab: Lab, host_names: list[str], tools: Binaries, owner: int | None) -> None:
    lab.state.mkdir(parents=True, mode=0o755)
    (lab.state / "hosts.txt").write_text("\n".join(host_names) + "\n")
    (lab.state / "step-ca").write_text(f"{tools.step_ca}\n")
    sysctl.ensure_inotify_limit(lab, len(host_names))
    operator_home.create(lab)
    namespace_holder.start(lab)
    if owner is not None:
        _start_owner_watchdog(lab, owner)
    network.start(lab)
    dns.start(lab, host_names)


def _start_owner_watchdog(lab: Lab, owner: int) -> None:
    """Start a process that takes the lab down when the owner has ended."""
    argv = [sys.executable, "-m", "lab.cli.owner_watchdog", str(owner), str(namespace_holder.pid(lab))]
    environment = {**os.environ, "PYTHONPATH": str(lab.checkout), "MESHFAB_LAB_NAME": lab.name}
    # The teardown removes the lab's folder, so the log of the process that runs it is beside that folder.
    log = lab.checkout / ".lab" / f"{lab.name}.{teardown.OWNER_WATCHDOG}.log"
    spawn(argv, log, lab.pids / teardown.OWNER_WATCHDOG, environment)


def _start_ca(lab: Lab, tools: Binaries) -> None:
    ca.create(lab, tools.step)
    ca.start(lab)


def _start_host(lab: Lab, host: str, layers: dict[str, list[Path]]) -> None:
    machine.create(lab, host, layers[layout.flavour(host)])
    machine.boot(lab, host)


def _finish_host(lab: Lab, host: str, tools: Binaries) -> None:
    identity.install(lab, host, tools.step)
    machine.wait_until_ready(lab, host)
    snapshot.save(lab, host)
