"""Formats results as Markdown, and fills the marked parts of a page. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench import contenders, looks_table, schedule
from bench.results import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.results import Cell, Results, ScenarioResult

# The modes of signing; the first is the default.
MODES = ("meshfab", "operator")


@dataclass(frozen=True)
class Target:
    """The highest ratio of a contender's median to that of another contender, in the same run of the benchmark.

    Attributes:
        scenario: the series, and what it has many of.
        contender: whose time it is.
        job: the job of both; the baseline has only one.
        limit: the highest ratio.
        unit: the contender that is 1.
    """

    scenario: tuple[str, Literal["one", "hosts", "services"]]
    contender: str
    job: str
    limit: float
    unit: str = BASELINE

    def is_for(self, cell: Cell) -> bool:
        """Whether the target is for this scenario."""
        series, hosts, services = cell.newest.scenario
        size = "hosts" if hosts > 1 else "services" if services == schedule.SERVICE_COUNTS[-1] else "one"
        return self.scenario == (series, size)


_TIGHT_TARGETS = tuple(
    Target((series, "one"), mode, job, limit, "tight")
    for series in ("lan", "40ms")
    for mode in MODES
    for job, limit in (("first", 0.8), ("second", 1.0))
)
TARGETS = (
    Target(("lan", "one"), "meshfab", "first", 2.6),
    Target(("lan", "one"), "operator", "first", 1.9),
    Target(("lan", "one"), "meshfab", "second", 1.5),
    Target(("40ms", "one"), "meshfab", "first", 2.2),
    Target(("40ms", "one"), "operator", "first", 1.8),
    Target(("40ms", "one"), "meshfab", "second", 1.3),
    *_TIGHT_TARGETS,
    Target(("lan", "hosts"), "meshfab", "first", 0.25, "script"),
    Target(("lan", "hosts"), "operator", "first", 0.17, "script"),
    Target(("lan", "hosts"), "meshfab", "second", 0.7),
    Target(("lan", "hosts"), "meshfab", "check", 0.7),
    Target(("lan", "one"), "meshfab", "quick", 1.1),
    Target(("lan", "hosts"), "meshfab", "quick", 0.6),
    Target((schedule.SERVICES, "services"), "operator", "first", 0.2, "meshfab"),
)
JOB_TITLES = {"first": "first run", "second": "second run", "check": "check"}
_MORE_TITLES = {"more": "one more", "more-again": "again"}
_GROWTH_TITLES = {
    "first": "`apply`, first run",
    "second": "`apply`, second run",
    "check": "`check-certs`",
    "more": "`provision` of one more",
    "more-again": "`provision` of it again",
}


def tables(results: Results) -> str:
    """A table for each scenario, the targets, and the machine and versions."""
    cells = results.cells()
    environments = {environment(part) for cell in cells for part in cell.parts}
    parts = [
        table(cell, with_environment=len(environments) > 1)
        for cell in cells
        if cell.newest.series != schedule.SERVICES or cell.newest.services == schedule.SERVICE_COUNTS[-1]
    ]
    parts += [looks_table.looks(cells, heading), growth(cells), targets(cells)]
    parts += environments if len(environments) == 1 else ()
    parts += [f"{contenders.TITLES[key]} is missing: {reason}.\n" for key, reason in results.missing.items()]
    return "\n".join(part for part in parts if part)


def table(cell: Cell, *, with_environment: bool = False) -> str:
    """One scenario: the ratio of each median to the baseline, and the seconds with their range."""
    titles = JOB_TITLES | (_MORE_TITLES if cell.newest.series == schedule.SERVICES else {})
    heads = [_baseline(part, names_rows=len(cell.parts) > 1) for part in cell.parts]
    lines = [
        f"{' '.join(heads)} {', '.join(list(titles.values())[:-1]).capitalize()} and {list(titles.values())[-1]} are"
        " ratios to the baseline.\n",
        "| | " + " | ".join(titles.values()) + " | median in seconds (minimum to maximum), runs |",
        "|---|" + "---:|" * len(titles) + "---|",
        *(_row(cell, key, title, list(titles)) for key, title in contenders.TITLES.items() if _is_measured(cell, key)),
    ]
    for part in cell.parts:
        lines += [
            f"| {contenders.TITLES[key]} | failed |{' |' * (len(titles) - 1)} {why} |"
            for key, why in part.failures.items()
        ]
    text = f"### {heading(cell)}\n\n" + "\n".join(lines) + "\n"
    if with_environment:
        text += "".join(f"\n{_rows_of(part)}{environment(part)}" for part in cell.parts)
    return text


def heading(cell: Cell) -> str:
    """The title of a scenario."""
    series, count, services = cell.newest.scenario
    if series == schedule.SERVICES:
        return f"{services} services on one host"
    hosts = "One host" if count == 1 else f"{count} hosts"
    delay = schedule.SERIES[series]
    return f"{hosts}, {delay} ms round trip" if delay else hosts


def growth(cells: Sequence[Cell]) -> str:
    """How the time grows with the number of services on a host: median seconds of each job."""
    by_services = {cell.newest.services: cell for cell in cells if cell.newest.series == schedule.SERVICES}
    if not by_services:
        return ""
    counts = sorted(by_services)
    lines = [
        "### Growth with the services on a host\n",
        "| median seconds | " + " | ".join(f"{count} service{'s' * (count > 1)}" for count in counts) + " |",
        "|---|" + "---:|" * len(counts),
    ]
    for key in MODES:
        for job, title in _GROWTH_TITLES.items():
            summaries = [by_services[count].summary(key, job) for count in counts]
            if any(summaries):
                medians = " | ".join(f"{summary.median:.2f}" if summary else "" for summary in summaries)
                lines.append(f"| {contenders.TITLES[key]}: {title} | {medians} |")
    return "\n".join(lines) + "\n"


def _baseline(part: ScenarioResult, *, names_rows: bool) -> str:
    baseline = part.summary(BASELINE, "true")
    rows = _rows_of(part) if names_rows else ""
    if baseline is None:
        return f"{rows}The baseline failed (`ssh HOST true`), so there is nothing to compare with."
    unit = "`ssh HOST true`" + ("" if part.hosts == 1 else f" to all {part.hosts} hosts, 16 at a time")
    return (
        f"{rows}The baseline, {unit}, takes {baseline.median:.2f} s (median of {baseline.count} runs,"
        f" {baseline.minimum:.2f} to {baseline.maximum:.2f}). The round-trip time is {part.round_trip * 1000:.0f} ms."
    )


def _rows_of(part: ScenarioResult) -> str:
    names = [title for key, title in contenders.TITLES.items() if key in part.contenders]
    return f"Rows {'; '.join(names)}: "


def _is_measured(cell: Cell, key: str) -> bool:
    part = cell.part_of(key)
    return key != BASELINE and part is not None and part.baseline() is not None and key not in part.failures


def _row(cell: Cell, key: str, title: str, jobs: Sequence[str]) -> str:
    ratios = [_format_ratio(cell.ratio(key, job)) for job in jobs]
    if key in MODES:
        title, ratios = f"**{title}**", [f"**{ratio}**" if ratio else "" for ratio in ratios]
    seconds = []
    for job in jobs:
        summary = cell.summary(key, job)
        if summary:
            seconds.append(f"{summary.median:.2f} ({summary.minimum:.2f} to {summary.maximum:.2f}), {summary.count}")
    return f"| {title} | {' | '.join(ratios)} | {'; '.join(seconds)} |"


def _format_ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def targets(cells: Sequence[Cell]) -> str:
    """The targets, the measured ratios, and whether each target is met, or by how much it is missed."""
    lines = ["### Targets\n", "| ratio | at most | measured | |", "|---|---:|---:|---|"]
    for target in TARGETS:
        cell = next((cell for cell in cells if target.is_for(cell)), None)
        if cell is None:
            continue
        ratio = ratio_of(target, cell)
        measured = "not measured" if ratio is None else f"{ratio:.2f}"
        lines.append(f"| {_describe(target, cell)} | {target.limit} | {measured} | {_verdict(ratio, target.limit)} |")
    return "\n".join(lines) + "\n" if len(lines) > 3 else ""


def _describe(target: Target, cell: Cell) -> str:
    contender, unit = contenders.TITLES[target.contender], contenders.TITLES[target.unit]
    return f"{heading(cell)}, {(JOB_TITLES | looks_table.TITLES)[target.job]}: {contender} / {unit}"


def _verdict(ratio: float | None, limit: float) -> str:
    if ratio is None:
        return ""
    return "met" if ratio <= limit else f"**missed** by {100 * (ratio / limit - 1):.0f} %"


def ratio_of(target: Target, cell: Cell) -> float | None:
    """The median of a target's contender divided by that of its unit, from one run of the benchmark."""
    part = cell.part_of(target.contender, target.unit)
    if part is None:
        return None
    summary = part.summary(target.contender, target.job)
    unit = part.summary(target.unit, "true" if target.unit == BASELINE else target.job)
    return summary.median / unit.median if summary and unit else None


def environment(part: ScenarioResult) -> str:
    """The date, the machine and the versions of a result."""
    machine = part.machine
    versions = ", ".join(f"{name} {version}" for name, version in part.versions.items())
    return (
        f"Measured on {machine['day']}: {machine['cores']} cores and {machine['memory_gib']} GiB for the operator, the"
        f" CA and all hosts together, Linux {machine['linux']}, Python {machine['python']}; {versions}.\n"
    )


def profile(profiles: Mapping[str, Sequence[Sequence[Any]]]) -> str:
    """A table for each profiled command: its parts and their milliseconds."""
    parts = []
    for title, rows in profiles.items():
        lines = [f"### {title}\n", "| ms | |", "|---:|---|", *(f"| {ms:.0f} | {part} |" for ms, part in rows)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The page with each part written between its marks: `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: the marks of a part are not on the page exactly once.
    """
    for name, part in parts.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text, count = marked.subn(lambda match, part=part: f"{match[1]}\n{part}\n{match[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page must have the marks of {name!r} once, and has them {count} times")
    return text
