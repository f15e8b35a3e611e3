"""Stage ``virtual``: the memory protection unit, as far as privileged code meets it.

In: what firmware wrote into MPU_CTRL, MPU_RBAR and MPU_RASR (MPU_RLAR on Armv8-M). Out: which
stretches of a memory may be read, written and executed (DDI0403 B3.5, PMSAv7; DDI0419 B3.5, whose
registers are the same; DDI0553 B10, PMSAv8, where an address in two regions is an error).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

READ, WRITE, EXECUTE = 1, 2, 4  # as Unicorn's UC_PROT_*
ALL = READ | WRITE | EXECUTE

ENABLE = 1 << 0  # MPU_CTRL, MPU_RASR
DEFAULT_MAP = 1 << 2  # MPU_CTRL.PRIVDEFENA
# Privileged rights by RASR.AP (table B3-15); 4 is reserved: nothing.
_RIGHTS = {1: READ | WRITE, 2: READ | WRITE, 3: READ | WRITE, 5: READ, 6: READ, 7: READ}


@dataclass(frozen=True)
class Region:
    """One enabled region: address, size in bytes, rights, and disabled eighths."""

    number: int
    base: int
    size: int
    rights: int
    disabled: int

    def covers(self, address: int) -> bool:
        """True when this region (and no disabled eighth of it) holds ``address``."""
        if not self.base <= address < self.base + self.size:
            return False
        if self.size < 256:  # no subregions below 256 bytes
            return True
        return not self.disabled >> ((address - self.base) * 8 // self.size) & 1

    def edges(self) -> range:
        """Addresses at which the rights may change."""
        step = self.size // 8 if self.disabled and self.size >= 256 else self.size
        return range(self.base, self.base + self.size + 1, step)


def _region_v8(number: int, base: int, limit: int) -> Region:
    """MPU_RBAR: base, AP (bit 2: read-only), XN (bit 0). MPU_RLAR: the last 32 bytes."""
    rights = READ if base & 4 else READ | WRITE
    if not base & 1:
        rights |= EXECUTE
    start = base & ~31
    return Region(number, start, (limit | 31) + 1 - start, rights, 0)


@dataclass(frozen=True)
class Mpu:
    """The registers: control, and base and attributes of each region."""

    control: int
    bases: tuple[int, ...]
    attributes: tuple[int, ...]  # MPU_RASR, or MPU_RLAR
    v8: bool = False

    def regions(self) -> list[Region]:
        """Enabled regions, the one that wins first."""
        found = []
        for number, (base, attributes) in enumerate(zip(self.bases, self.attributes, strict=True)):
            if not attributes & ENABLE:
                continue
            if self.v8:
                found.append(_region_v8(number, base, attributes))
                continue
            size = 2 << (attributes >> 1 & 31)
            rights = _RIGHTS.get(attributes >> 24 & 7, 0)
            if rights and not attributes >> 28 & 1:  # XN
                rights |= EXECUTE
            found.append(Region(number, base & ~31 & -size, size, rights, attributes >> 8 & 0xFF))
        return found[::-1]

    def pieces(
        self, start: int, end: int, hardware: int, without: int | None = None
    ) -> list[tuple[int, int, int]]:
        """``(start, end, rights)`` of the stretches of ``start..end``; ``hardware`` limits all.

        A region that begins at ``without`` is left out. Without the MPU, and for addresses no
        region holds under PRIVDEFENA, ``hardware`` is it.
        """
        if not self.control & ENABLE:
            return [(start, end, hardware)]
        regions = [r for r in self.regions() if without is None or r.base != without]
        edges = {start, end}
        for region in regions:
            edges.update(edge for edge in region.edges() if start < edge < end)
        pieces: list[tuple[int, int, int]] = []
        ordered = sorted(edges)
        for low, high in itertools.pairwise(ordered):
            default = hardware if self.control & DEFAULT_MAP else 0
            winners = [r for r in regions if r.covers(low)]
            rights = winners[0].rights & hardware if winners else default
            if self.v8 and len(winners) > 1:
                rights = 0
            if pieces and pieces[-1][2] == rights:
                pieces[-1] = (pieces[-1][0], high, rights)
            else:
                pieces.append((low, high, rights))
        return pieces

    def overlaps_at(self, address: int) -> bool:
        """True when two regions hold ``address``, which Armv8-M refuses."""
        on = self.v8 and bool(self.control & ENABLE)
        return on and sum(r.covers(address) for r in self.regions()) > 1

    def region_at(self, address: int) -> Region | None:
        """The region that decides about ``address``, when the MPU is on."""
        if not self.control & ENABLE:
            return None
        return next((r for r in self.regions() if r.covers(address)), None)
