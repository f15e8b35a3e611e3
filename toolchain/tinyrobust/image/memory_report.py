"""What an image takes, measured in its ELF: ``memory.json``, schema ``tinyrobust.memory/1``.

In: a linked ELF, its board, the steps. Out: a MemoryReport whose sums are those of the ELF's
sections, to the byte, and the verdict against the board's memories and budget.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tinyrobust.boards import Board, Memory
from tinyrobust.errors import BudgetError, BuildError
from tinyrobust.image.elf import Elf, Section
from tinyrobust.image.objects import Object

SCHEMA: Literal["tinyrobust.memory/1"] = "tinyrobust.memory/1"

# Output sections of ports/cortexm/image.ld.j2 by what they hold; anything else is code.
_FLASH_PARTS = {
    ".tr_weights": "weights", ".tr_tables": "tables", ".rodata": "constants", ".data": "data",
    ".tr_tail": "padding",
}  # fmt: skip
HOT = "hot_code"  # code copied from flash
_RAM_PARTS = {
    ".tr_arena": "arena", ".tr_buffers": "buffers", ".data": "data", ".bss": "data",
    ".tr_stack": "stack", ".tr_code_ram": "code_ram", ".tr_hot": HOT,
}  # fmt: skip


@dataclass(frozen=True)
class Excess:
    """One thing that does not fit, in words with the numbers, and whose consumers to name."""

    memory: Literal["flash", "ram"]
    message: str


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Record):
    """Bytes of one kind of content."""

    name: str
    bytes: int


class Total(_Record):
    """``used_bytes`` is the sum of ``parts``, of ``budget_bytes`` that the board file allows."""

    used_bytes: int
    budget_bytes: int
    parts: list[Part]

    def part(self, name: str) -> int:
        """Bytes of the part called ``name``; 0 when there is none."""
        return sum(p.bytes for p in self.parts if p.name == name)


class Region(_Record):
    """One memory of the board."""

    name: str
    used_bytes: int
    size_bytes: int
    parts: list[Part]


class LayerMemory(_Record):
    """One step of the network: what it adds to flash, and its scratch within the arena.

    ``compiled_bytes``: functions that hold its weights, where a kernel compiles them into code.
    """

    name: str
    kernel: str
    macs: int
    weights_bytes: int
    tables_bytes: int
    compiled_bytes: int = 0
    scratch_bytes: int
    output_bytes: int


class Stack(_Record):
    """Deepest stack over the call graph with one exception frame; null where it is unknown.

    ``path`` is the chain of calls that needs it.
    """

    reserved_bytes: int
    bound_bytes: int | None
    path: list[str] = []


class MemoryReport(_Record):
    """See the module."""

    schema_: Literal["tinyrobust.memory/1"] = SCHEMA
    board: str
    model: str
    flash: Total
    ram: Total
    stack: Stack
    arena_bytes: int
    scratch_bytes: int  # the largest scratch of a step; it lies in the arena
    regions: list[Region]
    layers: list[LayerMemory]
    code: list[Part] = []  # flash.code by folder of firmware/; empty on the host
    constants: list[Part] = []  # flash.constants likewise

    def as_json(self) -> dict[str, Any]:
        """Plain data with the schema under its own name."""
        data = self.model_dump()
        return {"schema": data.pop("schema_"), **data}

    @staticmethod
    def from_json(data: Any, where: Path) -> MemoryReport:
        """The inverse of ``as_json``; raises BuildError naming ``where`` when it is damaged."""
        try:
            return MemoryReport.model_validate(
                {("schema_" if key == "schema" else key): value for key, value in data.items()}
            )
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise BuildError(f"{where} is damaged: {what}", "build the image again") from error
        except (TypeError, AttributeError) as error:
            raise BuildError(f"{where} is damaged: {error}", "build the image again") from error

    def consumers(self, memory: Literal["flash", "ram"]) -> list[Part]:
        """What takes most, largest first: layers and shared parts."""
        total = self.flash if memory == "flash" else self.ram
        if memory == "ram":
            found = [p for p in total.parts if p.name != "arena"]
            scratch = [Part(name=f"{la.name} scratch", bytes=la.scratch_bytes)
                       for la in self.layers]  # fmt: skip
            found.append(Part(name="arena", bytes=total.part("arena")))
            largest = max(scratch, key=lambda p: p.bytes, default=None)
            if largest is not None and largest.bytes:
                found.append(Part(name=f"{largest.name} (in the arena)", bytes=largest.bytes))
        else:
            found = [Part(name=f"{p.name} code", bytes=p.bytes) for p in self.code]
            split = {"weights", "tables", *(["code"] if found else [])}
            found += [p for p in total.parts if p.name not in split]
            found += [
                Part(name=f"{la.name} weights and tables", bytes=la.weights_bytes + la.tables_bytes)
                for la in self.layers
            ]
        return sorted((p for p in found if p.bytes), key=lambda p: -p.bytes)

    def excesses(self) -> list[Excess]:
        """What does not fit; empty when all does."""
        found = []
        for name, total in (("flash", self.flash), ("RAM", self.ram)):
            if total.used_bytes > total.budget_bytes:
                found.append(Excess(
                    "flash" if name == "flash" else "ram",
                    f"needs {total.used_bytes:,} B of {name}, the budget of {self.board} is "
                    f"{total.budget_bytes:,} B",
                ))  # fmt: skip
        for region in self.regions:
            if region.used_bytes > region.size_bytes:
                holds_code = any(part.name == "code" for part in region.parts)
                found.append(Excess(
                    "flash" if holds_code else "ram",
                    f"needs {region.used_bytes:,} B of {region.name}, which has "
                    f"{region.size_bytes:,} B",
                ))  # fmt: skip
        bound = self.stack.bound_bytes
        if bound is not None and bound > self.stack.reserved_bytes:
            found.append(Excess(
                "ram",
                f"needs {bound:,} B of stack ({' > '.join(self.stack.path)}), "
                f"{self.stack.reserved_bytes:,} B are reserved",
            ))  # fmt: skip
        return found

    def check(self) -> None:
        """Raise BudgetError with the numbers and the largest consumers unless all fits."""
        found = self.excesses()
        if not found:
            return
        largest = ", ".join(f"{p.name} {p.bytes:,} B" for p in self.consumers(found[0].memory)[:3])
        raise BudgetError(
            f"'{self.model}' {'; '.join(e.message for e in found)}; largest: {largest}",
            "take a smaller network, kernels with less scratch (--kernel), or a larger board",
        )


def measure(
    elf: Elf,
    board: Board,
    model: str,
    steps: Sequence[dict[str, Any]],
    stack: Stack,
    code: Sequence[Part] = (),
    constants: Sequence[Part] = (),
) -> MemoryReport:
    """The report of a linked image. ``steps``: per step name, kernel, macs, symbol,
    scratch_bytes and output_bytes, as ``build`` collects them; ``code``: from ``code_by_part``,
    ``constants``: from ``constants_by_part``."""
    ram = [s for s in elf.sections if s.name in _RAM_PARTS] if not board.is_host else []
    flash_total, ram_total = (
        (_host_flash(elf, board), _host_ram(elf, board)) if board.is_host
        else (_flash(elf, board), _ram(elf, board))
    )  # fmt: skip
    layers = [_layer(elf, step) for step in steps]
    return MemoryReport(
        board=board.id,
        model=model,
        flash=flash_total,
        ram=ram_total,
        stack=stack,
        arena_bytes=elf.symbol["tr_arena"].bytes,
        scratch_bytes=max((la.scratch_bytes for la in layers), default=0),
        regions=_regions(board, ram, flash_total, ram_total),
        layers=layers,
        code=list(code),
        constants=list(constants),
    )


def code_by_part(elf: Elf, objects: Sequence[Object]) -> list[Part]:
    """Bytes of code by folder of ``firmware/`` (each kernel is one), largest first.

    What no function claims (alignment, libgcc) is "library and alignment".
    """
    sizes = _by_folder(elf, objects, "STT_FUNC", None)
    total = _flash_parts(elf).get("code", 0)
    sizes["library and alignment"] = total - sum(sizes.values())
    return _sorted_parts(sizes)


def constants_by_part(elf: Elf, objects: Sequence[Object]) -> list[Part]:
    """Bytes of constants besides weights and tables, as ``code_by_part``; what no object claims
    is "strings and alignment"."""
    sizes = _by_folder(elf, objects, "STT_OBJECT", ".rodata")
    total = _flash_parts(elf).get("constants", 0)
    sizes["strings and alignment"] = total - sum(sizes.values())
    return _sorted_parts(sizes)


def _by_folder(
    elf: Elf, objects: Sequence[Object], kind: str, section: str | None
) -> dict[str, int]:
    sizes: dict[str, int] = {}
    linked = {
        (s.name, s.bytes)
        for s in elf.symbols if s.kind == kind and section in (None, s.section)
    }  # fmt: skip
    seen: set[tuple[str, int]] = set()
    for item in objects:
        part = str(Path(item.source.name).parent).removeprefix("kernels/").removeprefix("ports/")
        for symbol in Elf(item.path).symbols:
            key = symbol.name, symbol.bytes
            if symbol.kind == kind and key in linked and key not in seen:
                seen.add(key)
                sizes[part] = sizes.get(part, 0) + symbol.bytes
    return sizes


def _sorted_parts(sizes: dict[str, int]) -> list[Part]:
    return [Part(name=n, bytes=b) for n, b in sorted(sizes.items(), key=lambda s: -s[1]) if b]


def _flash_parts(elf: Elf) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for section in elf.sections:
        if section.load is not None:
            part = _FLASH_PARTS.get(section.name, "code")
            sizes[part] = sizes.get(part, 0) + section.bytes
    return sizes


def _flash(elf: Elf, board: Board) -> Total:
    sizes = _flash_parts(elf)
    used = len(elf.flash_image()[1])
    if used != sum(sizes.values()):  # programmers differ in what they write into a gap
        raise BuildError(
            f"{elf.path} leaves {used - sum(sizes.values())} B between its sections unset",
            "align the ends of the sections in image.ld.j2",
        )
    return _total(sizes, board.budget.flash_bytes,
                  ("code", "weights", "tables", "constants", "data", "padding"))  # fmt: skip


def _ram(elf: Elf, board: Board) -> Total:
    sizes: dict[str, int] = {}
    for section in elf.sections:
        part = _RAM_PARTS.get(section.name)
        if part is not None:
            sizes[part] = sizes.get(part, 0) + section.bytes
    order = (
        "arena",
        "code_ram",
        *([HOT] if HOT in sizes else []),
        "gap",
        "buffers",
        "data",
        "stack",
    )
    return _total(sizes, board.budget.ram_bytes, order)


def _host_flash(elf: Elf, board: Board) -> Total:
    """A process has no flash: what its file loads read-only, weights and tables by symbol."""
    constants = [
        s for s in elf.symbols if re.search(r"layer\d\d", s.name) and s.kind == "STT_OBJECT"
    ]
    weights = sum(s.bytes for s in constants if "_weights" in s.name)
    tables = sum(s.bytes for s in constants) - weights
    loaded = sum(s.bytes for s in elf.sections if s.load is not None)
    sizes = {"code": loaded - weights - tables, "weights": weights, "tables": tables}
    return _total(sizes, board.budget.flash_bytes, ("code", "weights", "tables"))


def _host_ram(elf: Elf, board: Board) -> Total:
    arena = elf.symbol["tr_arena"].bytes
    bss = sum(s.bytes for s in elf.sections if s.load is None)
    return _total({"arena": arena, "data": bss - arena}, board.budget.ram_bytes, ("arena", "data"))


def _total(sizes: dict[str, int], budget: int, order: Sequence[str]) -> Total:
    parts = [Part(name=name, bytes=sizes.get(name, 0)) for name in order]
    return Total(used_bytes=sum(p.bytes for p in parts), budget_bytes=budget, parts=parts)


def _regions(board: Board, ram: list[Section], flash: Total, total: Total) -> list[Region]:
    regions = []
    for memory in board.memories:
        if board.is_host:
            parts = [*flash.parts, *total.parts]
        elif memory == board.flash:
            parts = flash.parts
        else:
            sizes: dict[str, int] = {}
            for s in ram:
                if memory.origin <= s.address < memory.origin + _reach(board, memory.origin):
                    sizes[_RAM_PARTS[s.name]] = sizes.get(_RAM_PARTS[s.name], 0) + s.bytes
            parts = [Part(name=name, bytes=n) for name, n in sizes.items()]
            beyond = _end(board, memory, ram) - memory.origin - sum(sizes.values())
            if _end(board, memory, ram) > memory.end and beyond > 0:  # alignment pushed it out
                parts.append(Part(name="gap", bytes=beyond))
        used = sum(p.bytes for p in parts)
        size = board.image_room if memory == board.flash else memory.length
        regions.append(Region(name=memory.name, used_bytes=used, size_bytes=size, parts=parts))
    return regions


def _end(board: Board, memory: Memory, ram: list[Section]) -> int:
    """Where the last section that belongs to ``memory`` ends."""
    low, high = memory.origin, memory.origin + _reach(board, memory.origin)
    return max((s.address + s.bytes for s in ram if low <= s.address < high), default=low)


def _reach(board: Board, origin: int) -> int:
    """Bytes from ``origin`` to the next memory: a section beyond the end still belongs here."""
    later = [m.origin for m in board.memories if m.origin > origin]
    return min(later, default=1 << 32) - origin


def _layer(elf: Elf, step: dict[str, Any]) -> LayerMemory:
    own = re.compile(rf"{step['symbol']}(?!\d)")
    objects = [s for s in elf.symbols if s.kind == "STT_OBJECT" and own.search(s.name)]
    weights = sum(s.bytes for s in objects if f"{step['symbol']}_weights" in s.name)
    return LayerMemory(
        name=step["name"],
        kernel=step["kernel"],
        macs=step["macs"],
        weights_bytes=weights,
        tables_bytes=sum(s.bytes for s in objects) - weights,
        compiled_bytes=sum(
            s.bytes
            for s in elf.symbols
            if s.kind == "STT_FUNC" and own.search(s.name) and f"{step['symbol']}_run" not in s.name
        ),
        scratch_bytes=step["scratch_bytes"],
        output_bytes=step["output_bytes"],
    )
