"""The plot of a comparison: accuracy against the size of the attack.

In: the figures of ``evaluate.comparison_figures``. Out: SVG, with the same bytes for the same
figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.report.plots import GRID, PARTS, _cycle, _figure, _svg

Figures = Mapping[str, Any]
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")


def draw(figures: Figures) -> str:
    """Worst-of-suite accuracy of each model with its 95 % interval, clean at 0; of the Linf attacks
    where there are any."""
    norm = "linf" if any(c["norm"] == "linf" for c in figures["columns"]) else "l2"
    sizes = sorted({0, *(c["eps_255"] for c in figures["columns"] if c["norm"] == norm)})
    with _figure(8.4, 5.0) as (figure, axes):
        axes.grid(axis="y", color=GRID)
        for i, (colour, model) in enumerate(zip(_cycle(PARTS), figures["models"], strict=False)):
            if model["clean"] is None:
                continue
            line = [
                {"eps_255": 0, **model["clean"]},
                *(w for w in model["worst"] if w["norm"] == norm),
            ]
            xs = [p["eps_255"] for p in line]
            ys = [100 * p["accuracy"] for p in line]
            axes.fill_between(
                xs, [100 * p["low"] for p in line], [100 * p["high"] for p in line],
                color=colour, alpha=0.12, linewidth=0,
            )  # fmt: skip
            dashed = model["title"] == figures["baseline"]
            axes.plot(
                xs, ys, color=colour, linewidth=1.8, marker=_MARKS[i % len(_MARKS)], markersize=5,
                linestyle="--" if dashed else "-", label=model["title"],
            )  # fmt: skip
        what = "largest change of an input value" if norm == "linf" else "length of the change"
        axes.set(ylim=(0, 103), ylabel="correct under every attack tried (%)",
                 xlabel=f"{what} (of 255)")  # fmt: skip
        axes.set_xticks(sizes)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        return _svg(figure)
