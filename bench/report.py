"""Formats results as Markdown, and fills the marked parts of a page. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bench import contenders, schedule
from bench.results import BASELINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.results import Results, ScenarioResult

# The targets of the project: (series, with many hosts, job, highest ratio, the contender that is the unit).
TARGETS = (
    ("lan", False, "first", 2.6, BASELINE),
    ("lan", False, "second", 1.5, BASELINE),
    ("40ms", False, "first", 2.2, BASELINE),
    ("40ms", False, "second", 1.3, BASELINE),
    ("lan", True, "first", 0.25, "script"),
    ("lan", True, "second", 0.7, BASELINE),
    ("lan", True, "check", 0.7, BASELINE),
)
JOB_TITLES = {"first": "first run", "second": "second run", "check": "check"}


def tables(results: Results) -> str:
    """A table for each scenario, the targets, and the machine and versions."""
    parts = [table(scenario) for scenario in results.scenarios]
    parts += [targets(results), environment(results)]
    return "\n".join(parts)


def table(scenario: ScenarioResult) -> str:
    """One scenario: the ratio of each median to the baseline, and the seconds with their range."""
    baseline = scenario.summary(BASELINE, "true")
    title = f"### {heading(scenario)}\n\n"
    if baseline is None:
        return f"{title}The baseline failed (`ssh HOST true`), so there is nothing to compare with.\n"
    unit = "`ssh HOST true`" + ("" if scenario.hosts == 1 else f" to all {scenario.hosts} hosts, 16 at a time")
    lines = [
        f"The baseline, {unit}, takes {baseline.median:.2f} s (median of {baseline.count} runs,"
        f" {baseline.minimum:.2f} to {baseline.maximum:.2f}). The round-trip time is"
        f" {scenario.round_trip * 1000:.0f} ms. First run, second run and check are ratios to the baseline.\n",
        "| | " + " | ".join(JOB_TITLES.values()) + " | median in seconds (minimum to maximum), runs |",
        "|---|---:|---:|---:|---|",
    ]
    for key, contender in contenders.TITLES.items():
        if key in scenario.samples and key != BASELINE and key not in scenario.failures:
            lines.append(_row(scenario, key, contender))
    lines += [f"| {contenders.TITLES[key]} | failed | | | {reason} |" for key, reason in scenario.failures.items()]
    return title + "\n".join(lines) + "\n"


def heading(scenario: ScenarioResult) -> str:
    """The title of a scenario."""
    hosts = "One host" if scenario.hosts == 1 else f"{scenario.hosts} hosts"
    delay = schedule.SERIES[scenario.series]
    return f"{hosts}, {delay} ms round trip" if delay else hosts


def _row(scenario: ScenarioResult, key: str, title: str) -> str:
    ratios = [_format_ratio(scenario.ratio(key, job)) for job in schedule.JOBS]
    if key == "meshfab":
        title, ratios = f"**{title}**", [f"**{ratio}**" if ratio else "" for ratio in ratios]
    seconds = []
    for job in schedule.JOBS:
        summary = scenario.summary(key, job)
        if summary:
            seconds.append(f"{summary.median:.2f} ({summary.minimum:.2f} to {summary.maximum:.2f}), {summary.count}")
    return f"| {title} | {' | '.join(ratios)} | {'; '.join(seconds)} |"


def _format_ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def targets(results: Results) -> str:
    """The targets, the measured ratios, and whether each target is met."""
    lines = ["### Targets\n", "| ratio | at most | measured | |", "|---|---:|---:|---|"]
    for series, with_many_hosts, job, limit, unit in TARGETS:
        scenario = next(
            (item for item in results.scenarios if item.series == series and (item.hosts > 1) == with_many_hosts), None
        )
        if scenario is None:
            continue
        ratio = ratio_to(scenario, job, unit)
        other = "`ssh HOST true`" if unit == BASELINE else contenders.TITLES[unit]
        target = f"{heading(scenario)}: {JOB_TITLES[job]} / {other}"
        measured = "not measured" if ratio is None else f"{ratio:.2f}"
        verdict = "" if ratio is None else "met" if ratio <= limit else "**missed**"
        lines.append(f"| {target} | {limit} | {measured} | {verdict} |")
    return "\n".join(lines) + "\n" if len(lines) > 3 else ""


def ratio_to(scenario: ScenarioResult, job: str, unit: str) -> float | None:
    """meshfab's median divided by the median of another contender, for the same job (the baseline has only one)."""
    meshfab = scenario.summary("meshfab", job)
    other = scenario.summary(unit, "true" if unit == BASELINE else job)
    return meshfab.median / other.median if meshfab and other else None


def environment(results: Results) -> str:
    """The machine, the versions, and the contenders that are missing."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        f"Measured on {machine['day']}: {machine['cores']} cores and {machine['memory_gib']} GiB for the operator, the"
        f" CA and all hosts together, Linux {machine['linux']}, Python {machine['python']}; {versions}."
    ]
    lines += [f"{contenders.TITLES[key]} is missing: {reason}." for key, reason in results.missing.items()]
    return "\n".join(lines) + "\n"


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
