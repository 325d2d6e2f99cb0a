"""The picture of the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tools.bench.results import Results, Row
from tools.bench.stage import FLOOR, OURS, SDK

COLOURS = {
    "SDK's class": "#999999",
    "ours, cold": "#56B4E9",
    "ours, warm": "#0072B2",
    "bare client": "#E69F00",
}
"""The palette of Okabe and Ito: distinguishable with any colour vision, and by lightness."""

_EDGE = {"edgecolor": "black", "linewidth": 0.3}
_COLD = "cold read of "
_MIDDLE = "990"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "openai-sessions",
    "font.size": 9,
    "font.family": "sans-serif",
}


def draw(results: Results, path: Path) -> None:
    """Draw the reads at the greatest delay into an SVG file, which depends on the results only.

    Without a cold read, no file is written.
    """
    delay = max(results.delays())
    sizes = [
        name.removeprefix(_COLD)
        for name in results.scenarios()
        if name.startswith(_COLD) and results.find(name, OURS, delay)
    ]
    if not sizes:
        return
    size = _MIDDLE if _MIDDLE in sizes else sizes[-1]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _reads(left, [_series(results, size, delay) for size in sizes], sizes)
        left.set_title(f"Reading a history, seconds, {delay:g} ms a request")
        _cpu(right, _series(results, size, delay))
        right.set_title(f"CPU to read {size} items, milliseconds")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _series(results: Results, size: str, delay: float) -> dict[str, Row | None]:
    """Return the row of each colour for a history of this size."""
    return {
        "SDK's class": results.find(f"{_COLD}{size}", SDK, delay),
        "ours, cold": results.find(f"{_COLD}{size}", OURS, delay),
        "ours, warm": results.find(f"warm read of {size}", OURS, delay),
        "bare client": results.find(f"warm read of {size}", FLOOR, delay),
    }


def _reads(axes: Any, groups: Sequence[dict[str, Row | None]], sizes: Sequence[str]) -> None:
    for number, (label, colour) in enumerate(COLOURS.items()):
        places = [index + (number - 1.5) * 0.21 for index in range(len(groups))]
        values = [_value(group[label], "wall_ms") / 1000 for group in groups]
        bars = axes.bar(places, values, width=0.2, color=colour, label=label, **_EDGE)
        axes.bar_label(bars, [f"{value:.2g}" for value in values], padding=1, fontsize=7)
    axes.set(yscale="log", xlabel="items", xticks=range(len(sizes)), xticklabels=sizes)
    _clear(axes)


def _cpu(axes: Any, group: dict[str, Row | None]) -> None:
    values = [_value(row, "cpu_ms") for row in group.values()]
    bars = axes.bar(list(group), values, width=0.7, color=list(COLOURS.values()), **_EDGE)
    axes.bar_label(bars, [f"{value:.0f}" for value in values], padding=1)
    axes.set_xticks([])
    _clear(axes)


def _value(row: Row | None, name: str) -> float:
    return float(getattr(row, name)) if row else float("nan")


def _clear(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", linewidth=0.3)
    axes.margins(y=0.15)
