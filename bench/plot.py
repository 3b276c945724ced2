"""`python -m bench.plot RESULTS IMAGE`: draws the scenarios with one service on a host as an SVG image.

It runs in the virtual environment that has matplotlib. Each scenario is a panel and each contender a line in it. Each
job is a marker on that line: the ratio of its median to `ssh HOST true`, on a logarithmic scale, with the range of the
runs behind it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import contenders, report, schedule
from bench.results import read

if TYPE_CHECKING:
    from bench.results import Cell, Results

# Colour in the light theme -> colour in the dark theme.
_DARK = {"#ffffff": "#0d1117", "#1f2328": "#e6edf3", "#d1d9e0": "#3d444d", "#0969da": "#4493f8", "#9a6700": "#d29922"}
_BACKGROUND, _TEXT, _GRID, _FIRST, _CHECK = _DARK
_MARKERS = {"first": ("o", _FIRST), "second": ("s", _TEXT), "check": ("D", _CHECK)}


def draw(results: Results, image: Path) -> None:
    """Draw every scenario with one service on a host that has a baseline into an SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text: it can be searched, and it is shown in the reader's font. The fixed salt makes the file
    # reproducible.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "meshfab", "font.size": 10, "font.family": "sans-serif"}
    )
    from matplotlib import pyplot

    cells = [cell for cell in results.cells() if cell.newest.series != schedule.SERVICES and cell.newest.baseline()]
    columns = 2 if len(cells) > 1 else 1
    rows = -(-len(cells) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(9.5, 3.4 * rows + 0.5), squeeze=False, sharey=True)
    panels = list(axes.T.flat if len(cells) == 4 else axes.flat)
    for panel, cell in zip(panels, cells, strict=False):
        _draw_panel(panel, cell)
    for panel in panels[len(cells) :]:
        panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(_MARKERS), frameon=False, labelcolor=_TEXT)
    figure.patch.set_facecolor(_BACKGROUND)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(image, metadata={"Date": None, "Title": "Time of each contender, as a ratio to ssh HOST true"})
    image.write_text(with_dark_theme(image.read_text()))


def _draw_panel(panel: Any, cell: Cell) -> None:
    keys = [contender.key for contender in contenders.CONTENDERS][::-1]
    for line, key in enumerate(keys):
        for job, (marker, colour) in _MARKERS.items():
            part = cell.part_of(key)
            summary, baseline = cell.summary(key, job), part.baseline() if part else None
            if summary is None or baseline is None:
                continue
            runs_range = [summary.minimum / baseline, summary.maximum / baseline]
            panel.plot(runs_range, [line, line], color=colour, linewidth=5, alpha=0.25)
            panel.plot(
                [summary.median / baseline],
                [line],
                marker,
                color=colour,
                markersize=6,
                label=report.JOB_TITLES[job] if key == "meshfab" else None,
            )
    panel.axvline(1, color=_TEXT, linewidth=1, linestyle=":")
    panel.set_xscale("log")
    panel.set_yticks(range(len(keys)), [contenders.TITLES[key] for key in keys], color=_TEXT)
    panel.set_ylim(-0.6, len(keys) - 0.4)
    panel.set_title(report.heading(cell), color=_TEXT, loc="left")
    unit = "ssh HOST true" if cell.newest.hosts == 1 else f"ssh HOST true to all {cell.newest.hosts}, 16 at a time"
    panel.set_xlabel(f"ratio to {unit}", color=_TEXT)
    low, high = panel.get_xlim()
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.tick_params(colors=_TEXT, length=0)
    panel.grid(axis="x", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_facecolor(_BACKGROUND)
    for side in panel.spines.values():
        side.set_visible(False)


def with_dark_theme(svg: str) -> str:
    """The image with a second set of colours, for readers who use a dark theme."""
    rules = "".join(
        f'[style*="fill: {light}"]{{fill:{dark} !important}}[style*="stroke: {light}"]{{stroke:{dark} !important}}'
        for light, dark in _DARK.items()
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    themed, count = re.subn(r"(<svg\b[^>]*>)", lambda tag: tag[1] + style, svg, count=1)
    if count != 1:
        raise ValueError("the image has no <svg> element")
    return themed


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))
