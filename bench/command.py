"""The work of the tasks that is done outside the lab: from the options to the result files and docs/performance.md."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import contenders, lab_session, report, results, schedule, system_info, tool_installs
from bench.inventory import BENCH_FOLDER
from lab.errors import LabError

RESULTS = BENCH_FOLDER / "results" / "benchmark.json"
PROFILE = BENCH_FOLDER / "results" / "profile.json"
DOCS = BENCH_FOLDER.parent / "docs"
PAGE = DOCS / "performance.md"
PLOT = DOCS / "images" / "performance.svg"


def run(hosts: int, runs: int, only: str, series: str, output: str, *, merge: bool = False) -> None:
    """Measure, save the results and print the tables; a complete benchmark also updates docs/performance.md.

    Args:
        hosts: the number of hosts where there are many.
        runs: the number of rounds with many hosts.
        only: contenders, separated by commas; empty for all.
        series: series, separated by commas.
        output: a results file; empty for that of the documents, if everything is measured.
        merge: put the results among those of the documents, which keep what was not measured again.

    Raises:
        LabError: an option has an unknown value, or the lab or the measurement failed.
    """
    known = [contender.key for contender in contenders.CONTENDERS]
    keys = _parse_list(only, known, "--only") or known
    selected_series = _parse_list(series, list(schedule.SERIES), "--series")
    if hosts < 1 or runs < 1:
        raise LabError(f"--hosts {hosts} --runs {runs}: both must be at least 1")
    is_complete = keys == known and selected_series == list(schedule.SERIES) and hosts > 1
    lab_session.compile_python()
    tools, versions, missing = tool_installs.ensure_all() if set(tool_installs.TOOLS) & set(keys) else ({}, {}, {})
    if "apply" in subprocess.check_output([str(Path(sys.executable).with_name("inv")), "--list"], text=True):
        tools["apply"] = "yes"
    request = {
        "hosts": hosts,
        "runs": runs,
        "only": [key for key in keys if key not in missing],
        "series": selected_series,
        "tools": tools,
        "machine": system_info.describe(),
        "versions": system_info.versions() | versions,
        "missing": missing,
    }
    with tempfile.TemporaryDirectory() as folder:
        request_file, results_file = Path(folder) / "request.json", Path(folder) / "results.json"
        request_file.write_text(json.dumps(request))
        with lab_session.lab(max(hosts, 2)) as bench_lab:
            lab_session.run_module(bench_lab, "bench.runner", str(request_file), str(results_file))
        measured = results.read(results_file)
    sys.stdout.write(report.tables(measured))
    if merge and RESULTS.exists():
        measured = results.merge(results.read(RESULTS), measured)
    if output:
        measured.write(Path(output))
    elif is_complete or merge:
        measured.write(RESULTS)
        render("")


def render(file: str) -> None:
    """Draw the plot, and write the generated parts of docs/performance.md.

    Raises:
        LabError: there is no such results file, matplotlib cannot be installed, or the plot cannot be drawn.
    """
    source = Path(file) if file else RESULTS
    if not source.exists():
        raise LabError(f"{source}: there are no results; run: inv bench")
    parts = {"benchmark": report.tables(results.read(source))}
    if PROFILE.exists():
        parts["profile"] = report.profile(json.loads(PROFILE.read_text()))
    PAGE.write_text(report.filled(PAGE.read_text(), parts))
    python = tool_installs.ensure("matplotlib") / "python"
    PLOT.parent.mkdir(exist_ok=True)
    argv = [str(python), "-m", "bench.plot", str(source), str(PLOT)]
    if subprocess.run(argv, cwd=BENCH_FOLDER.parent, check=False).returncode:
        raise LabError("the plot could not be drawn")


def profile(hosts: int, runs: int) -> None:
    """Measure where the time goes, save the profile and print it.

    Raises:
        LabError: the lab or the measurement failed.
    """
    if hosts < 2 or runs < 1:
        raise LabError(f"--hosts {hosts} --runs {runs}: there must be at least 2 hosts and 1 run")
    lab_session.compile_python()
    with lab_session.lab(hosts) as bench_lab:
        lab_session.run_module(bench_lab, "bench.profile", str(hosts), str(runs), str(PROFILE))
    sys.stdout.write(report.profile(json.loads(PROFILE.read_text())))


def _parse_list(value: str, known: list[str], option: str) -> list[str]:
    """The values of a comma-separated option, in the order of `known`."""
    values = {item.strip() for item in value.split(",") if item.strip()}
    if unknown := sorted(values - set(known)):
        raise LabError(f"{option} {unknown[0]}: known are {', '.join(known)}")
    return [item for item in known if item in values]
