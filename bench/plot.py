"""`python -m bench.plot RESULTS IMAGE`: the comparisons as a picture, in the environment that has matplotlib.

One panel a comparison, one line a contender, and on it a mark for each job: how many times as long as a bare ssh, on a
logarithmic scale, with the range of the runs behind it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import contenders, report, results

if TYPE_CHECKING:
    from bench.results import Heat, Results

# What is drawn with -> what takes its place where the reader's colours are dark.
_DARK = {"#ffffff": "#0d1117", "#1f2328": "#e6edf3", "#d1d9e0": "#3d444d", "#0969da": "#4493f8", "#9a6700": "#d29922"}
_PAPER, _INK, _GRID, _OWN, _CHECK = _DARK
_MARKS = {"first": ("o", _OWN), "second": ("s", _INK), "check": ("D", _CHECK)}


def draw(found: Results, image: Path) -> None:
    """Draw every comparison of some results into an SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, so that it can be searched and takes the reader's font; the same results give the same file.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "meshfab", "font.size": 10, "font.family": "sans-serif"}
    )
    from matplotlib import pyplot

    heats = [heat for heat in found.heats if heat.floor()]
    columns = 2 if len(heats) > 1 else 1
    rows = -(-len(heats) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(9.5, 3.1 * rows + 0.5), squeeze=False, sharey=True)
    places = list(axes.T.flat if len(heats) == 4 else axes.flat)
    for panel, heat in zip(places, heats, strict=False):
        _draw_panel(panel, heat)
    for panel in places[len(heats) :]:
        panel.set_visible(False)
    handles, labels = places[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(_MARKS), frameon=False, labelcolor=_INK)
    figure.patch.set_facecolor(_PAPER)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(image, metadata={"Date": None, "Title": "Times of a bare ssh that each contender takes"})
    image.write_text(themed(image.read_text()))


def _draw_panel(panel: Any, heat: Heat) -> None:
    keys = [one.key for one in contenders.CONTENDERS][::-1]
    for at, key in enumerate(keys):
        for job, (mark, colour) in _MARKS.items():
            taken, floor, label = heat.summary(key, job), heat.floor(), report.JOB_TITLES[job]
            if taken is None or floor is None:
                continue
            panel.plot([taken.low / floor, taken.high / floor], [at, at], color=colour, linewidth=5, alpha=0.25)
            panel.plot(
                [taken.median / floor],
                [at],
                mark,
                color=colour,
                markersize=6,
                label=label if key == "meshfab" else None,
            )
    panel.axvline(1, color=_INK, linewidth=1, linestyle=":")
    panel.set_xscale("log")
    panel.set_yticks(range(len(keys)), [contenders.TITLES[key] for key in keys], color=_INK)
    panel.set_ylim(-0.6, len(keys) - 0.4)
    panel.set_title(report.heading(heat), color=_INK, loc="left")
    unit = "ssh HOST true" if heat.hosts == 1 else f"ssh HOST true to all {heat.hosts}, 16 at a time,"
    panel.set_xlabel(f"{unit} being 1", color=_INK)
    low, high = panel.get_xlim()
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.tick_params(colors=_INK, length=0)
    panel.grid(axis="x", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_facecolor(_PAPER)
    for side in panel.spines.values():
        side.set_visible(False)


def themed(svg: str) -> str:
    """The picture with a second set of colours, for readers whose own are dark."""
    rules = "".join(
        f'[style*="fill: {light}"]{{fill:{dark} !important}}[style*="stroke: {light}"]{{stroke:{dark} !important}}'
        for light, dark in _DARK.items()
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    themed, count = re.subn(r"(<svg\b[^>]*>)", lambda tag: tag[1] + style, svg, count=1)
    if count != 1:
        raise ValueError("no <svg> in it")
    return themed


if __name__ == "__main__":
    draw(results.read(Path(sys.argv[1])), Path(sys.argv[2]))
