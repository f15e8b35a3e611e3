"""Where a fault can be put, by kind.

In: a built image, and how often its blocks ran in one inference. Out: draws of faults, each
uniform over its kind: over the bits of a region of flash, or over the instructions of an inference
as they run (an instruction that runs a thousand times is a thousand targets).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrobust.boards import Board
from tinyrobust.errors import TinyRobustError
from tinyrobust.image.elf import Elf
from tinyrobust.virtual import Injection

# Sections of ports/cortexm/image.ld.j2; what is in no other is code.
_FLASH = {".tr_weights": "weights", ".tr_tables": "tables", ".rodata": "constants"}
FLASH_KINDS = ("weights", "tables", "constants", "code")
RUN_KINDS = ("arena", "registers", "skip")
KINDS = (*FLASH_KINDS, *RUN_KINDS)
_ARENA = ".tr_arena"
_CODE_RAM = ".tr_code_ram"
_WIDE = (0b11101, 0b11110, 0b11111)  # Armv7-M ARM, A5.1: first halfword of 32-bit instructions


@dataclass(frozen=True)
class FlashBit:
    """A bit of the flash, and further ones from it on (``bits`` in a row, within the byte's
    region); ``address`` is that of the byte."""

    address: int
    bit: int


@dataclass(frozen=True)
class Region:
    """Bytes of one kind in the flash."""

    kind: str
    address: int
    bytes: int


def flash_regions(elf: Elf, board: Board) -> dict[str, list[Region]]:
    """The programmed bytes by kind. A compiled network's weights are in its code."""
    found: dict[str, list[Region]] = {kind: [] for kind in FLASH_KINDS}
    for section in elf.sections:
        if section.load is None or not board.flash.origin <= section.load < board.flash.end:
            continue
        kind = _FLASH.get(section.name, "code")
        if section.name not in (".data", ".tr_tail"):
            found[kind].append(Region(kind, section.load, section.bytes))
    return found


def ranges_of_code(elf: Elf, board: Board) -> tuple[tuple[int, int], ...]:
    """(address, bytes) of everything that may run: the image in flash, and code in RAM."""
    base, content = elf.flash_image()
    ram = [
        (s.address, s.bytes) for s in elf.sections
        if s.name in (_CODE_RAM, ".tr_hot") and s.address != s.load
    ]  # fmt: skip
    return (base, len(content) + len(content) % 2), *ram


def arena(elf: Elf) -> tuple[int, int]:
    """(address, bytes) of the arena; raises TinyRobustError where the image has none."""
    found = next((s for s in elf.sections if s.name == _ARENA), None)
    if found is None:
        raise TinyRobustError(f"{elf.path} has no arena", "leave kind 'arena' out")
    return found.address, found.bytes


def every_bit(regions: list[Region]) -> Iterator[FlashBit]:
    """Every bit of the regions, in order."""
    for region in regions:
        for address in range(region.address, region.address + region.bytes):
            for bit in range(8):
                yield FlashBit(address, bit)


def draw_bit(regions: list[Region], random: np.random.Generator) -> FlashBit:
    """One bit, uniform over the regions."""
    sizes = np.array([region.bytes for region in regions], np.float64)
    region = regions[int(random.choice(len(regions), p=sizes / sizes.sum()))]
    at = int(random.integers(8 * region.bytes))
    return FlashBit(region.address + at // 8, at % 8)


class Instructions:
    """The instructions of one inference as they run, to draw from.

    ``before`` and ``after``: blocks counted before and after it (``Profile.read``). Blocks of code
    that the firmware wrote into RAM are known by their first instruction alone.
    """

    def __init__(
        self, before: Mapping[int, tuple[int, int]], after: Mapping[int, tuple[int, int]],
        elf: Elf,
    ) -> None:  # fmt: skip
        self._base, self._content = elf.flash_image()
        self._before = {address: count for address, (count, _) in before.items()}
        rows = [
            (address, count - self._before.get(address, 0), size)
            for address, (count, size) in sorted(after.items())
        ]
        self._blocks = [row for row in rows if row[1] > 0]
        if not self._blocks:
            raise TinyRobustError("no instruction of an inference was counted", "build it again")
        starts = [self.starts(address, size) for address, _, size in self._blocks]
        self._starts = starts
        weights = np.array([
            count * len(each) for (_, count, _), each in zip(self._blocks, starts, strict=True)
        ], np.float64)  # fmt: skip
        self.total = int(weights.sum())
        self._share = weights / weights.sum()

    def starts(self, address: int, size: int) -> list[int]:
        """Addresses of a block's instructions."""
        at, end = address - self._base, address - self._base + size
        if not 0 <= at < end <= len(self._content):
            return [address]
        found = []
        while at < end:
            found.append(self._base + at)
            first = int.from_bytes(self._content[at : at + 2], "little") >> 11
            at += 4 if first in _WIDE else 2
        return found

    def draw(
        self, kind: str, random: np.random.Generator, arena: tuple[int, int]
    ) -> Injection:  # fmt: skip
        """One fault of a kind of RUN_KINDS at an instruction, uniform over those that run."""
        chosen = int(random.choice(len(self._blocks), p=self._share))
        block, count, _ = self._blocks[chosen]
        address = int(random.choice(self._starts[chosen]))
        turn = self._before.get(block, 0) + int(random.integers(1, count + 1))
        where: dict[str, Any] = {}
        if kind == "registers":
            where = {"where": int(random.integers(13)), "bit": int(random.integers(32))}
        elif kind == "arena":
            where = {
                "where": arena[0] + int(random.integers(arena[1])), "bit": int(random.integers(8))
            }  # fmt: skip
        action = {"skip": "skip", "registers": "register", "arena": "memory"}[kind]
        return Injection(action, address, turn, **where)  # type: ignore[arg-type]
