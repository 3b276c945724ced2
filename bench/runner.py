"""`python -m bench.runner REQUEST RESULTS`, inside the lab: runs the contenders in turn and records their times.

REQUEST is the JSON file that `inv bench` writes. RESULTS is written after every round, so that an interruption loses
one round at most.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bench import contenders, results, schedule, verifier
from bench.inventory import inventory_of
from lab.cli.progress import print_line
from lab.faults import faults, host_reset
from lab.services import dns, hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.contenders import Command
    from bench.inventory import Inventory, Site

_THREADS = 8
# Every command of the benchmark takes less than half of this. One that hangs must not stop the benchmark.
_TIMEOUT = 900


class InvalidRunError(Exception):
    """Why the runs of a contender do not count."""


def time_command(command: Command) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a process to its end; returns its wall-clock time in seconds, and its exit status and output."""
    env = {**os.environ, **command.env}
    began = time.perf_counter()
    process = subprocess.run(
        command.argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    return time.perf_counter() - began, process


def run(
    scenario: schedule.Scenario,
    folder: Path,
    only: Sequence[str],
    tools: Mapping[str, str],
    on_round: Callable[[results.ScenarioResult], None],
) -> None:
    """Run all rounds of a scenario.

    Args:
        scenario: what to measure.
        folder: where the inventories and the sockets of shared SSH connections are written.
        only: the keys of the contenders.
        tools: contender -> the path of its command.
        on_round: called with the results so far after every round.
    """
    inventory = inventory_of(scenario, folder)
    inventory.write()
    for site in {site for job in schedule.JOBS for site in inventory.sites_of(job)}:
        dns.point(site.name, site.host)
    commands = {
        contender.key: contender.commands(inventory, tools)
        for contender in contenders.CONTENDERS
        if contender.key in only
    }
    commands = {key: jobs for key, jobs in commands.items() if jobs}
    baseline = contenders.SSH.commands(inventory, tools)["true"]
    result = results.ScenarioResult(scenario.series, scenario.hosts, scenario.services)
    for number in range(scenario.rounds):
        for key in schedule.order(list(commands), scenario, number):
            if key in result.failures:
                continue
            reset(inventory, scenario.series)
            result.round_trip = result.round_trip or _round_trip(inventory.sites[0])
            time_command(baseline)  # warm-up: the first login after a reset is slower
            result.add(contenders.SSH.key, "true", _time_success(baseline))
            try:
                seconds = _run_jobs(commands[key], inventory, baseline, test_check=number == 0 and scenario.hosts == 1)
            except (InvalidRunError, subprocess.TimeoutExpired) as error:
                result.failures[key] = str(error)
                seconds = {}
            for job, duration in seconds.items():
                result.add(key, job, duration)
            _print_progress(scenario, number, key, seconds, result)
        on_round(result)


def _run_jobs(
    commands: Mapping[str, Command], inventory: Inventory, baseline: Command, *, test_check: bool
) -> dict[str, float]:
    """Run all jobs of a contender once, and verify the hosts after its first and second run."""
    seconds = {}
    for job in (job for job in schedule.JOBS if job in commands):
        _close_shared_connections(inventory)
        # Warm-up. systemd keeps a user's manager for ten seconds after a logout, and a login within that time is much
        # faster. The baseline is measured right after a login. The verification takes longer than ten seconds, so each
        # job needs a login before it as well.
        time_command(baseline)
        seconds[job] = _time_success(commands[job], job)
        problems = verifier.verify_all(inventory.sites_of(job)) if job not in schedule.LOOKS else []
        if problems:
            raise InvalidRunError(f"after its {job} run: {'; '.join(problems[:3])}")
    if test_check and "check" in commands:
        # A check that finds no problem must not win by doing less.
        site = inventory.sites[0]
        hosts.run(site.host, ["systemctl", "stop", f"step@{site.name}.timer"])
        if time_command(commands["check"])[1].returncode == 0:
            raise InvalidRunError("its check does not detect a stopped timer")
    return seconds


def _time_success(command: Command, job: str = "") -> float:
    """The seconds of a run, which must succeed."""
    seconds, process = time_command(command)
    if process.returncode:
        output = [line.strip() for line in f"{process.stdout}\n{process.stderr}".splitlines() if line.strip()]
        errors = [line for line in output if re.search("error|fatal|fail", line, re.IGNORECASE)]
        message = [*errors, *output, "no output"][0]
        raise InvalidRunError(f"its {job or 'only'} run ended with exit status {process.returncode}: {message[:200]}")
    return seconds


def _close_shared_connections(inventory: Inventory) -> None:
    """Close the shared SSH connections of the previous run: every run starts without one."""
    for path in inventory.control_sockets.glob("*"):
        subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"], capture_output=True, check=False)


def reset(inventory: Inventory, series: str) -> None:
    """Bring all hosts back to their initial state, with the delay of the series. Not measured."""

    def reset_host(host: str) -> None:
        host_reset.reset(host)
        if schedule.SERIES[series]:
            faults.delay(host, schedule.SERIES[series])

    _close_shared_connections(inventory)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(reset_host, inventory.hosts))


def _round_trip(site: Site) -> float:
    """The time of the fastest of five TCP connections, in seconds."""

    def connect() -> float:
        began = time.perf_counter()
        socket.create_connection((hosts.address(site.host), 22), timeout=5).close()
        return time.perf_counter() - began

    return round(min(connect() for _ in range(5)), 4)


def _print_progress(
    scenario: schedule.Scenario, number: int, key: str, seconds: Mapping[str, float], result: results.ScenarioResult
) -> None:
    baseline = result.samples[contenders.SSH.key]["true"][-1]
    times = [f"{job} {duration:.2f}" for job, duration in seconds.items()] or [f"failed: {result.failures[key]}"]
    size = f"{scenario.services}" if scenario.series == schedule.SERVICES else f"{scenario.hosts} hosts"
    title = f"{scenario.series}, {size}, {number + 1}/{scenario.rounds}"
    print_line(title, f"{key:<12} {'  '.join(times)}  (ssh {baseline:.2f})")


def main() -> None:
    """Run the scenarios of the request."""
    request, file = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    measured = results.Results(request["missing"])

    for scenario in schedule.scenarios(request["series"], request["hosts"], request["runs"]):
        complete = list(measured.scenarios)

        def save(partial: results.ScenarioResult, complete: list[results.ScenarioResult] = complete) -> None:
            partial.machine, partial.versions = request["machine"], request["versions"]
            measured.scenarios = [*complete, partial]
            measured.write(file)

        run(scenario, file.parent, request["only"], request["tools"], save)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
