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

    ``before`` and ``after``: blocks counted before and after it (``Profile.read``).
    """

    def __init__(
        self, before: Mapping[int, tuple[int, int, int]], after: Mapping[int, tuple[int, int, int]]
    ) -> None:
        self._before = {address: count for address, (count, _, _) in before.items()}
        rows = [
            (address, count - self._before.get(address, 0), size, instructions)
            for address, (count, size, instructions) in sorted(after.items())
        ]
        self._blocks = [row for row in rows if row[1] > 0]
        if not self._blocks:
            raise TinyRobustError("no instruction of an inference was counted", "build it again")
        weights = np.array([count * each for _, count, _, each in self._blocks], np.float64)
        self.total = int(weights.sum())
        self._share = weights / weights.sum()

    def draw(
        self, kind: str, random: np.random.Generator, arena: tuple[int, int]
    ) -> Injection:  # fmt: skip
        """One fault of a kind of RUN_KINDS at an instruction, uniform over those that run."""
        chosen = int(random.choice(len(self._blocks), p=self._share))
        address, count, size, each = self._blocks[chosen]
        skipped = self._before.get(address, 0) * each
        turn = skipped + int(random.integers(1, count * each + 1))
        where: dict[str, Any] = {}
        if kind == "registers":
            where = {"where": int(random.integers(13)), "bit": int(random.integers(32))}
        elif kind == "arena":
            where = {
                "where": arena[0] + int(random.integers(arena[1])), "bit": int(random.integers(8))
            }  # fmt: skip
        action = {"skip": "skip", "registers": "register", "arena": "memory"}[kind]
        return Injection(action, address, turn, bytes=size, **where)  # type: ignore[arg-type]
