"""Stage ``virtual``: boards that are not there, running the very image that would be flashed.

In: a ``Board`` and an ``Image`` or a flash file. Out: a ``VirtualBoard`` with a serial port.
``unicorn`` boards run the flash content on Unicorn, ``qemu`` boards the ELF in QEMU, ``host`` is
a process. What a virtual board enforces, and what it cannot, is in ``machine.py``.
"""

from __future__ import annotations

from tinyrobust.virtual.board import VirtualBoard, start
from tinyrobust.virtual.cycles import NAME as CYCLE_MODEL
from tinyrobust.virtual.faults import Fault, FaultReport
from tinyrobust.virtual.hooks import Clock
from tinyrobust.virtual.injection import Injection, Profile

__all__ = [
    "CYCLE_MODEL",
    "Clock",
    "Fault",
    "FaultReport",
    "Injection",
    "Profile",
    "VirtualBoard",
    "start",
]
