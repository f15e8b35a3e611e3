"""Stage ``virtual``: a debug port with a memory access port and the chip's own (ADIv5, IHI0031).

In: reads and writes of DP and AP registers, as a probe sends them over SWD. Out: memory accesses
of a ``DebugTarget``.
"""

from __future__ import annotations

from tinyrobust.virtual.debug_target import DebugTarget

_AP_IDR = 0x84770001  # AHB-AP
_ROM = 0xE00FF003
_POWER_REQUESTS = 0x50000000  # CTRL/STAT: each is acknowledged one bit up


class DebugPort:
    """DP and AP registers; access port 0 is the memory's, others are the chip's."""

    def __init__(self, target: DebugTarget) -> None:
        self._target = target
        self._select = self._control = 0
        self._csw = 0x43000042
        self._address = 0

    def read_dp(self, register: int) -> int:
        """DPIDR, CTRL/STAT, SELECT, RDBUFF."""
        if register == 0:
            return self._target.dp_idcode
        if register == 4 and not self._select & 15:
            return self._control | (self._control & _POWER_REQUESTS) << 1
        return 0

    def write_dp(self, register: int, value: int) -> None:
        """ABORT, CTRL/STAT, SELECT."""
        if register == 8:
            self._select = value
        elif register == 4 and not self._select & 15:
            self._control = value & 0x50000F00

    def _register(self, register: int) -> int:
        return self._select & 0xF0 | register & 0xC

    def read_ap(self, register: int) -> int:
        """CSW, TAR, DRW, BD0-3, BASE, IDR."""
        at = self._register(register)
        if number := self._select >> 24:
            return self._target.read_port(number, at)
        if at == 0xFC:
            return _AP_IDR
        if at == 0xF8:
            return _ROM
        if at == 0x00:
            return self._csw | 0x40
        if at == 0x04:
            return self._address
        if at == 0x0C:
            value = self._target.read(self._address & ~3)
            self._advance()
            return value
        if at & 0xF0 == 0x10:
            return self._target.read(self._address & ~15 | at & 0xC)
        return 0

    def write_ap(self, register: int, value: int) -> None:
        """CSW, TAR, DRW, BD0-3."""
        at = self._register(register)
        if number := self._select >> 24:
            self._target.write_port(number, at, value)
            return
        if at == 0x00:
            self._csw = value
        elif at == 0x04:
            self._address = value
        elif at == 0x0C:
            size = 1 << (self._csw & 7)
            if size >= 4:
                self._target.write(self._address & ~3, value)
            else:  # byte lanes follow the address
                self._target.write(self._address, value >> 8 * (self._address & 3), size)
            self._advance()
        elif at & 0xF0 == 0x10:
            self._target.write(self._address & ~15 | at & 0xC, value)

    def _advance(self) -> None:
        """Auto-increment, within 1 KiB."""
        if self._csw & 0x30:
            step = 1 << (self._csw & 7)
            self._address = self._address & ~0x3FF | (self._address + step) & 0x3FF
