"""check-certs over many hosts, and over real ones beside `ssh HOST true`: whole processes and what they took.

lab/operator python -m bench.scale                 10, 100, 1,000 addresses of the lab's hosts, by threads and processes
lab/operator python -m bench.scale parallel [MS]   8, 16, 32 and 40 at once, on every host of the lab, MS of delay added
lab/operator python -m bench.scale floor [RUNS]    every host of the lab, `ssh HOST true` 16 at a time being 1
lab/operator python -m bench.scale crossover       threads against processes, with a stand-in for the hosts

The hosts of the lab share the machine with the client: the wall time of the first is theirs, the CPU the client's own.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lab import crowd, faults, hosts
from lab.process import children

if TYPE_CHECKING:
    from collections.abc import Sequence

INV = str(Path(sys.executable).with_name("inv"))
# The floor's target: a sweep of real hosts, `ssh HOST true` 16 at a time being 1.
LIMIT = 0.7


@dataclass(frozen=True)
class Cost:
    """What one whole process took, its children included: seconds, megabytes at its peak, threads at its most.

    `said` is what it printed.
    """

    wall: float
    cpu: float
    megabytes: float
    threads: int
    status: int
    said: str


def cost(argv: list[str]) -> Cost:
    """Run a command to its end and look at it on the way, twenty times a second."""
    began = time.monotonic()
    out = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed when it is read
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[_QUIET, (os.POSIX_SPAWN_DUP2, out.fileno(), 1)])
    most, peaks = 0, {}
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        threads = 0
        for one in (pid, *_below(pid)):
            try:
                fields = dict(row.split(":", 1) for row in Path(f"/proc/{one}/status").read_text().splitlines())
                peaks[one] = int(fields["VmHWM"].split()[0]) / 1024
                threads += int(fields["Threads"])
            except (OSError, KeyError):
                continue  # it has just ended
        most = max(most, threads)
        time.sleep(0.05)
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    with out:
        out.seek(0)
        said = out.read()
    return Cost(wall, cpu, sum(peaks.values()), most, os.waitstatus_to_exitcode(status), said)


_QUIET = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)


def _below(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [child for task in tasks.iterdir() for child in map(int, (task / "children").read_text().split())]
    except OSError:
        return children(pid)


def sweep(names: Sequence[str], *options: str, parallel: int | None = None) -> list[str]:
    """The command line that checks these hosts."""
    settings = {"hosts": list(names)} | ({"parallel": parallel} if parallel else {})
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"meshfab": settings}, file)
    return [INV, "-f", file.name, "check-certs", "--format", "json", *options]


def growth(counts: Sequence[int] = (10, 100, 1000)) -> None:
    """How CPU, memory and threads grow with the hosts."""
    names = crowd.gather(max(counts), hosts.names()[:8])
    try:
        print("| executor | hosts | wall s | client CPU s | CPU ms a host | peak MB | threads |\n" + "|---" * 7 + "|")
        for executor in ("threads", "processes"):
            before: tuple[int, Cost] | None = None
            for count in counts:
                took = cost(sweep(names[:count], "--executor", executor))
                each = f"{1000 * (took.cpu - before[1].cpu) / (count - before[0]):.1f}" if before else ""
                print(
                    f"| {executor} | {count} | {took.wall:.1f} | {took.cpu:.2f} | {each} | {took.megabytes:.0f} "
                    f"| {took.threads} |{_doubt(took)}",
                    flush=True,
                )
                before = count, took
    finally:
        crowd.disperse()


def at_once(delay: float) -> None:
    """What `parallel` should be, with each packet held back so many milliseconds."""
    names, widths = hosts.names(), (8, 16, 32, 40)
    if delay:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: faults.delay(name, delay), names))
    taken: dict[int, list[float]] = {width: [] for width in widths}
    try:
        for _, width in itertools.product(range(5), widths):
            taken[width].append(cost(sweep(names, parallel=width)).wall)
    finally:
        for name in names if delay else ():
            faults.undelay(name)
    print(
        f"{len(names)} hosts, {delay:g} ms: " + ", ".join(f"{w} {statistics.median(s):.2f} s" for w, s in taken.items())
    )


def floor(runs: int) -> int:
    """Real hosts beside the least that OpenSSH can do; exit status 1 when the limit is missed."""
    names = hosts.names()
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("\n".join(names) + "\n")
    ssh = ["/usr/bin/xargs", "-P16", f"--arg-file={file.name}", "-I{}", "ssh", "{}", "true"]
    cost(ssh)
    ratios, walls = [], []
    for _ in range(runs):
        least, ours = cost(ssh), cost(sweep(names))
        ratios.append(ours.wall / least.wall)
        walls.append(f"{ours.wall:.2f}/{least.wall:.2f}")
        assert (least.status, ours.status) == (0, 0), "a host is amiss"  # noqa: S101  # no numbers of a broken fleet
    ratio = statistics.median(ratios)
    print(f"{len(names)} hosts, ssh 16 at a time being 1: {ratio:.2f} (limit {LIMIT}); {', '.join(walls)}")
    return int(ratio > LIMIT)


def stand_in(_number: int) -> None:
    """The client's side of one host that answers within 0.15 s: so much CPU, and the rest of the time waited."""
    end = time.thread_time() + 0.011
    while time.thread_time() < end:
        pass
    time.sleep(0.14)


def crossover() -> None:
    """From how many hosts on the start of processes is won back, when the hosts are elsewhere."""
    # Under the name by which another process finds it.
    from bench.scale import stand_in
    from meshfab.fleet.executors import ProcessExecutor, cores

    processes = cores()
    for count in (50, 100, 150, 200, 400):
        taken: dict[str, list[float]] = {"threads": [], "processes": []}
        for _ in range(3):
            for what, make in (
                ("threads", partial(ThreadPoolExecutor, 16)),
                ("processes", partial(ProcessExecutor, processes, -(-16 // processes))),
            ):
                began = time.monotonic()
                pool = make()
                list(pool.map(stand_in, range(count)))
                pool.shutdown()
                taken[what].append(time.monotonic() - began)
        print(
            f"{count} hosts: " + ", ".join(f"{what} {statistics.median(s):.2f} s" for what, s in taken.items()),
            flush=True,
        )


def _doubt(took: Cost) -> str:
    """What is wrong with a number: hosts that could not be asked."""
    if took.status == 0:
        return ""
    said = {str(host["error"])[:100] for host in json.loads(took.said)["hosts"] if host["error"]}
    return f" exit status {took.status}: {sorted(said)[:3]}"


def main() -> int:
    """Measure what the first word says."""
    what, *more = [*sys.argv[1:], ""][:2]
    number = float(more[0]) if more and more[0] else 0.0
    if what == "floor":
        return floor(int(number) or 5)
    if what == "parallel":
        at_once(number)
    elif what == "crossover":
        crossover()
    else:
        growth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
