"""Measures check-certs on many hosts, and compares it with `ssh HOST true` on real hosts, as whole processes.

lab/operator python -m bench.scale                 10, 100 and 1,000 addresses of the lab's hosts, threads and processes
lab/operator python -m bench.scale parallel [MS]   8, 16, 32 and 40 hosts at a time, with MS ms of round-trip time added
lab/operator python -m bench.scale baseline [RUNS] all hosts of the lab, as a ratio to `ssh HOST true` 16 at a time
lab/operator python -m bench.scale crossover       threads against processes, with a simulated host

Each of them writes what it prints into docs/performance.md too, with its date and versions.

The hosts of the lab share the machine with the client. With addresses instead of hosts, the wall-clock time is limited
by the hosts, and the CPU time is the client's alone.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench import report, system_info
from lab.faults import address_aliases, faults
from lab.services import hosts

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
INV = str(Path(sys.executable).with_name("inv"))
# The target of `baseline`: the highest ratio of check-certs to `ssh HOST true`, 16 at a time.
LIMIT = 0.7
_SAMPLE_INTERVAL = 0.05
_SAMPLES_PER_LISTING = 10
_STDIN_FROM_NULL = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)


@dataclass(frozen=True)
class Usage:
    """What one process and its children used.

    Attributes:
        wall: wall-clock time in seconds.
        cpu: CPU time in seconds.
        megabytes: the sum of the peak memory of all processes.
        threads: the highest number of threads at one time.
        status: the exit status.
        output: the standard output.
    """

    wall: float
    cpu: float
    megabytes: float
    threads: int
    status: int
    output: str


class _Sampler:
    """Samples the memory and the threads of a process and its children while they run."""

    def __init__(self, pid: int) -> None:
        self.threads = 0
        self._process = psutil.Process(pid)
        self._children: list[psutil.Process] = []
        self._peaks: dict[int, int] = {}
        self._samples = 0

    @property
    def megabytes(self) -> float:
        """The sum of the peaks of all processes; a peak is the largest resident set that was sampled."""
        return sum(self._peaks.values()) / (1 << 20)

    def sample(self) -> None:
        """Take one sample."""
        # To list children, psutil reads every process of the machine. A lab has a thousand, so list them less often.
        if self._samples % _SAMPLES_PER_LISTING == 0:
            self._children = self._process.children(recursive=True)
        self._samples += 1
        threads = 0
        for process in (self._process, *self._children):
            with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
                self._peaks[process.pid] = max(process.memory_info().rss, self._peaks.get(process.pid, 0))
                threads += process.num_threads()
        self.threads = max(threads, self.threads)


def measure(argv: list[str]) -> Usage:
    """Run a command to its end, and sample it twenty times a second."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as stdout:
        actions = [_STDIN_FROM_NULL, (os.POSIX_SPAWN_DUP2, stdout.fileno(), 1)]
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        sampler = _Sampler(pid)
        while True:
            ended, status, rusage = os.wait4(pid, os.WNOHANG)
            if ended:
                break
            sampler.sample()
            time.sleep(_SAMPLE_INTERVAL)
        wall, cpu = time.monotonic() - began, rusage.ru_utime + rusage.ru_stime
        stdout.seek(0)
        output = stdout.read()
    return Usage(wall, cpu, sampler.megabytes, sampler.threads, os.waitstatus_to_exitcode(status), output)


def check_certs(names: Sequence[str], *options: str, parallel: int | None = None) -> list[str]:
    """The command line that checks these hosts."""
    settings = {"hosts": list(names)} | ({"parallel": parallel} if parallel else {})
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"meshfab": settings}, file)
    return [INV, "-f", file.name, "check-certs", "--format", "json", *options]


def measure_growth(counts: Sequence[int] = (10, 100, 1000)) -> None:
    """Show how CPU time, memory and threads grow with the number of hosts."""
    names = address_aliases.add(max(counts), hosts.names()[:8])
    try:
        print("| executor | hosts | wall s | client CPU s | CPU ms a host | peak MB | threads |\n" + "|---" * 7 + "|")
        for executor in ("threads", "processes"):
            previous: tuple[int, Usage] | None = None
            for count in counts:
                usage = measure(check_certs(names[:count], "--executor", executor))
                each = f"{1000 * (usage.cpu - previous[1].cpu) / (count - previous[0]):.1f}" if previous else ""
                print(
                    f"| {executor} | {count} | {usage.wall:.1f} | {usage.cpu:.2f} | {each} | {usage.megabytes:.0f} "
                    f"| {usage.threads} |{_failure_note(usage)}",
                    flush=True,
                )
                previous = count, usage
    finally:
        address_aliases.remove()


