"""What the formats show alike: rows of totals, regions, owners and changes, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST = 20  # rows of symbols
Rows = list[list[str]]
# What lies in both memories.
_ELSEWHERE = {("RAM", "code"): "code in RAM", ("flash", "data"): "initial data"}


def bytes_text(n: int | None) -> str:
    """Bytes with thousands separators; nothing for None."""
    return "" if n is None else f"{n:,}"


def change_text(n: int | None) -> str:
    """A change with its sign, "0" for none."""
    return "" if n is None else f"{n:+,}" if n else "0"


def totals(document: Mapping[str, Any]) -> Rows:
    """memory, used, budget, share, and the change where there is a baseline."""
    difference = document.get("difference")
    rows = []
    for memory, total in document["totals"].items():
        change = difference["totals"][memory] if difference else None
        rows.append(_row(memory, total["used_bytes"], total["budget_bytes"], change))
    changes = {r["name"]: r["change"] for r in difference["regions"]} if difference else {}
    for region in document["regions"]:
        change = changes.get(region["name"], 0) if difference else None
        rows.append(_row(region["name"], region["used_bytes"], region["size_bytes"], change))
    return rows


def _row(name: str, used: int, limit: int | None, change: int | None) -> list[str]:
    share = f"{100 * used / limit:.1f} %" if limit else ""
    return [name, bytes_text(used), bytes_text(limit), share, change_text(change)]


def owners(document: Mapping[str, Any]) -> Rows:
    """kind, name, flash, RAM, and what they are: every layer, kernel and other part."""
    both: dict[tuple[str, str], dict[str, int]] = {}
    parts: dict[tuple[str, str], list[str]] = {}
    for row in document["owners"]:
        both.setdefault((row["kind"], row["owner"]), {})[row["memory"]] = row["bytes"]
    for row in document["parts"]:
        part = _ELSEWHERE.get((row["memory"], row["part"]), row["part"])
        parts.setdefault((row["kind"], row["owner"]), []).append(f"{part} {row['bytes']:,}")
    return [
        [*key, bytes_text(sums.get("flash", 0)), bytes_text(sums.get("RAM", 0)),
         ", ".join(parts[key])]
        for key, sums in both.items()
    ]  # fmt: skip


def changed_owners(document: Mapping[str, Any]) -> Rows:
    """memory, kind, name, before, after, change."""
    return [_changed(row, ("memory", "kind", "owner")) for row in document["difference"]["owners"]]


def changed_symbols(document: Mapping[str, Any]) -> Rows:
    """memory, owner, symbol, before, after, change: the MOST largest changes."""
    rows = document["difference"]["symbols"][:MOST]
    return [
        _changed({**row, "symbol": readable(row["symbol"])}, ("memory", "owner", "symbol"))
        for row in rows
    ]


def readable(symbol: str) -> str:
    """The name in a mangled C++ symbol, without arguments and anonymous namespaces (Itanium C++
    ABI, 5.1 "External names"); any other as it is."""
    prefix = re.match(r"_ZN?K?", symbol)
    names, rest = [], symbol[prefix.end() :] if prefix else ""
    while length := re.match(r"L?(\d+)", rest):
        end = length.end() + int(length[1])
        names.append(rest[length.end() : end])
        rest = rest[end:]
    return "::".join(name for name in names if not name.startswith("_GLOBAL__N")) or symbol


def _changed(row: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    numbers = [bytes_text(row["before"]), bytes_text(row["after"]), change_text(row["change"])]
    return [*(str(row[key]) for key in keys), *numbers]


def more_symbols(document: Mapping[str, Any]) -> int:
    """Changed symbols that are not shown."""
    return max(len(document["difference"]["symbols"]) - MOST, 0)


def headline(document: Mapping[str, Any]) -> str:
    """One line: what the program takes and what has changed."""
    texts = []
    for memory, total in document["totals"].items():
        text = f"{memory} {total['used_bytes']:,} B"
        if "difference" in document:
            text += f" ({change_text(document['difference']['totals'][memory])})"
        texts.append(text)
    return f"{document['title']}: {', '.join(texts)}"


def levels(document: Mapping[str, Any], *wanted: str) -> Sequence[Mapping[str, Any]]:
    """The checks of these levels: failed, warning, passed."""
    return [check for check in document["checks"] if check["level"] in wanted]
