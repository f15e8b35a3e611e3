"""The memory budget of a program, as a document: what it takes, what may be, what has changed.

In: a built image (or any ELF file), limits, and the document of an earlier program, the baseline.
Out: plain data under schema ``tinyrobust.budget/1``, which ``report.budget`` renders and a later
run takes as its baseline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tinyrobust.boards import Board
from tinyrobust.errors import BudgetError, TinyRobustError
from tinyrobust.image import Image, MemoryReport
from tinyrobust.image.account import Accounting, Section, account
from tinyrobust.image.owners import KINDS, Owned, owned
from tinyrobust.reading import MAX_JSON_BYTES, bounded, guarded, typed
from tinyrobust.reading import document as document_in

SCHEMA = "tinyrobust.budget/1"
FLASH, RAM = "flash", "RAM"
Document = dict[str, Any]
_NAMED = 3  # what grew most, in a message


@dataclass(frozen=True)
class Growth:
    """How much more than the baseline is allowed: ``percent`` of it, or ``bytes``."""

    text: str
    percent: float | None = None
    bytes: int | None = None

    def allowed(self, baseline_bytes: int) -> int:
        """Bytes more than ``baseline_bytes`` that are allowed."""
        if self.percent is not None:
            return int(baseline_bytes * self.percent / 100)
        return self.bytes or 0


@dataclass(frozen=True)
class Limits:
    """Limits beside the board's own: bytes at most, by ``flash``, ``ram`` and region, and growth
    over the baseline. From ``warn_percent`` of a limit on it is worth a warning."""

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    regions: Mapping[str, int] = field(default_factory=dict)
    growth_flash: Growth | None = None
    growth_ram: Growth | None = None
    warn_percent: float = 90.0


@dataclass(frozen=True)
class Program:
    """What is measured. ``report`` and ``layers`` are known of our own images only."""

    title: str
    accounting: Accounting
    board: Board | None
    report: MemoryReport | None = None
    layers: Sequence[Mapping[str, str]] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def of_image(image: Image, board: Board, report: MemoryReport) -> Program:
    """A build folder, measured against ``board``."""
    map_file = image.elf.with_suffix(".map")
    return Program(
        f"{report.model} on {board.id}",
        account(image.elf, map_file if map_file.is_file() else None),
        board,
        report,
        image.meta["steps"],
        {key: image.meta[key] for key in ("model", "core", "graph_sha256", "image_sha256")},
    )


def of_elf(path: Path, map_file: Path | None, board: Board | None) -> Program:
    """Any ELF file, as of a project that has an exported library in it."""
    where = f" on {board.id}" if board is not None else ""
    return Program(f"{path.name}{where}", account(path, map_file), board)


def refused(title: str, board: Board, error: BudgetError) -> Document:
    """The document of a program that was not linked, because it cannot fit."""
    check = {"name": "it fits", "what": "all", "used": None, "limit": None, "level": "failed",
             "message": f"{error.message}; {error.hint}"}  # fmt: skip
    return {"title": title, "board": board.id, "totals": {}, "regions": [], "sections": [],
            "owners": [], "parts": [], "symbols": [], "checks": [check], "fits": False,
            "excesses": [error.message]}  # fmt: skip


def load_baseline(path: Path) -> Document:
    """A document that an earlier run saved. Raises TinyRobustError when it is none."""
    hint = "make one: tinyrobust budget ... --save FILE"
    data = document_in(bounded(path, MAX_JSON_BYTES, hint=hint), f"the baseline {path}", hint=hint)
    wanted = {"totals", "regions", "owners", "symbols", "title"}
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or wanted - data.keys():
        raise TinyRobustError(f"{path} is no baseline of schema {SCHEMA}", hint)
    typed(_Baseline, data, f"the baseline {path}", hint=hint)
    guarded(lambda: _changes(data, data), f"the baseline {path}", hint=hint)
    return dict(data)


_Bytes = Annotated[int, Field(strict=True, ge=-(1 << 40), le=1 << 40)]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Total(_Kept):
    used_bytes: _Bytes


class _Region(_Total):
    name: str


class _Owner(_Kept):
    memory: str
    kind: str
    owner: str
    bytes: _Bytes


class _Symbol(_Kept):
    memory: str
    symbol: str
    owner: str
    bytes: _Bytes


class _Baseline(_Kept):
    """What a comparison reads of a saved document."""

    title: str
    totals: dict[str, _Total]
    regions: list[_Region]
    owners: list[_Owner]
    symbols: list[_Symbol]


def document(program: Program, limits: Limits, baseline: Document | None = None) -> Document:
    """What ``program`` takes, its checks against ``limits``, and its difference to ``baseline``.

    Raises TinyRobustError for a limit on a region that there is not, or on growth without a
    baseline.
    """
    if baseline is None and (limits.growth_flash or limits.growth_ram):
        raise TinyRobustError("a limit on growth needs a baseline", "give --baseline FILE")
    rows = list(_rows(program))
    sums = {memory: sum(r["bytes"] for r in rows if r["memory"] == memory)
            for memory in (FLASH, RAM)}  # fmt: skip
    made: Document = {
        "title": program.title,
        "board": program.board.id if program.board is not None else None,
        **program.meta,
        "size": {
            "text_bytes": program.accounting.text_bytes,
            "data_bytes": program.accounting.data_bytes,
            "bss_bytes": program.accounting.bss_bytes,
        },
        "totals": _totals(program, sums),
        "regions": _regions(program, rows),
        "sections": [
            {"name": s.name, "address": s.address, "bytes": s.bytes, "kind": s.kind}
            for s in program.accounting.sections
        ],
        "owners": _summed(rows, ("memory", "kind", "owner")),
        "parts": _summed(rows, ("memory", "kind", "owner", "part")),
        "symbols": _summed(rows, ("memory", "region", "section", "symbol", "kind", "owner")),
    }
    made["owners"].sort(key=lambda o: (KINDS.index(o["kind"]), -o["bytes"], o["owner"]))
    if baseline is not None:
        made["baseline"] = {key: baseline.get(key) for key in ("title", "image_sha256")}
        made["difference"] = _changes(baseline, made)
    made["checks"] = list(_checks(program, made, limits))
    made["fits"] = all(check["level"] != "failed" for check in made["checks"])
    made["excesses"] = [c["message"] for c in made["checks"] if c["level"] == "failed"]
    return made


def _rows(program: Program) -> Iterable[dict[str, Any]]:
    """Every item, once for each memory it takes."""
    by_section = {s.name: s for s in program.accounting.sections}
    for item in owned(program.accounting, program.layers):
        section = by_section[item.section]
        for memory, address in _places(section):
            at = address + item.address - section.address
            yield {**_named(item), "memory": memory, "region": _region(program.board, at, memory)}


def _named(item: Owned) -> dict[str, Any]:
    return {"section": item.section, "symbol": item.symbol, "kind": item.kind, "owner": item.owner,
            "part": item.part, "bytes": item.bytes}  # fmt: skip


def _places(section: Section) -> list[tuple[str, int]]:
    """(memory, address there): flash for what is programmed; RAM for what is reserved or copied."""
    places = []
    if section.load is not None:
        places.append((FLASH, section.load))
    if section.load is None or section.load != section.address:
        places.append((RAM, section.address))
    return places


def _region(board: Board | None, address: int, memory: str) -> str:
    if board is None:
        return memory
    if board.is_host:
        return board.memories[0].name
    holds = [m.name for m in board.memories if m.origin <= address < m.end]
    below = [m for m in board.memories if m.origin <= address]  # beyond its end: it is too large
    nearest = max(below, key=lambda m: m.origin).name if below else memory
    return holds[0] if holds else nearest


def _totals(program: Program, sums: Mapping[str, int]) -> dict[str, dict[str, int | None]]:
    budget = program.board.budget if program.board is not None else None
    own = {FLASH: budget.flash_bytes if budget else None, RAM: budget.ram_bytes if budget else None}
    return {m: {"used_bytes": sums[m], "budget_bytes": own[m]} for m in (FLASH, RAM)}


def _regions(program: Program, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    sizes = {m.name: m.length for m in program.board.memories} if program.board else {}
    if program.board is not None and not program.board.is_host:
        sizes[program.board.flash.name] = program.board.image_room  # less what a boot loader keeps
    used: dict[str, int] = dict.fromkeys(sizes, 0)
    for row in rows:
        used[row["region"]] = used.get(row["region"], 0) + row["bytes"]
    return [{"name": name, "used_bytes": n, "size_bytes": sizes.get(name)}
            for name, n in used.items() if n]  # fmt: skip


def _summed(rows: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(row[k] for k in keys)
        sums[key] = sums.get(key, 0) + row["bytes"]
    ordered = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{**dict(zip(keys, key, strict=True)), "bytes": n} for key, n in ordered]


def _changes(before: Document, after: Document) -> Document:
    """What differs, by total, region, owner and symbol; the largest change first."""
    return {
        "totals": {
            memory: after["totals"][memory]["used_bytes"] - before["totals"][memory]["used_bytes"]
            for memory in (FLASH, RAM)
        },
        "regions": _changed(before["regions"], after["regions"], ("name",), "used_bytes"),
        "owners": _changed(before["owners"], after["owners"], ("memory", "kind", "owner"), "bytes"),
        "symbols": _changed(
            before["symbols"], after["symbols"], ("memory", "kind", "owner", "symbol"), "bytes"
        ),
    }


def _changed(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], keys: Sequence[str],
    value: str,
) -> list[dict[str, Any]]:  # fmt: skip
    sums: tuple[dict[tuple[str, ...], int], ...] = ({}, {})
    for found, rows in zip(sums, (before, after), strict=True):
        for row in rows:
            key = tuple(row[k] for k in keys)
            found[key] = found.get(key, 0) + row[value]
    old, new = sums
    both = [
        {**dict(zip(keys, key, strict=True)), "before": old.get(key, 0), "after": new.get(key, 0),
         "change": new.get(key, 0) - old.get(key, 0)}
        for key in {**old, **new}
    ]  # fmt: skip
    changed = [row for row in both if row["change"]]
    return sorted(changed, key=lambda r: (-abs(r["change"]), *(str(r[k]) for k in keys)))


def _checks(program: Program, made: Document, limits: Limits) -> Iterable[dict[str, Any]]:
    warn = limits.warn_percent
    board = program.board.id if program.board is not None else ""
    for memory, option in ((FLASH, limits.flash_bytes), (RAM, limits.ram_bytes)):
        used, budget = (made["totals"][memory][key] for key in ("used_bytes", "budget_bytes"))
        if budget is not None:
            yield _check(f"{memory} within the budget of {board}", memory, used, budget, warn,
                         f"the budget of {board}")  # fmt: skip
        if option is not None:
            name = f"--max-{memory.lower()}"
            yield _check(f"{memory} within {name}", memory, used, option, warn, name)
    used_by = {region["name"]: region for region in made["regions"]}
    for region in made["regions"]:
        if region["size_bytes"] is not None:
            yield _check(f"{region['name']} holds it", region["name"], region["used_bytes"],
                         region["size_bytes"], warn, f"the size of {region['name']}")  # fmt: skip
    known = [m.name for m in program.board.memories] if program.board else list(used_by)
    for name, limit in limits.regions.items():
        if name not in known:
            raise TinyRobustError(f"no region '{name}'", f"there are {', '.join(known)}")
        used = used_by[name]["used_bytes"] if name in used_by else 0
        yield _check(f"{name} within --max-region", name, used, limit, warn, "--max-region")
    if program.report is not None and program.report.stack.bound_bytes is not None:
        stack = program.report.stack
        yield _check("stack within its reserve", "stack", stack.bound_bytes or 0,
                     stack.reserved_bytes, warn, "what is reserved")  # fmt: skip
    for memory, growth in ((FLASH, limits.growth_flash), (RAM, limits.growth_ram)):
        if growth is not None:
            yield _growth(made, memory, growth)


def _check(
    name: str, what: str, used: int, limit: int, warn_percent: float, of: str
) -> dict[str, Any]:
    share = 100 * used / limit
    level = "failed" if used > limit else "warning" if share >= warn_percent else "passed"
    message = f"{what} takes {used:,} B, {share:.1f} % of {of}, {limit:,} B"
    if level == "failed":
        message = f"{what} takes {used:,} B, {used - limit:,} B more than {of}, {limit:,} B"
    return {"name": name, "what": what, "used": used, "limit": limit, "level": level,
            "message": message}  # fmt: skip


def _growth(made: Document, memory: str, growth: Growth) -> dict[str, Any]:
    change = made["difference"]["totals"][memory]
    before = made["totals"][memory]["used_bytes"] - change
    allowed = growth.allowed(before)
    option = f"--max-growth-{memory.lower()} {growth.text}"
    share = f" ({100 * change / before:+.1f} %)" if before else ""
    message = f"{memory} changed by {change:+,} B{share}; {option} allows {allowed:+,} B"
    if change > allowed:
        rows = [
            r for r in made["difference"]["owners"] if r["memory"] == memory and r["change"] > 0
        ]
        most = ", ".join(f"{r['kind']} {r['owner']} {r['change']:+,} B" for r in rows[:_NAMED])
        message += f"; most: {most}"
    return {"name": f"{memory} within {option}", "what": f"{memory} growth", "used": change,
            "limit": allowed, "level": "failed" if change > allowed else "passed",
            "message": message}  # fmt: skip


def growth(text: str) -> Growth:
    """``1%``, ``1.5 %``, ``512`` or ``2K``; raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|[kKmM](?:i?[bB])?|[bB])?", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a growth such as 1%, 512 or 2K")
    number, unit = float(match[1]), (match[2] or "").lower()
    if unit == "%":
        return Growth(text, percent=number)
    scale = {"k": 1024, "m": 1 << 20}.get(unit[:1], 1)
    return Growth(text, bytes=round(number * scale))
