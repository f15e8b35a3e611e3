"""A YAML parser for files from strangers: depth, size with aliases, tags and cycles are limited.

In: text. Out: ruamel's round-trip tree, of plain mappings, sequences and scalars. What one line of
YAML can blow up (an alias of aliases of aliases), what never ends (a mapping that merges itself)
and what makes other types (tags) is refused while it is parsed, before anything is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.parser import ParserError, RoundTripParser


@dataclass(frozen=True)
class Limits:
    """``depth`` of nested collections, ``nodes`` in all with aliases counted as what they stand
    for, ``plain`` characters of a scalar without quotes."""

    depth: int
    nodes: int
    plain: int


def parse(text: str, limits: Limits) -> Any:
    """The tree of ``text``. Raises YAMLError for what is no YAML or over ``limits``, ValueError for
    brackets that nest too deep."""
    _check_brackets(text, limits.depth)
    yaml = YAML(typ="rt")
    yaml.Parser = type("Limited", (_Limited,), {"limits": limits})
    try:
        return yaml.load(text)
    except (KeyError, TypeError, AttributeError, IndexError, AssertionError) as fault:
        # of ruamel: it meets some malformed documents (a sequence as a key) unprepared
        raise ValueError(f"it cannot be built ({type(fault).__name__}: {fault})") from fault


def _check_brackets(text: str, most: int) -> None:
    """Before the scanner, whose time grows with the square of open brackets. Brackets in quotes
    count too, those behind a `` #`` do not."""
    depth = 0
    for number, row in enumerate(text.splitlines(), 1):
        if "[" not in row and "{" not in row and "]" not in row and "}" not in row:
            continue
        for c in row.partition(" #")[0] if not row.lstrip().startswith("#") else "":
            if c in "[{":
                depth += 1
            elif c in "]}":
                depth = max(0, depth - 1)
            if depth > most:
                raise ValueError(f"line {number}: brackets nest deeper than {most}")


class _Limited(RoundTripParser):
    """Counts each event once, as it is made."""

    limits: Limits

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: list[tuple[str | None, int]] = []  # anchor; nodes before it
        self._sizes: dict[str, int] = {}
        self._nodes = 0

    def get_event(self) -> Any:
        event = super().get_event()
        if isinstance(event, NodeEvent):
            self._node(event)
        elif isinstance(event, CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor is not None:
                self._sizes[anchor] = self._nodes - before
        return event

    def _node(self, event: Any) -> None:
        mark = event.start_mark
        if isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in self._open):
                raise ParserError(None, None, f"'{event.anchor}' stands within itself", mark)
            self._nodes += self._sizes.get(str(event.anchor), 1)
        else:
            self._nodes += 1
            tag = getattr(event, "ctag", None)
            if tag is not None and str(tag) not in ("None", "!"):
                raise ParserError(None, None, f"tags such as {tag} are not used here", mark)
        if self._nodes > self.limits.nodes:
            raise ParserError(None, None, f"it has more than {self.limits.nodes:,} values", mark)
        if isinstance(event, CollectionStartEvent):
            self._open.append((event.anchor, self._nodes - 1))
            if len(self._open) > self.limits.depth:
                raise ParserError(None, None, f"it nests deeper than {self.limits.depth}", mark)
        elif isinstance(event, ScalarEvent):
            if event.anchor is not None:
                self._sizes[event.anchor] = 1
            if event.style is None and len(event.value) > self.limits.plain:
                raise ParserError(
                    None, None, f"a text of {len(event.value):,} characters has no quotes", mark
                )
