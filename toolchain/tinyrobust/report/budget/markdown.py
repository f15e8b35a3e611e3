"""Format ``markdown``: for a pull request's comment or a step's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinyrobust import escaping
from tinyrobust.report.budget import _rows

_MARKS = {"failed": "**failed**", "warning": "warning", "passed": "passed"}


def render(document: Mapping[str, Any]) -> str:
    """The report."""
    document = escaping.every(document, escaping.markdown)
    verdict = "fits" if document["fits"] else "does not fit"
    parts = [f"## Memory of {document['title']}: {verdict}", ""]
    if "baseline" in document:
        parts += [f"Compared with {document['baseline']['title']}.", ""]
    parts += _table(["", "used", "of", "share", "change"], _rows.totals(document), 1)
    parts += ["", "| check | |", "|---|---|"]
    parts += [f"| {_MARKS[c['level']]} | {c['message']} |" for c in document["checks"]]
    if "difference" in document:
        parts += _difference(document)
    parts += ["", "<details><summary>Every byte by owner</summary>", ""]
    parts += _table(["kind", "name", "flash", "RAM", "what"], _rows.owners(document), 2)
    return "\n".join([*parts, "", "</details>"]) + "\n"


def _difference(document: Mapping[str, Any]) -> list[str]:
    owners = _rows.changed_owners(document)
    if not owners:
        return ["", "No byte has changed its owner."]
    parts = ["", "### What changed", ""]
    parts += _table(["memory", "kind", "name", "before", "after", "change"], owners, 3)
    parts += ["", "<details><summary>By symbol</summary>", ""]
    parts += _table(["memory", "of", "symbol", "before", "after", "change"],
                    _rows.changed_symbols(document), 3)  # fmt: skip
    more = _rows.more_symbols(document)
    return [*parts, "", *([f"and {more} more", ""] if more else []), "</details>"]


def _table(head: Sequence[str], body: Sequence[Sequence[str]], words: int) -> list[str]:
    """``words``: how many columns hold words; the others are numbers, on the right."""
    numbers = ["---:" if name != "what" else "---" for name in head[words:]]
    rule = "|" + "|".join(["---"] * words + numbers) + "|"
    lines = ["| " + " | ".join(head) + " |", rule]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in body]
