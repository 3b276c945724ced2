"""`python -m bench.race ORDER RESULTS`, inside the lab: lets the contenders run in turn and notes how long each took.

ORDER is a file with what `inv bench` wants; RESULTS is written anew after every round, so that an end halfway loses
one round.
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

from bench import checker, contenders, place, results, schedule
from lab.cli.progress import print_line
from lab.faults import faults, host_reset
from lab.services import dns, hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.contenders import Command
    from bench.place import Place, Site

_AT_ONCE = 8
# No command of the benchmark takes half as long; one that hangs must not hold up the rest.
_TIMEOUT = 900


class DisqualifiedError(Exception):
    """Why a contender's runs do not count."""


def timed(command: Command) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a whole process to its end: the seconds that passed on the wall's clock, and what came of it."""
    env = {**os.environ, **command.env}
    began = time.perf_counter()
    done = subprocess.run(
        command.argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    return time.perf_counter() - began, done


def run(
    heat: schedule.Heat,
    folder: Path,
    only: Sequence[str],
    tools: Mapping[str, str],
    note: Callable[[results.Heat], None],
) -> None:
    """One comparison, all of its rounds; `note` is called after each. Inventories and sockets lie in the folder."""
    where = place.Place(folder / str(heat.hosts), place.sites(heat.hosts))
    where.write()
    for site in where.sites:
        dns.point(site.name, site.host)
    work = {one.key: one.commands(where, tools) for one in contenders.CONTENDERS if one.key in only}
    work = {key: commands for key, commands in work.items() if commands}
    floor = contenders.FLOOR.commands(where, tools)["true"]
    found = results.Heat(heat.series, heat.hosts)
    for number in range(heat.rounds):
        for key in schedule.order(list(work), heat, number):
            if key in found.failures:
                continue
            reset(where, heat.series)
            found.round_trip = found.round_trip or _round_trip(where.sites[0])
            timed(floor)  # the day's first login costs a host more, whoever comes
            found.add(contenders.FLOOR.key, "true", _sound(floor))
            try:
                took = _jobs(work[key], where, floor, is_tried=number == 0 and heat.hosts == 1)
            except (DisqualifiedError, subprocess.TimeoutExpired) as error:
                found.failures[key] = str(error)
                took = {}
            for job, seconds in took.items():
                found.add(key, job, seconds)
            _tell(heat, number, key, took, found)
        note(found)


def _jobs(commands: Mapping[str, Command], where: Place, floor: Command, *, is_tried: bool) -> dict[str, float]:
    """A contender's turn: first run, second run and check, with a look at what its runs have come to."""
    took = {}
    for job in (job for job in schedule.JOBS if job in commands):
        _part(where)
        # A login within ten seconds of the last one finds its user's systemd still there, and costs a host far less; so
        # the floor was measured, and the look at the hosts takes longer than that.
        timed(floor)
        took[job] = _sound(commands[job], job)
        amiss = checker.all_faults(where.sites) if job != "check" else []
        if amiss:
            raise DisqualifiedError(f"after its {job} run: {'; '.join(amiss[:3])}")
    if is_tried and "check" in commands:
        # A check that cannot fail would be the quickest of all.
        site = where.sites[0]
        hosts.run(site.host, ["systemctl", "stop", f"step@{site.name}.timer"])
        if timed(commands["check"])[1].returncode == 0:
            raise DisqualifiedError("its check does not see a timer that was stopped")
    return took


def _sound(command: Command, job: str = "") -> float:
    """The seconds of a run that ends well."""
    seconds, done = timed(command)
    if done.returncode:
        said = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        telling = [line for line in said if re.search("error|fatal|fail", line, re.IGNORECASE)] or said or ["no word"]
        raise DisqualifiedError(f"its {job or 'only'} run ended with {done.returncode}: {telling[0][:200]}")
    return seconds


def _part(where: Place) -> None:
    """End shared connections of the run before: every run starts without one."""
    for path in where.sockets.glob("*"):
        subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"], capture_output=True, check=False)


def reset(where: Place, series: str) -> None:
    """Hosts as they were brought up, and the line as long as the series has it. Not timed."""

    def one(site: Site) -> None:
        host_reset.reset(site.host)
        if schedule.SERIES[series]:
            faults.delay(site.host, schedule.SERIES[series])

    _part(where)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(one, where.sites))


def _round_trip(site: Site) -> float:
    """Of five TCP connections the quickest, in seconds."""

    def dial() -> float:
        began = time.perf_counter()
        socket.create_connection((hosts.address(site.host), 22), timeout=5).close()
        return time.perf_counter() - began

    return round(min(dial() for _ in range(5)), 4)


def _tell(heat: schedule.Heat, number: int, key: str, took: Mapping[str, float], found: results.Heat) -> None:
    floor = found.samples[contenders.FLOOR.key]["true"][-1]
    words = [f"{job} {seconds:.2f}" for job, seconds in took.items()] or [f"out: {found.failures[key]}"]
    who = f"{heat.series}, {heat.hosts} host{'s' * (heat.hosts > 1)}, {number + 1}/{heat.rounds}"
    print_line(who, f"{key:<12} {'  '.join(words)}  (ssh {floor:.2f})")


def main() -> None:
    """Run what the order says."""
    order, file = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    found = results.Results(order["machine"], order["versions"], order["missing"])

    for heat in schedule.heats(order["series"], order["hosts"], order["runs"]):
        done = list(found.heats)

        def note(partly: results.Heat, done: list[results.Heat] = done) -> None:
            found.heats = [*done, partly]
            found.write(file)

        run(heat, file.parent, order["only"], order["tools"], note)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
