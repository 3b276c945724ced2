"""What the tasks do: everything outside the lab, from the words of the command line to the files of the docs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import contenders, inventory, lab_session, report, results, schedule, system_info, tool_installs
from lab.errors import LabError

RESULTS = inventory.HERE / "results" / "benchmark.json"
PROFILE = inventory.HERE / "results" / "profile.json"
DOCS = inventory.HERE.parent / "docs"
PAGE = DOCS / "performance.md"
PLOT = DOCS / "images" / "performance.svg"


def run(hosts: int, runs: int, only: str, series: str, output: str) -> None:
    """Measure, save, and print the table; a run of all contenders is the docs' new one.

    Raises:
        LabError: a word is unknown, or the lab or the race did not end well.
    """
    known = [one.key for one in contenders.CONTENDERS]
    keys = _chosen(only, known, "--only") or known
    wanted = _chosen(series, list(schedule.SERIES), "--series")
    if hosts < 1 or runs < 1:
        raise LabError(f"--hosts {hosts} --runs {runs}: give numbers from 1")
    is_whole = keys == known and wanted == list(schedule.SERIES) and hosts > 1
    lab_session.compile_all()
    tools, versions, missing = tool_installs.find() if {"ansible", "pyinfra"} & set(keys) else ({}, {}, {})
    if "apply" in subprocess.check_output([str(Path(sys.executable).with_name("inv")), "--list"], text=True):
        tools["apply"] = "yes"
    order = {
        "hosts": hosts,
        "runs": runs,
        "only": [key for key in keys if key not in missing],
        "series": wanted,
        "tools": tools,
        "machine": system_info.describe(),
        "versions": system_info.versions() | versions,
        "missing": missing,
    }
    with tempfile.TemporaryDirectory() as folder:
        said, found = Path(folder) / "order.json", Path(folder) / "results.json"
        said.write_text(json.dumps(order))
        with lab_session.lab(max(hosts, 2)) as ours:
            lab_session.inside(ours, "bench.runner", str(said), str(found))
        done = results.read(found)
    if output or is_whole:
        done.write(Path(output) if output else RESULTS)
    sys.stdout.write(report.tables(done))
    if is_whole and not output:
        render("")


def render(file: str) -> None:
    """Write the plot, and the parts of the page between its marks.

    Raises:
        LabError: there are no such results, or no plotter can be had.
    """
    source = Path(file) if file else RESULTS
    if not source.exists():
        raise LabError(f"{source}: no results; run: inv bench")
    parts = {"benchmark": report.tables(results.read(source))}
    if PROFILE.exists():
        parts["profile"] = report.profile(json.loads(PROFILE.read_text()))
    PAGE.write_text(report.filled(PAGE.read_text(), parts))
    python = tool_installs.ensure("matplotlib") / "python"
    PLOT.parent.mkdir(exist_ok=True)
    argv = [str(python), "-m", "bench.plot", str(source), str(PLOT)]
    if subprocess.run(argv, cwd=inventory.HERE.parent, check=False).returncode:
        raise LabError("the plot was not drawn")


def profile(hosts: int, runs: int) -> None:
    """Measure where the time goes, save it, and print it.

    Raises:
        LabError: the lab or the measurement did not end well.
    """
    if hosts < 2 or runs < 1:
        raise LabError(f"--hosts {hosts} --runs {runs}: give at least 2 hosts and 1 run")
    lab_session.compile_all()
    with lab_session.lab(hosts) as ours:
        lab_session.inside(ours, "bench.profile", str(hosts), str(runs), str(PROFILE))
    sys.stdout.write(report.profile(json.loads(PROFILE.read_text())))


def _chosen(words: str, known: list[str], option: str) -> list[str]:
    """The words of an option in the known order."""
    said = {word.strip() for word in words.split(",") if word.strip()}
    if unknown := sorted(said - set(known)):
        raise LabError(f"{option} {unknown[0]}: known are {', '.join(known)}")
    return [word for word in known if word in said]
