"""Stage ``virtual``: what a debugger and its flash algorithms meet of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tinyrobust.boards.schema import Board


class AccessPort(Protocol):
    """An access port besides the memory's: 32-bit registers by offset."""

    def read(self, register: int) -> int: ...
    def write(self, register: int, value: int) -> None: ...


class Controller(Protocol):
    """Flash memory behind its controller. Addresses are the processor's."""

    refused: int  # how many writes broke the chip's rules

    @property
    def flash(self) -> bytes:
        """What the board's flash holds."""
        ...

    @property
    def others(self) -> Mapping[int, bytearray]:
        """Flash beside it that the debugger may write too, by address."""
        ...

    @property
    def ports(self) -> Mapping[int, AccessPort]:
        """More access ports, by number (1 and up)."""
        ...

    @property
    def is_open(self) -> bool:
        """False while the chip keeps debuggers from its memory."""
        ...

    def registers(self) -> tuple[int, int]:
        """First address and size of the controller's registers."""
        ...

    def read(self, offset: int) -> int: ...
    def write(self, offset: int, value: int) -> None: ...

    def store(self, address: int, data: bytes) -> None:
        """A write to an address of flash."""
        ...

    def reset(self) -> None:
        """System reset."""
        ...

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Addresses and new content of what changed, or was refused a change, since the last
        call."""
        ...

    def take_reset(self) -> bool:
        """True once after the debugger asked for a reset through a port of ``ports``."""
        ...


class Chip(Protocol):
    """A family of chips."""

    mcus: tuple[str, ...]  # what the ``mcu`` of its boards starts with
    dp_idcode: int  # DPIDR of its debug port

    def controller(self, board: Board, flash: bytes) -> Controller: ...
