"""The Markdown report.

In: the evaluation's figures. Out: Markdown text, for terminals and code hosts. Every text in the
figures is escaped before anything is made of it, so that no field can be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinyrobust.escaping import every, markdown, markdown_block, markdown_code
from tinyrobust.report.words import (
    cost,
    effort_rows,
    layer_rows,
    masking_rows,
    memory_rows,
    rows,
    size,
    statements,
)
from tinyrobust.units import count, kib, percent


def render(figures: Mapping[str, Any]) -> str:
    """The report."""
    plain, figures = figures, every(figures, markdown)
    repeat = plain["repeat"]
    parts = [f"# {figures['model']} on {figures['board']}", ""]
    parts += [f"> **Warning:** {text}" for text in figures["warnings"]]
    parts += ["", "## Accuracy, classified by the board", ""]
    parts += _table(
        ["images", "size", "board", "95 % interval", "correct", "numpy interpreter",
         "integers that differ", ""],
        ([r["name"], r["eps"], r["accuracy"], r["interval"], r["correct"], r["interpreter"],
          r["differ"], r["note"]]
         for r in rows(figures)),
    )  # fmt: skip
    effort = effort_rows(figures)
    if effort:
        parts += ["", "## What the attacks did", ""]
        parts += _table(
            ["attack", "size", "queries per image", "answered by", "distance of 255", ""],
            ([r["name"], r["eps"], r["queries"], r["oracle"], r["norms"], r["notes"]]
             for r in effort),
        )  # fmt: skip
    parts += ["", "## Signs of gradient masking", ""]
    parts += _table(
        ["should hold", "seen", ""],
        ([r["name"], r["status"], r["text"]] for r in masking_rows(figures)),
    )
    parts += ["", "## Cost", "", f"One inference: {cost(figures)}.", ""]
    layers = layer_rows(figures)
    if layers:
        unit = figures["cost"]["unit"] or "not counted"
        parts += _table(
            ["layer", "kernel", "MACs", unit, "share", "weights and tables"],
            ([la["name"], la["kernel"], count(la["macs"]), f"{la['cycles']:,}",
              percent(la["share"]), "" if la["bytes"] is None else kib(la["bytes"])]
             for la in layers),
        )  # fmt: skip
    memory = memory_rows(figures)
    if memory:
        parts += ["", "## Memory", ""]
        parts += _table(
            ["", "used", "budget", "share"],
            ([r["name"], kib(r["used"]), kib(r["budget"]), percent(r["share"])] for r in memory),
        )
    parts += ["", "## What was measured", ""]
    parts += [f"- {text}" for text in statements(figures)]
    parts += ["", "## To repeat it", "", *markdown_block(repeat["command"]), ""]
    parts += _table(
        ["what", "value"],
        ([key.replace("_", " "), markdown_code(repeat[key])] for key in (
            "graph_sha256", "image_sha256", "data_sha256", "adversarial_sha256", "config_sha256",
            "seed", "started", "finished",
        ) if repeat[key] is not None),
    )  # fmt: skip
    parts += [
        "",
        "Versions: "
        + markdown(", ".join(f"{k} {v or '-'}" for k, v in repeat["versions"].items())),
    ]
    for series in figures["attacks"]:
        settings = ", ".join(f"{k} {v}" for k, v in series["parameters"].items())
        parts.append(f"- {series['title']} at {size(series)}: {settings}. {series['paper']}")
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in body]
