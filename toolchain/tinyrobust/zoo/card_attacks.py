"""What attacks found, in the card of a model: the figures, and the section that shows them.

In: a comparison's figures (``tinyrobust.compare/1``). Out: ``card["attacks"]``, by the name of the
model (the network itself, or its int8 twin), and lines of Markdown. Figures of another network
than the card's are dropped when the model is converted again, since the card is written anew. A
smaller comparison does not replace a larger one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.units import percent

Figures = Mapping[str, Any]


def entry(figures: Figures, row: Figures) -> dict[str, Any]:
    """The card's figures of the model in ``row`` of a comparison; finished series only."""
    cells = [
        {**{key: column[key] for key in ("key", "title", "kind", "norm", "eps_255")},
         **{key: cell[key] for key in ("accuracy", "low", "high", "correct", "samples",
                                       "queries_per_image")}}
        for column in figures["columns"]
        if (cell := row["cells"][column["key"]]) is not None and cell["complete"]
    ]  # fmt: skip
    marks = [text for cell in row["cells"].values() if cell for text in cell["signs"]]
    return {
        "suite": figures["suite"],
        "data": figures["description"],
        "graph_sha256": row["graph_sha256"],
        "seed": figures["repeat"]["seed"],
        "clean": row["clean"],
        "attacks": cells,
        "worst": [{key: w[key] for key in ("norm", "eps_255", "accuracy", "low", "high",
                                           "correct", "samples")} for w in row["worst"]],
        "signs_of_masking": [*row["signs"], *dict.fromkeys(marks)],
    }  # fmt: skip


def says_more(old: Figures, new: Figures) -> bool:
    """Whether ``old`` figures of the same network have an attack, or images, that ``new`` lack."""
    if old["graph_sha256"] != new["graph_sha256"]:
        return False
    counts = {cell["key"]: cell["samples"] for cell in new["attacks"]}
    return any(counts.get(cell["key"], 0) < cell["samples"] for cell in old["attacks"])


def section(attacks: Mapping[str, Figures]) -> list[str]:
    """``## Under attack`` of a card: one table for each model; no lines without figures."""
    lines: list[str] = []
    for name, found in attacks.items():
        if not found["attacks"]:
            continue
        lines += ["", f"`{name}` by `tinyrobust compare`, suite {found['suite']}, seed "
                  f"{found['seed']}; the first images of the test split, 95 % intervals:",
                  "", "| attack | kind | size | accuracy | images | queries per image |",
                  "|---|---|---|---|---|---|",
                  f"| clean | - | - | {_accuracy(found['clean'])} | "
                  f"{found['clean']['samples']:,} | - |"]  # fmt: skip
        lines += [
            f"| {cell['title']} | {cell['kind']} | {_size(cell)} | {_accuracy(cell)} | "
            f"{cell['samples']:,} | {_queries(cell)} |" for cell in found["attacks"]
        ]  # fmt: skip
        lines += [
            f"| the worst of all, per image | - | {_size(worst)} | {_accuracy(worst)} | "
            f"{worst['samples']:,} | - |" for worst in found["worst"]
        ]  # fmt: skip
        signs = found["signs_of_masking"]
        lines += ["", "Signs of gradient masking:" if signs else "No sign of gradient masking."]
        lines += ["", *(f"- {text}" for text in signs)] if signs else []
    return ["", "## Under attack", *lines] if lines else []


def _accuracy(cell: Figures) -> str:
    return f"{percent(cell['accuracy'])} ({100 * cell['low']:.1f}-{100 * cell['high']:.1f})"


def _size(cell: Figures) -> str:
    return f"{cell['eps_255']:g}/255" + (" (L2)" if cell["norm"] == "l2" else "")


def _queries(cell: Figures) -> str:
    count = cell["queries_per_image"]
    return "not recorded" if count is None else f"{count:,.0f}"
