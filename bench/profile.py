"""`python -m bench.profile HOSTS RUNS FILE`, inside the lab: where the time of a provisioning and of a sweep goes.

A provisioning is one thing after the other: the wall's time, part by part, with the scripts that a round trip carries.
A sweep is many things at once, and what it is short of is the processor: processor time by what it was spent on. Every
run is a process of its own (`python -m bench.profile one WHAT FILE WORD…`), and the medians are written to FILE.
"""

from __future__ import annotations

import json
import pkgutil
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import checker, contenders, place, race
from bench.meter import Share, Timeline
from lab import layout
from lab.cli.progress import print_line
from lab.errors import LabError
from lab.faults import host_reset
from lab.services import dns

# Parts below this are together "the rest".
_LEAST_MS = 2.0
Parts = list[tuple[float, str]]
# Where to put a stopwatch, and what its time is called.
_OF_A_RUN = (
    ("meshfab.connect", "opened", lambda *_: "SSH: handshake and login"),
    ("meshfab.shell:RootShell", "_start", lambda *_: "SSH: the session, PAM, sudo"),
    ("meshfab.shell:RootShell", "_batch", lambda _, asked, __: f"host: {' + '.join(one.script for one in asked)}"),
    ("meshfab.served", "until", lambda *_: "the proof on the wire"),
)
_OF_A_SWEEP = (
    ("paramiko:Transport", "run", "SSH: key exchange and encryption (paramiko's own threads)"),
    ("meshfab.fleet", "connect", "Fabric connections, with Invoke's configuration and ~/.ssh/config"),
    ("meshfab.fleet", "opened", "SSH: dialling and logging in"),
    ("meshfab.shell:RootShell", "_start", "SSH: the session and its root shell"),
    ("meshfab.shell:RootShell", "_batch", "SSH: sending the probe, receiving its answer"),
    ("meshfab.survey", "parse", "reading the answers (nginx configuration, certificates)"),
    ("meshfab.sight", "look", "names, and a thread for each service"),
    ("meshfab.fleet", "_certificates", "a worker's own: its deadline, closing"),
    ("meshfab.served", "ask", "TLS: asking for what is served"),
    ("meshfab.judge", "host", "judging"),
    ("meshfab.table", "show", "the table"),
)


def provision(words: list[str]) -> Parts:
    """The parts of one command in this process, in seconds of the wall's clock."""
    line = Timeline()
    from invoke.program import Program  # noqa: F401

    line.mark("import Invoke")
    import meshfab.tasks  # noqa: F401
    from meshfab import flow, vhost  # noqa: F401

    line.mark("import meshfab, cryptography, Jinja2 and rich")
    import fabric  # noqa: F401

    line.mark("import Fabric and paramiko")
    for place_of, name, label in _OF_A_RUN:
        line.around(pkgutil.resolve_name(place_of), name, label)
    _run(words)
    line.mark("our own Python")
    return line.parts


def sweep(words: list[str]) -> Parts:
    """What the processor time of a sweep went into, in seconds over all threads, and the wall's time."""
    share, began, used = Share(), time.perf_counter(), time.process_time()
    import fabric  # noqa: F401
    from invoke.program import Program  # noqa: F401

    import meshfab.tasks  # noqa: F401
    from meshfab import fleet, table  # noqa: F401

    share.seconds["imports"] = time.process_time() - used
    for place_of, name, part in _OF_A_SWEEP:
        share.around(pkgutil.resolve_name(place_of), name, part)
    _run(words)
    everything = time.process_time() - used
    share.seconds["the rest: starting threads, waiting, Invoke"] = everything - sum(share.seconds.values())
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    parts = [(seconds, part) for part, seconds in share.seconds.items()]
    parts.append((children.ru_utime + children.ru_stime, "other processes of ours"))
    return [*parts, (everything, "**processor time**"), (time.perf_counter() - began, "**the wall's time**")]


def _run(words: list[str]) -> None:
    from invoke.program import Program

    Program(version="0").run([str(Path(sys.executable).with_name("inv")), *words], exit=False)


def summed(runs: list[Parts]) -> list[tuple[float, str]]:
    """Each part's median milliseconds over the runs, in the order in which they first come; small ones as the rest."""
    order = list(dict.fromkeys(part for run in runs for _, part in run))
    totals = {
        part: 1000 * statistics.median(sum(took for took, name in run if name == part) for run in runs)
        for part in order
    }
    shown = [(round(ms, 1), part) for part, ms in totals.items() if ms >= _LEAST_MS]
    rest = sum(ms for ms in totals.values() if ms < _LEAST_MS)
    return [*shown, (round(rest, 1), "parts below 2 ms")] if rest >= _LEAST_MS else shown


def _one(what: str, words: list[str]) -> Parts:
    """One run in a process of its own."""
    with tempfile.NamedTemporaryFile() as file:
        argv = [sys.executable, "-m", "bench.profile", "one", what, file.name, *words]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{what}: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
        return [(took, part) for took, part in json.loads(Path(file.name).read_text())]


def _measure(hosts: int, runs: int) -> dict[str, list[tuple[float, str]]]:
    folder = layout.current().state / "bench"
    alone, fleet = place.Place(folder / "1", place.sites(1)), place.Place(folder / "all", place.sites(hosts))
    taken: dict[str, list[Parts]] = {"A first run on one host": [], "A second run on one host": []}
    site, bare = alone.sites[0], contenders.FLOOR.commands(alone, {})["true"].argv
    for where in (alone, fleet):
        where.write()
    for each in fleet.sites:
        dns.point(each.name, each.host)
    words = ["provision", "--name", site.name, "--host", site.host]
    for number in range(runs):
        host_reset.reset(site.host)
        subprocess.run(bare, check=True)
        for what, found in taken.items():
            found.append(_one("provision", words))
            print_line(f"{number + 1}/{runs}", f"{what}: {sum(took for took, _ in found[-1]):.2f} s")
    # Whoever sets them up, a sweep looks at them alike; the tightest script is quick at it.
    race.reset(fleet, "lan")
    subprocess.run(
        contenders.tight(fleet)["first"].argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    if amiss := checker.all_faults(fleet.sites):
        raise LabError(f"the hosts are not set up: {amiss[0]}")
    sweeps = [_one("sweep", ["-f", str(fleet.settings), "check-certs"]) for _ in range(runs)]
    named = {what: summed(found) for what, found in taken.items()}
    return named | {f"A sweep of {hosts} hosts, processor time": summed(sweeps)}


def main() -> None:
    """One run, or all of them and their medians."""
    if sys.argv[1] == "one":
        what, file, words = sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
        parts = provision(words) if what == "provision" else sweep(words)
        file.write_text(json.dumps(parts))
        return
    found = _measure(int(sys.argv[1]), int(sys.argv[2]))
    file = Path(sys.argv[3])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
