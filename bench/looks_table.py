"""The table of meshfab's other commands: the looks beside the full check, and a re-issue of every pair. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.results import Cell

TITLES = {
    "quick": "`check-certs --quick`",
    "outside": "`check-certs --outside`",
    "reissue": "`reissue --all`",
}


def looks(cells: Sequence[Cell], heading: Callable[[Cell], str]) -> str:
    """Ratios to the baseline of the same scenario, with the median seconds."""
    chosen = [cell for cell in cells if cell.newest.series != schedule.SERVICES and cell.summary("meshfab", "quick")]
    if not chosen:
        return ""
    lines = [
        "### Other looks, and a re-issue\n",
        "Ratios to `ssh HOST true` to the same hosts, and median seconds.\n",
        "| meshfab | " + " | ".join(map(heading, chosen)) + " |",
        "|---|" + "---:|" * len(chosen),
    ]
    for job, title in TITLES.items():
        cells_of_row = [_cell(cell, job) for cell in chosen]
        if any(cells_of_row):
            lines.append(f"| {title} | {' | '.join(cells_of_row)} |")
    return "\n".join(lines) + "\n"


def _cell(cell: Cell, job: str) -> str:
    summary, ratio = cell.summary("meshfab", job), cell.ratio("meshfab", job)
    return f"{ratio:.2f} ({summary.median:.2f} s)" if summary and ratio is not None else ""
