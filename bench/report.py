"""Results as Markdown, and a page whose marked parts are filled with it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bench import contenders, schedule
from bench.results import FLOOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.results import Heat, Results

# What the project set out to reach: (series, has many hosts, job, at most, of whom).
TARGETS = (
    ("lan", False, "first", 2.6, FLOOR),
    ("lan", False, "second", 1.5, FLOOR),
    ("40ms", False, "first", 2.2, FLOOR),
    ("40ms", False, "second", 1.3, FLOOR),
    ("lan", True, "first", 0.25, "script"),
    ("lan", True, "second", 0.7, FLOOR),
    ("lan", True, "check", 0.7, FLOOR),
)
JOB_TITLES = {"first": "first run", "second": "second run", "check": "check"}


def tables(found: Results) -> str:
    """Every comparison as a table, the targets, and what it was measured with."""
    parts = [table(heat) for heat in found.heats]
    parts += [targets(found), circumstances(found)]
    return "\n".join(parts)


def table(heat: Heat) -> str:
    """One comparison: medians in units of a bare ssh, and the seconds with their range."""
    floor = heat.summary(FLOOR, "true")
    title = f"### {heading(heat)}\n\n"
    if floor is None:
        return f"{title}The bare ssh itself failed; nothing can be compared.\n"
    unit = "`ssh HOST true`" + ("" if heat.hosts == 1 else f" to all {heat.hosts}, 16 at a time")
    lines = [
        f"{unit} is 1: {floor.median:.2f} s (median of {floor.count}, {floor.low:.2f} to {floor.high:.2f});"
        f" a round trip takes {heat.round_trip * 1000:.0f} ms.\n",
        "| | " + " | ".join(JOB_TITLES.values()) + " | seconds, median (lowest to highest), runs |",
        "|---|---:|---:|---:|---|",
    ]
    for key, title_of in contenders.TITLES.items():
        if key in heat.samples and key != FLOOR and key not in heat.failures:
            lines.append(_row(heat, key, title_of))
    lines += [f"| {contenders.TITLES[key]} | failed | | | {why} |" for key, why in heat.failures.items()]
    return title + "\n".join(lines) + "\n"


def heading(heat: Heat) -> str:
    """What a comparison is called."""
    hosts = "One host" if heat.hosts == 1 else f"{heat.hosts} hosts"
    ms = schedule.SERIES[heat.series]
    return hosts if not ms else f"{hosts} behind {ms} ms"


def _row(heat: Heat, key: str, title: str) -> str:
    ratios = [_number(heat.ratio(key, job)) for job in schedule.JOBS]
    if key == "meshfab":
        title, ratios = f"**{title}**", [f"**{one}**" if one else "" for one in ratios]
    said = []
    for job in schedule.JOBS:
        taken = heat.summary(key, job)
        if taken:
            said.append(f"{taken.median:.2f} ({taken.low:.2f} to {taken.high:.2f}), {taken.count}")
    return f"| {title} | {' | '.join(ratios)} | {'; '.join(said)} |"


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def targets(found: Results) -> str:
    """What was to be reached, what was, and whether that is enough."""
    lines = ["### Targets\n", "| | at most | measured | |", "|---|---:|---:|---|"]
    for series, is_many, job, most, of in TARGETS:
        heat = next((one for one in found.heats if one.series == series and (one.hosts > 1) == is_many), None)
        if heat is None:
            continue
        got = compared(heat, job, of)
        what = f"{heading(heat)}, {JOB_TITLES[job]}, {'ssh' if of == FLOOR else contenders.TITLES[of]} being 1"
        said = ("not measured", "") if got is None else (f"{got:.2f}", "met" if got <= most else "**missed**")
        lines.append(f"| {what} | {most} | {said[0]} | {said[1]} |")
    return "\n".join(lines) + "\n" if len(lines) > 3 else ""


def compared(heat: Heat, job: str, of: str) -> float | None:
    """meshfab's median in units of another's, of the same job or of the floor's only one."""
    own, other = heat.summary("meshfab", job), heat.summary(of, "true" if of == FLOOR else job)
    return own.median / other.median if own and other else None


def circumstances(found: Results) -> str:
    """The machine, the versions, and who could not take part."""
    had = found.machine
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    lines = [
        f"Measured on {had['day']}: {had['cores']} cores and {had['memory_gib']} GiB for the operator, the CA and all"
        f" hosts together, Linux {had['linux']}, Python {had['python']}; {versions}."
    ]
    lines += [f"{contenders.TITLES[key]} is missing: {why}." for key, why in found.missing.items()]
    return "\n".join(lines) + "\n"


def profile(found: Mapping[str, Sequence[Sequence[Any]]]) -> str:
    """Where the time goes: a table for each thing that was profiled, its parts with their milliseconds."""
    parts = []
    for what, rows in found.items():
        lines = [f"### {what}\n", "| ms | |", "|---:|---|", *(f"| {ms:.0f} | {part} |" for ms, part in rows)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def filled(text: str, parts: Mapping[str, str]) -> str:
    """The page with each part put between its marks: `<!-- NAME -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: the page has no such marks.
    """
    for name, part in parts.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text, count = marked.subn(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has {count} places for {name!r}")
    return text
