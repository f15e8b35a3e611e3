"""Stage ``virtual``: a chip as a debugger sees it: memories, core registers, halt, reset.

In: 32-bit reads and writes from a memory access port (``debug_port.py``). Out: flash content, and
calls when the firmware is let go or stopped. What is particular to a chip, its flash controller and
its access ports, is in ``chips/``. A flash algorithm in RAM runs here, on an engine of
its own; the firmware itself runs on a virtual board, which the calls start and stop.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from tinyrobust.boards.schema import Board
from tinyrobust.virtual.chips import chip_of
from tinyrobust.virtual.engine import UcError, arm_const, unicorn
from tinyrobust.virtual.machine import MODELS
from tinyrobust.virtual.peripherals import PAGE, Role, register_map

# DDI0403 C1.6: debug registers.
_DHCSR, _DCRSR, _DCRDR, _DEMCR = 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC
_AIRCR = 0xE000ED0C
_DEBUG_KEY, _C_DEBUGEN, _C_HALT = 0xA05F, 1 << 0, 1 << 1
_S_REGRDY, _S_HALT, _S_RESET_ST = 1 << 16, 1 << 17, 1 << 25
_VC_CORERESET = 1 << 0
_ALGORITHM_S = 10.0
_PERIPHERALS = (0x40000000, 0x60000000)
_SYSTEM = (0xE0000000, 0x100000000)

# CoreSight components that a debugger looks for (DDI0403 C1.2, DDI0489 chapter 10): the ROM table
# at 0xE00FF000 points at SCS, DWT and FPB.
_ROM_TABLE = 0xE00FF000
_COMPONENTS = {
    0xE000E000: (0xE0, (0x0C, 0xB0, 0x0B, 0x00)),
    0xE0001000: (0xE0, (0x02, 0xB0, 0x3B, 0x00)),
    0xE0002000: (0xE0, (0x0E, 0xB0, 0x2B, 0x00)),
    _ROM_TABLE: (0x10, (0xC7, 0xB4, 0x0B, 0x00)),
}


def _core_sight() -> dict[int, int]:
    words = {0xE0002000: 0x80, 0xE0001000: 0x40000000}
    for base, (kind, part) in _COMPONENTS.items():
        for i, value in enumerate((0x0D, kind, 0x05, 0xB1)):
            words[base + 0xFF0 + 4 * i] = value
        for i, value in enumerate(part):
            words[base + 0xFE0 + 4 * i] = value
        words[base + 0xFD0] = 0x04
    for i, base in enumerate(sorted(b for b in _COMPONENTS if b != _ROM_TABLE)):
        words[_ROM_TABLE + 4 * i] = (base - _ROM_TABLE) & 0xFFFFFFFF | 3
    return words


_REGISTERS = {
    **{i: getattr(arm_const, f"UC_ARM_REG_R{i}") for i in range(13)},
    13: arm_const.UC_ARM_REG_SP,
    14: arm_const.UC_ARM_REG_LR,
    15: arm_const.UC_ARM_REG_PC,
    16: arm_const.UC_ARM_REG_XPSR,
    17: arm_const.UC_ARM_REG_MSP,
    18: arm_const.UC_ARM_REG_PSP,
}


class TransferFault(Exception):
    """A read or write that the bus answers with a fault."""


class DebugTarget:
    """One microcontroller behind a debug port.

    ``on_run(flash)`` is called when the firmware starts from reset, ``on_halt()`` when it is
    stopped. Raises BoardError for a board whose chip is not in ``chips/``.
    """

    def __init__(
        self,
        board: Board,
        flash: bytes = b"",
        *,
        on_run: Callable[[bytes], None] = lambda flash: None,
        on_halt: Callable[[], None] = lambda: None,
    ) -> None:
        chip = chip_of(board)
        self.dp_idcode = chip.dp_idcode
        self.controller = chip.controller(board, flash)
        self._low, size = self.controller.registers()
        self._high = self._low + size
        self._on_run, self._on_halt = on_run, on_halt
        self._board = board
        self._flash = board.flash
        registers = register_map(board)
        self._pages = [page for page in registers.pages if self._is_apart(page)]
        self._words = {
            r.address: r.reset | r.ones
            for r in registers.registers.values()
            if r.role in (Role.PLAIN, Role.CONSTANT)
        } | _core_sight()
        self._running = True  # as a board that has just been plugged in
        self._control = self._transfer = self._reset_seen = 0
        self._stopped = False
        self._uc = self._engine()

    @property
    def flash(self) -> bytes:
        """What the flash holds."""
        return self.controller.flash

    def _engine(self) -> Any:
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(MODELS[self._board.core])
        for memory in self._board.memories:
            uc.mem_map(memory.origin, memory.length)
        uc.mem_write(self._flash.origin, self.flash)
        for page in self._pages:
            uc.mem_map(page, PAGE)
        for address, word in self._words.items():
            if address & -PAGE in self._pages:
                uc.mem_write(address, word.to_bytes(4, "little"))
        for address, data in self.controller.others.items():
            uc.mem_write(address, bytes(data))
        low, high = _PERIPHERALS
        uc.mmio_map(
            low, high - low,
            lambda _uc, offset, _size, _user: self._read_peripheral(low + offset), None,
            lambda _uc, offset, _size, value, _user: self._write_peripheral(low + offset, value),
            None,
        )  # fmt: skip
        uc.mmio_map(
            _SYSTEM[0], 0x100000,
            lambda _uc, offset, _size, _user: self._words.get(_SYSTEM[0] + offset, 0), None,
            lambda _uc, offset, _size, value, _user: self._words.update({
                _SYSTEM[0] + offset: value}), None,
        )  # fmt: skip
        for begin, end in self._flashes():
            uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._on_flash_write, begin=begin, end=end - 1)
        uc.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        return uc

    def _is_apart(self, page: int) -> bool:
        """Constants and the like that lie outside the processor's peripheral regions."""
        return not _PERIPHERALS[0] <= page < _PERIPHERALS[1] and page < _SYSTEM[0]

    def _flashes(self) -> list[tuple[int, int]]:
        """First and last address of everything that the flash controller writes."""
        others = self.controller.others.items()
        return [(self._flash.origin, self._flash.end), *((a, a + len(d)) for a, d in others)]

    # The chip's own access ports.

    def read_port(self, number: int, register: int) -> int:
        """A register of access port ``number``, 0 where there is none."""
        port = self.controller.ports.get(number)
        return port.read(register) if port else 0

    def write_port(self, number: int, register: int, value: int) -> None:
        """Write a register of access port ``number``."""
        if port := self.controller.ports.get(number):
            port.write(register, value)
            self._settle()
            if self.controller.take_reset():
                self.reset()

    # Memory, as the debugger reads and writes it.

    def read(self, address: int) -> int:
        """A 32-bit word. Raises TransferFault where nothing is, and from a locked chip."""
        self._refuse_locked()
        if address == _DHCSR:
            value = self._control & 0xF | _S_REGRDY | self._reset_seen
            self._reset_seen = 0
            return value if self._running else value | _S_HALT
        if address == _DCRDR:
            return self._transfer
        if _PERIPHERALS[0] <= address < _PERIPHERALS[1]:
            return self._read_peripheral(address)
        if address >= _SYSTEM[0]:
            return self._words.get(address, 0)
        return int.from_bytes(self._memory(address, 4), "little")

    def _refuse_locked(self) -> None:
        if not self.controller.is_open:
            raise TransferFault("the chip's access port protection is on")

    def _memory(self, address: int, size: int) -> bytes:
        try:
            return bytes(self._uc.mem_read(address, size))
        except UcError as error:
            raise TransferFault(f"nothing at {address:#010x}") from error

    def write(self, address: int, value: int, size: int = 4) -> None:
        """Write 1, 2 or 4 bytes. Raises TransferFault as ``read`` does."""
        self._refuse_locked()
        if address == _DHCSR:
            if value >> 16 == _DEBUG_KEY:
                self._write_control(value)
        elif address == _DCRDR:
            self._transfer = value
        elif address == _DCRSR:
            self._transfer_register(value)
        elif address == _AIRCR:
            if value >> 16 == 0x05FA and value & 5:  # SYSRESETREQ, VECTRESET
                self.reset()
        elif _PERIPHERALS[0] <= address < _PERIPHERALS[1]:
            self._write_peripheral(address, value)
        elif address >= _SYSTEM[0]:
            self._words[address] = value
        else:
            data = value.to_bytes(4, "little")[:size]
            if any(low <= address < high for low, high in self._flashes()):
                self.controller.store(address, data)
                self._settle()
                return
            try:
                self._uc.mem_write(address, data)
            except UcError as error:
                raise TransferFault(f"nothing at {address:#010x}") from error

    def _read_peripheral(self, address: int) -> int:
        if self._low <= address < self._high:
            return self.controller.read(address - self._low)
        return self._words.get(address, 0)

    def _write_peripheral(self, address: int, value: int) -> None:
        if self._low <= address < self._high:
            self.controller.write(address - self._low, value)
        else:
            self._words[address] = value

    # The core.

    def _write_control(self, value: int) -> None:
        self._control = value & 0xF
        if not value & _C_DEBUGEN:
            return
        if value & _C_HALT:
            if self._running:
                self._running = False
                self._on_halt()
        elif not self._running:
            self._go()

    def _transfer_register(self, value: int) -> None:
        register = _REGISTERS.get(value & 0x7F)
        if value & 1 << 16:
            if register is not None:
                self._uc.reg_write(register, self._transfer)
        else:
            self._transfer = (
                0 if register is None else int(self._uc.reg_read(register)) & 0xFFFFFFFF
            )

    def reset(self) -> None:
        """System reset; the core halts there when the debugger asked for it (VC_CORERESET)."""
        if self._running:
            self._on_halt()
        self.controller.reset()
        stack, entry = struct.unpack("<II", self._memory(self._board.image_origin, 8))
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack & ~3)
        self._uc.reg_write(arm_const.UC_ARM_REG_PC, entry & ~1)
        self._uc.reg_write(arm_const.UC_ARM_REG_XPSR, 1 << 24)
        self._reset_seen = _S_RESET_ST
        caught = self._words.get(_DEMCR, 0) & _VC_CORERESET and self._control & _C_DEBUGEN
        self._running = not caught
        if self._running:
            self._on_run(self.flash)

    def _go(self) -> None:
        """Resume: firmware from flash is the virtual board's to run, code in RAM is run here."""
        pc = int(self._uc.reg_read(arm_const.UC_ARM_REG_PC)) & 0xFFFFFFFF
        if self._flash.origin <= pc < self._flash.end or pc == 0xFFFFFFFE:
            self._running = True
            self._on_run(self.flash)
            return
        self._stopped = False
        try:
            self._uc.emu_start(pc | 1, 0xFFFFFFFE, timeout=int(_ALGORITHM_S * 1e6))
        except UcError:
            self._stopped = True  # a fault halts it where it is, and pyOCD sees where
        self._settle()
        self._running = not self._stopped

    def _on_interrupt(self, uc: Any, _number: int, _user: object) -> None:
        self._stopped = True  # a breakpoint ends an algorithm
        uc.emu_stop()

    def _on_flash_write(
        self, _uc: Any, _kind: int, address: int, size: int, value: int, _user: object
    ) -> None:
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self.controller.store(address, data)

    def _settle(self) -> None:
        """The engine wrote its own copy of the flash: make it what the controller made of it."""
        for address, data in self.controller.take_changes():
            self._uc.mem_write(address, data)
