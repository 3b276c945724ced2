"""Bringing a lab up, step by step, and taking it down again when a step does not end well."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab import layout
from lab.cli import teardown
from lab.cli.progress import say, step
from lab.errors import LabError
from lab.machine import binaries, cache, image, machine, namespace_holder, packages, snapshot, sysctl
from lab.machine.process import recorded, spawn
from lab.services import ca, dns, hosts, identity, network, operator_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from lab.layout import Lab

# More at once only makes each of them slower: a start is bound by the processor.
_AT_ONCE = 8


def up(count: int, *, keep: bool = False, owner: int | None = None, more: Sequence[str] = ()) -> None:
    """Bring the current lab up with so many hosts; on any other end nothing of it is left.

    `more` are Debian packages beside those that a mesh host needs.
    """
    packages.require_machine()
    lab = layout.current()
    wanted = layout.names(count)
    teardown.refuse_foreign(lab)
    with cache.locked(lab.lock), _terminable():
        if _is_up(lab, wanted):
            say(f"lab {lab.name}", f"is up already, with {count} hosts")
            return
        teardown.remove(lab)
        try:
            with step(f"lab {lab.name}", "up"):
                _build(lab, wanted, more, owner, keep)
        except BaseException:
            if not keep:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)  # impatience must not leave half of it
                say(f"lab {lab.name}", "did not come up; taking it down")
                teardown.remove(lab)
            raise


def _is_up(lab: Lab, wanted: list[str]) -> bool:
    if not (lab.state / "operator.env").exists() or recorded(lab.pids / "keeper") is None:
        return False
    present = hosts.names()
    if present != wanted:
        raise LabError(f"lab {lab.name} is up with {len(present)} hosts; run: inv lab.down first")
    return True


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends an `up` as Ctrl-C does: through its own clean-up."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _build(lab: Lab, wanted: list[str], more: Sequence[str], owner: int | None, keep: bool) -> None:
    with step("packages") as outcome:
        outcome.word = "installed" if packages.ensure_commands() else "present"
    with step("step, step-ca") as outcome:
        tools = binaries.find(say)
        outcome.word = "built" if tools.built else "cached"
    with step("base image") as outcome:
        images = {flavour: image.layers(flavour, tools, say, more) for flavour in image.FLAVOURS}
        outcome.word = "built" if any(made for _, made in images.values()) else "cached"
    with step("network"):
        _lay_network(lab, wanted, tools, owner)
    fleet = "1 host" if len(wanted) == 1 else f"{len(wanted)} hosts"
    with _workers(lab, keep) as pool:
        authority = pool.submit(_start_ca, lab, tools)
        with step(fleet, "started"):
            layers = {name: stack for name, (stack, _) in images.items()}
            list(pool.map(lambda host: _start_host(lab, host, layers), wanted))
            operator_home.know(lab, wanted)
        with step("CA"):
            authority.result()
        with step(fleet):
            list(pool.map(lambda host: _finish_host(lab, host, tools), wanted))
    operator_home.trust(lab)
    if "h2" in wanted:
        dns.point("gongfoo", "h2")
    operator_home.write_environment(lab, tools)


@contextmanager
def _workers(lab: Lab, keep: bool) -> Iterator[ThreadPoolExecutor]:
    """Threads for what can be done at once; on any error all of their work ends soon."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        if keep:
            raise
        # A thread that waits for a host to come up gives up when the host is gone.
        teardown.end_processes(lab)
        raise
    finally:
        pool.shutdown()


def _lay_network(lab: Lab, wanted: list[str], tools: binaries.Binaries, owner: int | None) -> None:
    lab.state.mkdir(parents=True, mode=0o755)
    (lab.state / "hosts.txt").write_text("\n".join(wanted) + "\n")
    (lab.state / "step-ca").write_text(f"{tools.step_ca}\n")
    sysctl.raise_instances(lab, len(wanted))
    operator_home.create(lab)
    namespace_holder.start(lab)
    if owner is not None:
        _watch(lab, owner)
    network.start(lab)
    dns.start(lab, wanted)


def _watch(lab: Lab, owner: int) -> None:
    """Leave a watcher behind that takes the lab down once the owner has died."""
    argv = [sys.executable, "-m", "lab.cli.owner_watchdog", str(owner), str(namespace_holder.pid(lab))]
    environment = {**os.environ, "PYTHONPATH": str(lab.checkout), "MESHFAB_LAB_NAME": lab.name}
    spawn(argv, lab.checkout / ".lab" / f"{lab.name}.watch.log", lab.pids / "watch", environment)


def _start_ca(lab: Lab, tools: binaries.Binaries) -> None:
    ca.create(lab, tools.step)
    ca.start(lab)


def _start_host(lab: Lab, host: str, layers: dict[str, list[Path]]) -> None:
    machine.assemble(lab, host, layers[layout.flavour(host)])
    machine.boot(lab, host)


def _finish_host(lab: Lab, host: str, tools: binaries.Binaries) -> None:
    identity.give(lab, host, tools.step)
    machine.wait(lab, host)
    snapshot.keep(lab, host)
