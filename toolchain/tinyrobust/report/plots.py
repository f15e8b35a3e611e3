"""The report's plots as SVG text, to be put into a page.

In: the evaluation's figures. Out: SVG, with the same bytes for the same figures.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tinyrobust.report.words import layer_rows, memory_rows
from tinyrobust.units import count

Figures = Mapping[str, Any]

INK, FAINT, GRID = "#1c2733", "#66788a", "#e6ebf0"
CLEAN = "#0b7a75"
PALETTE = ("#d1495b", "#3d6fb6", "#e08e2b", "#7a5195", "#5b8c5a", "#8d6e63")
PARTS = (
    "#0b7a75", "#3d6fb6", "#e08e2b", "#7a5195", "#d1495b", "#8d6e63", "#5b8c5a", "#9aa7b4",
    "#2a9d8f", "#c77dba", "#4d5b6a", "#d9b44a",
)  # fmt: skip
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "tinyrobust", "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10.5, "axes.edgecolor": "#b9c4cf", "axes.labelcolor": FAINT,
    "text.parse_math": False,  # a name may have dollar signs
    "text.color": INK, "xtick.color": FAINT, "ytick.color": FAINT, "axes.spines.top": False,
    "axes.spines.right": False, "axes.axisbelow": True, "axes.linewidth": 0.8,
}  # fmt: skip


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def accuracy(figures: Figures) -> str:
    """Accuracy against the size of the attack, with 95 % intervals."""
    clean = figures["clean"]
    names: dict[str, list[Any]] = {}
    shown = _one_norm(figures)
    for series in shown:
        names.setdefault(series["title"], []).append(series)
    with _figure(6.6, 4.1) as (figure, axes):
        axes.grid(axis="y", color=GRID)
        axes.axhline(100 * clean["accuracy"], color=CLEAN, linewidth=0.8, linestyle=(0, (4, 3)))
        for colour, (name, points) in zip(_cycle(PALETTE), names.items(), strict=False):
            line = [{"eps_255": 0, **clean}, *sorted(points, key=lambda p: p["eps_255"])]
            xs = [p["eps_255"] for p in line]
            axes.fill_between(
                xs, [100 * p["low"] for p in line], [100 * p["high"] for p in line],
                color=colour, alpha=0.10, linewidth=0,
            )  # fmt: skip
            axes.plot(xs, [100 * p["accuracy"] for p in line], color=colour, linewidth=1.9,
                      label=name)  # fmt: skip
            axes.errorbar(
                xs[1:], [100 * p["accuracy"] for p in line[1:]],
                yerr=[[100 * (p["accuracy"] - p["low"]) for p in line[1:]],
                      [100 * (p["high"] - p["accuracy"]) for p in line[1:]]],
                fmt="o", color=colour, markersize=5.5, capsize=3, elinewidth=1.2,
            )  # fmt: skip
        axes.errorbar(
            [0], [100 * clean["accuracy"]],
            yerr=[[100 * (clean["accuracy"] - clean["low"])],
                  [100 * (clean["high"] - clean["accuracy"])]],
            fmt="D", color=CLEAN, markersize=6.5, capsize=3, label="clean", zorder=5,
        )  # fmt: skip
        axes.set(ylim=(0, 103), ylabel="correct on the board (%)",
                 xlabel=_XLABEL[shown[0].get("norm", "linf") if shown else "linf"])  # fmt: skip
        axes.set_xticks(sorted({0, *(s["eps_255"] for s in shown)}))
        axes.legend(frameon=False, loc="lower left", ncols=2, fontsize=9.5)
        return _svg(figure)


_XLABEL = {
    "linf": "largest change of a pixel value (of 255)",
    "l2": "L2 length of the change (of 255)",
}


def _one_norm(figures: Figures) -> list[Figures]:
    """The Linf series, or, where there are none, the L2 ones: one axis cannot show both."""
    every = list(figures["attacks"])
    return [s for s in every if s.get("norm", "linf") == "linf"] or every


def layers(figures: Figures) -> str:
    """Cycles or instructions of each layer; empty where nothing counts."""
    table = [row for row in layer_rows(figures) if row["cycles"]]
    if not table or figures["cost"]["unit"] is None:
        return ""
    with _figure(6.6, 0.9 + 0.27 * len(table)) as (figure, axes):
        ys = range(len(table))
        axes.barh(ys, [row["cycles"] for row in table], color="#3d6fb6", height=0.62)
        for y, row in zip(ys, table, strict=True):
            text = f" {count(row['cycles'])}  ({100 * row['share']:.0f} %)"
            axes.text(row["cycles"], y, text, va="center", fontsize=9, color=FAINT)
        axes.set_yticks(list(ys), [row["name"] for row in table], fontsize=9.5, color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.22 * max(row["cycles"] for row in table))
        axes.xaxis.set_major_formatter(lambda value, _: count(value))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel(f"{figures['cost']['unit']} of one inference")
        return _svg(figure)


def memory(figures: Figures) -> str:
    """What flash and RAM are used for; empty when no build report is recorded."""
    table = [row for row in memory_rows(figures) if row["parts"]]
    if not table:
        return ""
    names = list(dict.fromkeys(p["name"] for row in table for p in row["parts"] if p["bytes"]))
    colours = dict(zip(names, _cycle(PARTS), strict=False))
    with _figure(6.6, 0.75 + 0.62 * len(table)) as (figure, axes):
        for y, row in enumerate(table):
            left = 0.0
            for part in row["parts"]:
                size = part["bytes"] / 1024
                axes.barh(y, size, left=left, height=0.5, color=colours.get(part["name"], FAINT))
                left += size
            text = f"  {row['text']} ({100 * row['share']:.1f} %)"
            axes.text(left, y, text, va="center", fontsize=9.5, color=FAINT)
        for name in names:
            axes.barh(0, 0, color=colours[name], label=name)
        widest = max(row["used"] for row in table) / 1024
        axes.set_xlim(0, 1.75 * widest)
        axes.set_yticks(range(len(table)), [row["name"] for row in table], color=INK)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel("KiB used")
        figure.legend(loc="outside lower center", ncols=min(len(names), 5), frameon=False,
                      fontsize=9, handlelength=1.0)  # fmt: skip
        return _svg(figure)


def frontier(points: Sequence[Figures], taken: Figures) -> str:
    """Flash against time of each point, by colour its RAM; ``taken`` is marked."""
    with _figure(6.6, 4.1) as (figure, axes):
        axes.grid(color=GRID)
        unit = "cycles" if all(p["cycles"] is not None for p in points) else "instructions"
        line = axes.scatter(
            [p["flash_bytes"] / 1024 for p in points], [p[unit] for p in points],
            c=[p["ram_bytes"] / 1024 for p in points], cmap="viridis", s=34, zorder=3,
        )  # fmt: skip
        axes.plot(
            [taken["flash_bytes"] / 1024], [taken[unit]], "o", markersize=12, fillstyle="none",
            color=PALETTE[0], label="the plan",
        )  # fmt: skip
        axes.yaxis.set_major_formatter(lambda value, _: count(value))
        axes.set(xlabel="flash: kernels, weights, tables (KiB)",
                 ylabel=f"predicted {unit} of one inference")  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="upper right")
        figure.colorbar(line, ax=axes, label="RAM: arena and executable (KiB)")
        return _svg(figure)


def arena(steps: Sequence[str], blocks: Sequence[Figures], arena_bytes: int) -> str:
    """The arena over time: a rectangle for each tensor and scratch, steps against bytes."""
    from matplotlib.patches import Rectangle

    colours = {"input": PALETTE[2], "tensor": PALETTE[1], "scratch": "#c3ccd5"}
    width = max(6.6, 0.34 * len(steps) + 1.6)
    with _figure(width, 4.6) as (figure, axes):
        for block in blocks:
            start, end = block["first"], block["last"] + 1
            low, height = block["offset"] / 1024, block["bytes"] / 1024
            axes.add_patch(Rectangle(
                (start, low), end - start, height, facecolor=colours[block["kind"]],
                edgecolor="white", linewidth=0.9, alpha=0.9,
            ))  # fmt: skip
            if block["bytes"] >= arena_bytes / 16 and block["kind"] == "tensor":
                axes.text((start + end) / 2, low + height / 2, f"{block['bytes']:,}",
                          ha="center", va="center", fontsize=7.5, color="white")  # fmt: skip
        for kind, colour in colours.items():
            axes.barh(0, 0, color=colour, label=kind)
        axes.set(xlim=(0, len(steps)), ylim=(0, 1.02 * arena_bytes / 1024),
                 ylabel=f"arena (KiB; {arena_bytes:,} B in all)")  # fmt: skip
        axes.set_xticks([i + 0.5 for i in range(len(steps))], steps, rotation=60, ha="right",
                        rotation_mode="anchor", fontsize=8.5)  # fmt: skip
        axes.grid(axis="y", color=GRID)
        figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=9)
        return _svg(figure)


def _cycle(colours: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from colours
