"""Stage ``virtual``: what the machine and its hooks in C (``native.py``) tell each other.

In: the memories as spans of host memory, what a cycle counter counts. Out: why the engine stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from tinyrobust.virtual.faults import Fault


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
