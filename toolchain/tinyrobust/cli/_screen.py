"""The command line's screen: text as it is, tables that keep their names.

In: lines and rich tables. Out: standard output (or standard error). A line leaves unwrapped and
without markup, emoji or highlighting, so that a path or a command in it can be pasted; characters
that would steer the terminal are shown as escapes. A table folds what is too wide for a terminal,
and keeps names whole in a file or a pipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tinyrobust.cli._text import visible

LEAST_COLUMNS = 40  # narrower terminals, and COLUMNS=0, wrap by themselves
ENDLESS = 100_000
PROSE_COLUMNS = 60  # cells of a table that goes to no terminal are not wrapped below this


class Screen(Console):
    """A rich Console that leaves the texts of users alone."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)
        if self.width < LEAST_COLUMNS:
            self.width = LEAST_COLUMNS

    def print(self, *objects: Any, **options: Any) -> None:
        """Print lines unwrapped, tables to fit; ``style`` as rich's."""
        shown = [Text(visible(str(o))) if isinstance(o, (str, Path)) else o for o in objects]
        tables = [o for o in shown if isinstance(o, Table)]
        for table in tables:
            _keep_names(table, self)
        if not tables:
            options["soft_wrap"] = True
            super().print(*shown, **options)
            return
        width = self.width
        if not self.is_terminal:
            endless = self.options.update(width=ENDLESS)
            self.width = max(width, *(Measurement.get(self, endless, t).minimum for t in tables))
        try:
            super().print(*shown, **options)
        finally:
            self.width = width

    def status(self, status: Any, **options: Any) -> Any:
        """A spinner beside ``status``, which is no markup either."""
        return super().status(Text(visible(status)) if isinstance(status, str) else status,
                              **options)  # fmt: skip


def _keep_names(table: Table, screen: Console) -> None:
    """Fold where a cell is too wide, never cut; to no terminal, do not even fold a word."""
    if isinstance(table.title, str):
        table.title = visible(table.title)
    for column in table.columns:
        column.overflow = "fold"
        column._cells[:] = [visible(c) if isinstance(c, str) else c for c in column._cells]
        if screen.is_terminal:
            continue
        texts = [str(cell) for cell in (column.header, *column._cells)]
        whole = max((cell_len(line) for text in texts for line in text.split("\n")), default=0)
        word = max((cell_len(word) for text in texts for word in text.split()), default=0)
        wanted = whole if column.no_wrap else max(word, min(whole, PROSE_COLUMNS))
        column.min_width = max(column.min_width or 0, wanted)
