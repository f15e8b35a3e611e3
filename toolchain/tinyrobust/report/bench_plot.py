"""A plot of ``tinyrobust bench``: what a network takes, beside int8.

In: the runs of its JSON. Out: SVG, with the same bytes for the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinyrobust.report.plots import FAINT, GRID, INK, PALETTE, _figure, _svg
from tinyrobust.units import count

Run = Mapping[str, Any]
_OURS, _OTHER, _MEASURED = "#0b7a75", PALETTE[2], PALETTE[3]


def bench_plot(runs: Sequence[Run]) -> str:
    """Bars of the whole network (all runs, then int8's figures), then of each layer of the first
    run beside int8's where known."""
    bars = _bars(runs)
    layers = [layer for layer in runs[0]["layers"] if layer["macs"]]
    known = any(layer["int8"] for layer in layers)
    height = 0.9 + 0.27 * (len(bars) + len(layers) * (2 if known else 1) + 2)
    with _figure(7.2, height) as (figure, axes):
        figure.delaxes(axes)
        top, bottom = figure.subplots(
            2, 1, height_ratios=(len(bars) + 1, len(layers) * (2 if known else 1) + 1)
        )
        _draw(top, bars)
        _title(top, "one inference: instructions counted; cycles estimated or measured, as named")
        rows: list[tuple[str, int, str]] = []
        for layer in layers:
            rows.append((layer["name"], layer["instructions"], _OURS))
            if layer["int8"]:
                rows.append(("", layer["int8"]["instructions"], _OTHER))
        _draw(bottom, rows)
        note = ", CMSIS-NN int8 below each" if known else ""
        _title(bottom, f"instructions per layer on {runs[0]['board']}{note}")
        return _svg(figure)


def _bars(runs: Sequence[Run]) -> list[tuple[str, int, str]]:
    bars = []
    for run in runs:
        bars.append((f"{run['model']}, {run['board']}: instructions", run["instructions"], _OURS))
        bars.append(("estimated M4-model cycles", run["m4_cycles"], _OURS))
        if ours := run["our_int8"]:
            bars.append(("our int8: instructions", ours["instructions"], _OTHER))
            bars.append(("estimated M4-model cycles", ours["m4_cycles"], _OTHER))
    for other in runs[0]["references"]:
        if other["instructions"]:
            bars.append((f"{other['name']}: instructions", other["instructions"], _OTHER))
            bars.append(("estimated M4-model cycles", other["m4_cycles"], _OTHER))
        if other["measured_cycles"]:
            name = f"{other['name']}: measured cycles"
            bars.append((name, other["measured_cycles"], _MEASURED))
    return bars


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="right", fontsize=9.5, color=FAINT)


def _draw(axes: Any, bars: Sequence[tuple[str, int, str]]) -> None:
    for y, (_, value, colour) in enumerate(bars):
        axes.barh(y, value, color=colour, height=0.68)
        if value:
            axes.text(value, y, f" {count(value)}", va="center", fontsize=8.5, color=FAINT)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=8.5, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max((value for _, value, _ in bars), default=1))
    axes.xaxis.set_major_formatter(lambda value, _: count(value))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID)
