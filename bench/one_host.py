"""One host: a first provisioning and a second run, whole processes, medians, and where the time goes.

lab/operator python -m bench.one_host [RUNS]
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import names, pristine

if TYPE_CHECKING:
    from collections.abc import Callable

HOST, NAME = "h2", "gongfoo"
INV = [str(Path(sys.executable).with_name("inv")), "provision", "--name", NAME, "--host", HOST]
SSH = ["ssh", HOST, "true"]
# What a first and a second run may cost at most, a bare `ssh HOST true` being 1.
LIMITS = {"first": 2.6, "second": 1.5}


def seconds(argv: list[str]) -> float:
    """The wall time of one whole process."""
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def measure(runs: int) -> dict[str, float]:
    """Medians over runs that alternate, so that a slow moment of the machine hits all alike."""
    taken: dict[str, list[float]] = {"ssh": [], "first": [], "second": []}
    for _ in range(runs):
        pristine.reset(HOST)
        # A host that was just put back has its first session of the day behind it, for either.
        seconds(SSH)
        for what, argv in (("ssh", SSH), ("first", INV), ("ssh", SSH), ("second", INV)):
            taken[what].append(seconds(argv))
    return {what: statistics.median(values) for what, values in taken.items()}


def where(what: str) -> None:
    """Run once in this process and print how long each part took."""
    marks = [(0.0, "")]
    began = time.perf_counter()

    def mark(part: str) -> None:
        marks.append((time.perf_counter() - began, part))

    from invoke.program import Program

    mark("import invoke")
    import meshfab.tasks  # noqa: F401
    from meshfab import connect, flow, served, shell, vhost  # noqa: F401

    mark("import meshfab")
    import fabric  # noqa: F401

    mark("import fabric")
    _timed(connect, "opened", mark, lambda *_: "SSH handshake and login")
    _timed(shell.RootShell, "_start", mark, lambda *_: "open the session, sudo")
    _timed(shell.RootShell, "_batch", mark, lambda _shell, requests, _: "+".join(one.script for one in requests))
    _timed(served, "until", mark, lambda *_: "proof on the wire")
    try:
        Program(version="0").run(INV, exit=False)
    finally:
        mark("the rest")
    print(f"\n{what}:")
    for (before, _), (after, part) in itertools.pairwise(marks):
        if after - before >= 0.001:
            print(f"  {(after - before) * 1000:5.0f} ms  {part}")


def _timed(owner: Any, name: str, mark: Callable[[str], None], label: Callable[..., str]) -> None:
    real = getattr(owner, name)

    def call(*args: Any, **more: Any) -> Any:
        mark("")
        try:
            return real(*args, **more)
        finally:
            mark(label(*args))

    setattr(owner, name, call)


def main() -> int:
    """Print the ratios and where the time goes; exit status 1 when a limit is missed."""
    if sys.argv[1:2] == ["where"]:
        where(sys.argv[2])
        return 0
    names.point(NAME, HOST)
    took = measure(int(sys.argv[1]) if sys.argv[1:] else 7)
    print(f"ssh {HOST} true   {took['ssh']:.3f} s = 1")
    missed = 0
    for what, limit in LIMITS.items():
        ratio = took[what] / took["ssh"]
        missed += ratio > limit
        print(f"{what + ' run':<14} {took[what]:.3f} s = {ratio:.2f} (limit {limit})")
    pristine.reset(HOST)
    for what in LIMITS:
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "bench.one_host", "where", f"{what} run"], check=True)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
