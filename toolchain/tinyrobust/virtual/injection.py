"""Stage ``virtual``: one fault put into a running board, and how often its code runs.

In: an engine that is about to run; an ``Injection``, or a ``Profile`` of address ranges. Out: the
board does at the given instruction what a laser or a glitch would make it do; or the counts of
every block of instructions, in a file that whoever started the board may read at any time.

Models of faults: J. Breier et al., "Practical Fault Attack on Deep Neural Networks", CCS 2018
(instruction skips); Y. Liu et al., "Fault Injection Attack on Deep Neural Network", ICCAD 2017
(single bits of memories and registers).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tinyrobust.virtual.thumb import is_wide

SKIP: Literal["skip"] = "skip"
REGISTER: Literal["register"] = "register"
MEMORY: Literal["memory"] = "memory"
_REGISTERS = 13  # r0 to r12


@dataclass(frozen=True)
class Injection:
    """Before the ``turn``-th instruction runs that lies in the ``bytes`` from ``address`` on: it is
    skipped, or bit ``bit`` of register r``where``, or of the byte at ``where``, is flipped."""

    action: Literal["skip", "register", "memory"]
    address: int
    turn: int
    where: int = 0
    bit: int = 0
    bytes: int = 2

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Injection:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**data)


def inject(uc: Any, what: Injection, done: Callable[[], None]) -> None:
    """Hook ``what`` into ``uc``; ``done`` is called when it has happened."""
    from tinyrobust.virtual.engine import arm_const, unicorn

    seen = 0

    def at(engine: Any, address: int, size: int, _user: object) -> None:
        nonlocal seen
        seen += 1
        if seen != what.turn:
            return
        if what.action == SKIP:
            engine.reg_write(arm_const.UC_ARM_REG_PC, (address + size) | 1)
        elif what.action == REGISTER:
            register = arm_const.UC_ARM_REG_R0 + what.where % _REGISTERS
            engine.reg_write(register, engine.reg_read(register) ^ (1 << what.bit))
        else:
            (value,) = engine.mem_read(what.where, 1)
            engine.mem_write(what.where, bytes([value ^ (1 << what.bit)]))
        done()

    uc.hook_add(unicorn.UC_HOOK_CODE, at, begin=what.address, end=what.address + what.bytes - 1)


@dataclass(frozen=True)
class Profile:
    """Counts of blocks that start in ``ranges`` (first address, bytes), in ``file``: for every
    halfword how often a block has started there, that block's bytes, and its instructions, uint32
    each."""

    file: Path
    ranges: tuple[tuple[int, int], ...]

    @property
    def halfwords(self) -> int:
        """Of all ranges."""
        return sum(size // 2 for _, size in self.ranges)

    def create(self) -> None:
        """An empty file."""
        self.file.write_bytes(bytes(12 * self.halfwords))

    def read(self) -> dict[int, tuple[int, int, int]]:
        """By address of a block: how often it ran so far, its bytes, its instructions."""
        import numpy as np

        counts = np.frombuffer(self.file.read_bytes(), np.uint32).reshape(3, -1)
        found, first = {}, 0
        for base, size in self.ranges:
            for at in np.flatnonzero(counts[0, first : first + size // 2]):
                place = first + int(at)
                found[base + 2 * int(at)] = (
                    int(counts[0, place]), int(counts[1, place]), int(counts[2, place]),
                )  # fmt: skip

            first += size // 2
        return found


def profile(uc: Any, wanted: Profile) -> Any:
    """Count into the file from now on; what is returned must stay alive while ``uc`` runs."""
    import numpy as np

    from tinyrobust.virtual.engine import unicorn

    with wanted.file.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    counts = np.frombuffer(memory, np.uint32).reshape(3, -1)  # shared with whoever reads the file
    first = 0
    for base, size in wanted.ranges:
        place = first - base // 2

        def block(_uc: Any, address: int, bytes_: int, _user: object, place: int = place) -> None:
            at = place + address // 2
            counts[0, at] += 1
            if counts[1, at] != bytes_:
                counts[1, at] = bytes_
                counts[2, at] = _instructions(bytes(uc.mem_read(address, bytes_)))

        uc.hook_add(unicorn.UC_HOOK_BLOCK, block, begin=base, end=base + size - 1)
        first += size // 2
    return counts


def _instructions(code: bytes) -> int:
    """How many Thumb instructions ``code`` is."""
    at = count = 0
    while at < len(code):
        at += 4 if is_wide(int.from_bytes(code[at : at + 2], "little")) else 2
        count += 1
    return count
