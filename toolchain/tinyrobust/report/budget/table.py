"""Format ``table``: for a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinyrobust.report.budget import _rows

WIDTH = 110  # where the text goes to a file; more where names need it


def render(document: Mapping[str, Any], width: int | None = None) -> str:
    """The report as text, ``width`` columns wide."""
    from rich.console import Console
    from rich.measure import Measurement

    target = io.StringIO()
    screen = Console(file=target, width=width or WIDTH, highlight=False, markup=False, emoji=False)
    if width is None:
        tables = [part for part in _parts(document) if not isinstance(part, str)]
        screen.width = max(WIDTH, *(Measurement.get(screen, screen.options, t).minimum
                                    for t in tables))  # fmt: skip
    print_document(screen, document)
    return target.getvalue()


def print_document(screen: Any, document: Mapping[str, Any]) -> None:
    """Print on a rich Console."""
    for part in _parts(document):
        screen.print(part, soft_wrap=isinstance(part, str))


def _parts(document: Mapping[str, Any]) -> Iterator[Any]:
    """Tables, and lines of text."""
    title = document["title"]
    if "memory" not in document or "difference" in document:  # else `build` has shown them
        head = ["memory", "used", "of", "", "change"]
        yield _table(title, head, _rows.totals(document), 1)
    owners = _rows.owners(document)
    yield _table("every byte by owner", ["kind", "name", "flash", "RAM", "what"], owners, 2)
    if "difference" in document:
        head = ["memory", "kind", "name", "before", "after", "change"]
        against = document["baseline"]["title"]
        yield _table(f"changed since {against}", head, _rows.changed_owners(document), 3)
        head[1:3] = ["of", "symbol"]
        symbols = _rows.changed_symbols(document)
        more = _rows.more_symbols(document)
        yield _table(f"by symbol{f', {more} more' if more else ''}", head, symbols, 3)
    for check in _rows.levels(document, "failed", "warning"):
        yield f"{check['level']}: {check['message']}"


def _table(title: str, head: Sequence[str], body: Sequence[Sequence[str]], words: int) -> Any:
    from rich.table import Table

    table = Table(*head, title=title)
    for each in table.columns:
        each.overflow = "fold"  # never cut
    for column in range(words, len(head)):
        if head[column] != "what":
            table.columns[column].justify = "right"
    for row in body:
        table.add_row(*row)
    return table
