"""Bring a lab up step by step, and take it down again if a step fails."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab import layout
from lab.cli import teardown
from lab.cli.progress import print_line, step
from lab.errors import LabError
from lab.machine import (
    binaries,
    cache,
    host_list,
    image,
    machine,
    namespace_holder,
    packages,
    platforms,
    snapshot,
    sysctl,
)
from lab.machine.platforms import Platform
from lab.machine.process import spawn
from lab.services import ca, dns, hosts, identity, network, operator_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from lab.layout import Lab
    from lab.machine.binaries import Binaries

# The processor limits how fast hosts start; with more threads, each host only takes longer.
_MAX_THREADS = 8


def bring_up(
    count: int,
    *,
    releases: Sequence[str] = (),
    keep: bool = False,
    owner: int | None = None,
    extra_packages: Sequence[str] = (),
) -> bool:
    """Bring the current lab up with `count` hosts. Returns whether it was not up already.

    `releases` says what they run: `trixie` for all of them, `h2=sid+sudo-rs` for one (see `lab.machine.platforms`).
    If a step fails, everything is removed, unless `keep` is set. The extra packages are Debian packages that a mesh
    host does not need. When the process with the ID `owner` ends, the lab is taken down.
    """
    packages.require_machine()
    lab = layout.current()
    platforms_of = platforms.assign(layout.host_names(count), releases)
    teardown.require_own_lab(lab)
    with cache.locked(lab.lock), _sigterm_raises():
        if _is_up(lab, platforms_of):
            print_line(f"lab {lab.name}", f"is up already, with {_count(platforms_of)}")
            return False
        teardown.remove(lab)
        try:
            with step(f"lab {lab.name}", "up"):
                _create(lab, platforms_of, extra_packages, owner, keep)
        except BaseException:
            if not keep:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)  # a second signal must not interrupt the teardown
                print_line(f"lab {lab.name}", "did not come up; taking it down")
                teardown.remove(lab)
            raise
    return True


def _is_up(lab: Lab, wanted: Mapping[str, Platform]) -> bool:
    if not (lab.state / "operator.env").exists() or namespace_holder.find_pid(lab) is None:
        return False
    present = hosts.platforms_by_host()
    if present != wanted:
        raise LabError(f"lab {lab.name} is up with {_count(present)}; run: inv lab.down first")
    return True


def _count(platforms_of: Mapping[str, Platform]) -> str:
    """`10 hosts`, and how many run another release than the default."""
    count = "1 host" if len(platforms_of) == 1 else f"{len(platforms_of)} hosts"
    others = Counter(str(platform) for platform in platforms_of.values() if platform != Platform())
    listed = ", ".join(f"{number} {name}" for name, number in others.items())
    return f"{count} ({listed})" if listed else count


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


def _create(
    lab: Lab, platforms_of: Mapping[str, Platform], extra_packages: Sequence[str], owner: int | None, keep: bool
) -> None:
    host_names = list(platforms_of)
    kinds = {host: (platform, layout.flavour(host)) for host, platform in platforms_of.items()}
    with step("packages") as outcome:
        outcome.message = "installed" if packages.ensure_commands() else "present"
    with step("step, step-ca") as outcome:
        releases = dict.fromkeys(platform.release for platform in platforms_of.values())

        def bootstrap() -> None:
            for release in releases:
                image.ensure_bare(release, print_line, extra_packages)

        tools = binaries.ensure_binaries(print_line, meanwhile=bootstrap)
        outcome.message = "built" if tools.built else "cached"
    with step("base image") as outcome:
        images, built = image.ensure_images(kinds.values(), tools, print_line, extra_packages)
        outcome.message = "built" if built else "cached"
    with step("network"):
        _start_network(lab, platforms_of, tools, owner)
    with _worker_threads(lab, keep) as pool:
        ca_started = pool.submit(_start_ca, lab, tools)
        with step(_count(platforms_of), "started"):
            list(pool.map(lambda host: _start_host(lab, host, images[kinds[host]]), host_names))
            operator_home.write_known_hosts(lab, host_names)
        with step("CA"):
            ca_started.result()
        with step(_count(platforms_of)):
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


def _start_network(lab: Lab, platforms_of: Mapping[str, Platform], tools: Binaries, owner: int | None) -> None:
    lab.state.mkdir(parents=True, mode=0o755)
    host_list.write(lab, platforms_of)
    (lab.state / "step-ca").write_text(f"{tools.step_ca}\n")
    sysctl.ensure_inotify_limit(len(platforms_of))
    operator_home.create(lab)
    namespace_holder.start(lab)
    if owner is not None:
        _start_owner_watchdog(lab, owner)
    network.start(lab)
    dns.start(lab, list(platforms_of))


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


def _start_host(lab: Lab, host: str, layers: list[Path]) -> None:
    machine.create(lab, host, layers)
    machine.boot(lab, host)


def _finish_host(lab: Lab, host: str, tools: Binaries) -> None:
    identity.install(lab, host, tools.step)
    machine.wait_until_ready(lab, host)
    snapshot.save(lab, host)
