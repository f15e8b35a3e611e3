"""Stage ``virtual``: what the machine needs of its hooks, in C (``native.py``) or Python.

In: an engine, a ``RegisterMap``, the memories as spans of host memory, a descriptor for the UART.
Out: an object that counts instructions, answers peripherals and says why the engine stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Protocol

from tinyrobust.virtual.faults import Fault
from tinyrobust.virtual.mpu import Mpu


class Clock(IntEnum):
    """What the board's cycle counter counts. The numbers are shared with ``hooks.c``."""

    INSTRUCTIONS = 0
    M4_MODEL = 1  # estimated cycles, see cycles.py


class Requests(IntFlag):
    """Why the hooks stopped the engine. The numbers are shared with ``hooks.c``."""

    RESET = 1
    MPU = 2
    FAULT = 4
    REARM = 8


@dataclass(frozen=True)
class Span:
    """A memory: where the processor sees it, and where it lies on the host."""

    base: int
    size: int
    is_flash: bool
    pointer: int
    data: memoryview


@dataclass(frozen=True)
class State:
    """What the hooks ask for, and the first fault they saw."""

    requests: Requests
    fault: Fault
    address: int
    size: int
    is_write: bool


class Hooks(Protocol):
    """Counting, peripherals and checks of one engine."""

    kind: str

    @property
    def count(self) -> int: ...
    @property
    def cycles(self) -> int: ...
    def take(self) -> State: ...
    def mpu(self) -> Mpu: ...
    def reset(self) -> None: ...
    def flush(self) -> None: ...
    def rewind(self, pc: int) -> None: ...
    def rearm(self, instructions: int) -> None: ...
    def peek(self, address: int) -> int: ...
    def guard(self, pieces: Sequence[tuple[int, int, bool, bool]]) -> None: ...