def measure_parallel(delay: float) -> None:
    """Show the wall-clock time for several values of `parallel`, with so many milliseconds of round-trip time added."""
    names, widths = hosts.names(), (8, 16, 32, 40)
    if delay:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: faults.delay(name, delay), names))
    samples: dict[int, list[float]] = {width: [] for width in widths}
    try:
        for _, width in itertools.product(range(5), widths):
            samples[width].append(measure(check_certs(names, parallel=width)).wall)
    finally:
        for name in names if delay else ():
            faults.undelay(name)
    medians = ", ".join(f"{width} {statistics.median(seconds):.2f} s" for width, seconds in samples.items())
    print(f"{len(names)} hosts, {delay:g} ms: {medians}")


def compare_with_ssh(runs: int) -> int:
    """Compare check-certs on the lab's hosts with `ssh HOST true`; returns exit status 1 if the ratio is over LIMIT."""
    names = hosts.names()
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("\n".join(names) + "\n")
    ssh = ["/usr/bin/xargs", "-P16", f"--arg-file={file.name}", "-I{}", "ssh", "{}", "true"]
    measure(ssh)  # warm-up
    ratios, pairs = [], []
    for _ in range(runs):
        baseline, meshfab = measure(ssh), measure(check_certs(names))
        if (baseline.status, meshfab.status) != (0, 0):
            sys.exit(f"a host has a problem: ssh ended with {baseline.status}, check-certs with {meshfab.status}")
        ratios.append(meshfab.wall / baseline.wall)
        pairs.append(f"{meshfab.wall:.2f}/{baseline.wall:.2f}")
    ratio = statistics.median(ratios)
    print(f"{len(names)} hosts, ratio to ssh 16 at a time: {ratio:.2f} (limit {LIMIT}); {', '.join(pairs)}")
    return int(ratio > LIMIT)


def simulate_host(_number: int) -> None:
    """The client's work for one host that answers within 0.15 s: 11 ms of CPU time, and waiting."""
    end = time.thread_time() + 0.011
    while time.thread_time() < end:
        pass
    time.sleep(0.14)


def find_crossover() -> None:
    """Show from how many hosts processes are faster than threads, when the hosts are on other machines."""
    # Import it by its full name: another process cannot find it in __main__.
    from bench.scale import simulate_host
    from meshfab.fleet.executors import ProcessExecutor, cores

    processes = cores()
    for count in (50, 100, 150, 200, 400):
        samples: dict[str, list[float]] = {"threads": [], "processes": []}
        for _ in range(3):
            for executor, make_pool in (
                ("threads", partial(ThreadPoolExecutor, 16)),
                ("processes", partial(ProcessExecutor, processes, -(-16 // processes))),
            ):
                began = time.monotonic()
                pool = make_pool()
                list(pool.map(simulate_host, range(count)))
                pool.shutdown()
                samples[executor].append(time.monotonic() - began)
        medians = ", ".join(f"{executor} {statistics.median(seconds):.2f} s" for executor, seconds in samples.items())
        print(f"{count} hosts: {medians}", flush=True)


def _failure_note(usage: Usage) -> str:
    """Why the numbers of a run are doubtful: the errors of hosts that could not be checked."""
    if usage.status == 0:
        return ""
    errors = {str(host["error"])[:100] for host in json.loads(usage.output)["hosts"] if host["error"]}
    return f" exit status {usage.status}: {sorted(errors)[:3]}"


def main() -> int:
    """Run the measurement that the first argument names."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale")
    parser.add_argument(
        "measurement", nargs="?", choices=("growth", "parallel", "baseline", "crossover"), default="growth"
    )
    parser.add_argument(
        "number",
        nargs="?",
        type=float,
        help="parallel: milliseconds of round-trip time to add; baseline: number of runs",
    )
    args = parser.parse_args()
    output = Tee()
    with redirect_stdout(output):
        status = _measure(args.measurement, args.number)
    record(args.measurement, output.getvalue())
    return status


class Tee(io.StringIO):
    """Keeps what is printed, and prints it."""

    def write(self, text: str) -> int:
        """Print the text, and keep it."""
        sys.__stdout__.write(text)  # type: ignore[union-attr]  # this is a command
        return super().write(text)


def record(measurement: str, output: str) -> None:
    """Write the output of a measurement into the page, with its date and versions."""
    machine, versions = system_info.describe(), system_info.versions()
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = f"{machine['day']}, {machine['cores']} cores, Linux {machine['linux']}, Python {machine['python']}, {names}."
    body = output if output.startswith("|") else f"```text\n{output}```\n"
    PAGE.write_text(report.filled(PAGE.read_text(), {f"scale {measurement}": f"{head}\n\n{body}"}))


def _measure(measurement: str, number: float | None) -> int:
    if measurement == "baseline":
        return compare_with_ssh(int(number or 5))
    if measurement == "parallel":
        measure_parallel(number or 0.0)
    elif measurement == "crossover":
        find_crossover()
    else:
        measure_growth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
