"""A SAM3X8E in its boot ROM, as bossac meets it behind the Arduino Due's programming port.

In: a pseudo-terminal. Out: the flash that bossac wrote. SAM-BA monitor: commands of one letter,
data by XMODEM (SAM3X datasheet 11057, "SAM-BA Boot Assistant"); flash controller: "Enhanced
Embedded Flash Controller (EEFC)". bossac's own code runs in the modelled RAM, on Unicorn.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import tty
from typing import Any

from tests.patience import PATIENCE_S
from tinyrobust.virtual.engine import arm_const, unicorn

FLASH, PLANE_BYTES, PAGE_BYTES = 0x00080000, 0x40000, 256
_RAM, _RAM_BYTES = 0x20000000, 0x20000
_CHIP_ID = {0x400E0940: 0x285E0A60, 0x400E0944: 0}  # CHIPID_CIDR, CHIPID_EXID of a SAM3X8E
_EEFC = (0x400E0A00, 0x400E0C00)
_FCR, _FSR, _FRR = 4, 8, 12
_KEY = 0x5A
_WP, _EWP, _EA, _CLB, _GLB, _SGPB, _CGPB, _GGPB = 1, 3, 5, 9, 10, 11, 12, 13
_SOH, _EOT, _ACK, _NAK, _C = 0x01, 0x04, 0x06, 0x15, ord("C")
_BLOCK = 128
_RETURN = 0x00010000  # where the monitor goes on, in what would be the ROM


class SamBa:
    """A context manager with a ``port``; ``flash`` is what was written.

    ``locked`` refuses pages, ``broken`` is a page with a bit that does not hold.
    """

    def __init__(self, *, locked: bool = False, broken: int | None = None) -> None:
        self._device, self._user = pty.openpty()
        tty.setraw(self._user)
        self.port = os.ttyname(self._user)
        self.flash = bytearray(b"\x00" * 2 * PLANE_BYTES)  # something old
        self.boots_from_flash = self.was_reset = False
        self._locked, self._broken = locked, broken
        self._latch = bytearray(b"\xff" * PAGE_BYTES)
        self._answers = [0, 0]
        self._registers: dict[int, int] = {}
        self._errors: dict[int, int] = {}
        self._input = b""
        self._ended = threading.Event()
        self._uc = self._engine()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> SamBa:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)
        os.close(self._device)
        os.close(self._user)

    def _engine(self) -> Any:
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M3)
        uc.mem_map(_RAM, _RAM_BYTES)
        uc.mem_map(FLASH, 2 * PLANE_BYTES)
        uc.mem_map(_RETURN, 0x1000)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._on_flash_write,
                    begin=FLASH, end=FLASH + 2 * PLANE_BYTES - 1)  # fmt: skip
        uc.mem_write(FLASH, bytes(self.flash))
        return uc

    # The line.

    def _serve(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                command = self._until(b"#")
                self._answer(command.lstrip(b"\x80").decode())

    def _bytes(self, count: int) -> bytes:
        while len(self._input) < count:
            if select.select([self._device], [], [], 0.1)[0]:
                self._input += os.read(self._device, 4096)
            elif self._ended.is_set():  # and nothing is left of what the tool said last
                raise EOFError
        data, self._input = self._input[:count], self._input[count:]
        return data

    def _until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            data += self._bytes(1)
        return data[:-1]

    def _answer(self, command: str) -> None:
        kind, _, rest = command[:1], "", command[1:]
        words = [int(word, 16) for word in rest.split(",") if word]
        if kind == "N":
            os.write(self._device, b"\n\r")
        elif kind == "V":
            os.write(self._device, b"v1.1 Dec 15 2010 19:25:04\n\r")
        elif kind == "w":
            os.write(self._device, self._read(words[0]).to_bytes(4, "little"))
        elif kind == "W":
            self._write(words[0], words[1])
        elif kind == "S":
            self._uc.mem_write(words[0], self._receive(words[1]))
        elif kind == "R":
            self._send(bytes(self._uc.mem_read(words[0], words[1])))
        elif kind == "G":
            self._go(words[0])

    # XMODEM with CRC-16.

    def _receive(self, size: int) -> bytes:
        os.write(self._device, b"C")
        data = b""
        while True:
            kind = self._bytes(1)[0]
            if kind == _EOT:
                os.write(self._device, bytes([_ACK]))
                return data[:size]
            assert kind == _SOH, kind
            block = self._bytes(2 + _BLOCK + 2)
            good = block[0] == 255 - block[1] and _crc16(block[2:-2]) == int.from_bytes(
                block[-2:], "big"
            )
            if good:
                data += block[2:-2]
            os.write(self._device, bytes([_ACK if good else _NAK]))

    def _send(self, data: bytes) -> None:
        while self._bytes(1)[0] != _C:
            pass
        for number, at in enumerate(range(0, len(data), _BLOCK), 1):
            block = data[at : at + _BLOCK].ljust(_BLOCK, b"\0")
            os.write(self._device, bytes([_SOH, number & 255, 255 - (number & 255)]) + block
                     + _crc16(block).to_bytes(2, "big"))  # fmt: skip
            assert self._bytes(1)[0] == _ACK
        os.write(self._device, bytes([_EOT]))
        self._bytes(1)

    # Memory.

    def _read(self, address: int) -> int:
        for plane, base in enumerate(_EEFC):
            if address == base + _FSR:
                return 1 | self._errors.pop(plane, 0)  # FRDY; errors are cleared by reading
            if address == base + _FRR:
                return self._answers[plane]
        if address in _CHIP_ID or (address >> 28 != 2 and not FLASH <= address < FLASH + 0x80000):
            return _CHIP_ID.get(address, self._registers.get(address, 0))
        return int.from_bytes(self._uc.mem_read(address, 4), "little")

    def _write(self, address: int, value: int) -> None:
        for plane, base in enumerate(_EEFC):
            if address == base + _FCR:
                self._command(plane, value)
                return
        if address == 0x400E1A00 and value & 0xFF000001:  # RSTC_CR
            self.was_reset = True
        elif address >> 28 == 2:
            self._uc.mem_write(address, value.to_bytes(4, "little"))
        elif FLASH <= address < FLASH + 2 * PLANE_BYTES:
            self._latch_word(address, value.to_bytes(4, "little"))
        else:
            self._registers[address] = value

    def _latch_word(self, address: int, data: bytes) -> None:
        at = address % PAGE_BYTES
        self._latch[at : at + len(data)] = data

    def _on_flash_write(
        self, _uc: Any, _kind: int, address: int, size: int, value: int, _user: object
    ) -> None:
        self._latch_word(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def _command(self, plane: int, value: int) -> None:
        assert value >> 24 == _KEY, hex(value)
        page, command = value >> 8 & 0xFFFF, value & 0xFF
        base = plane * PLANE_BYTES
        if command == _EA:
            self.flash[base : base + PLANE_BYTES] = b"\xff" * PLANE_BYTES
        elif command in (_WP, _EWP):
            at = base + page * PAGE_BYTES
            if command == _EWP:
                self.flash[at : at + PAGE_BYTES] = b"\xff" * PAGE_BYTES
            if self._locked:
                self._errors[plane] = 1 << 2  # FLOCKE
            else:
                old = self.flash[at : at + PAGE_BYTES]
                self.flash[at : at + PAGE_BYTES] = bytes(
                    a & b for a, b in zip(old, self._latch, strict=True)
                )
            if page == self._broken:
                self.flash[at] ^= 0x10
            self._latch[:] = b"\xff" * PAGE_BYTES
        elif command in (_SGPB, _CGPB) and page == 1:  # GPNVM1: boot from flash
            self.boots_from_flash = command == _SGPB
        elif command == _GGPB:
            self._answers[plane] = 2 * self.boots_from_flash
        elif command == _GLB:
            self._answers[plane] = 0
        elif command != _CLB:
            self._errors[plane] = 1 << 1  # FCMDE: this chip has no such command
        self._uc.mem_write(FLASH, bytes(self.flash))

    def _go(self, address: int) -> None:
        """Into RAM: at a Thumb address, else through a vector of stack and start."""
        pc = address
        if not address & 1:
            self._uc.reg_write(arm_const.UC_ARM_REG_SP, self._read(address))
            pc = self._read(address + 4)
        else:
            self._uc.reg_write(arm_const.UC_ARM_REG_SP, _RAM + _RAM_BYTES)
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, _RETURN | 1)
        self._uc.emu_start(pc | 1, _RETURN, timeout=PATIENCE_S * 1_000_000)
        self._uc.mem_write(FLASH, bytes(self.flash))  # what went to the latch is not in the flash


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
