"""Stage ``virtual``: an nRF52840 behind a debug probe: NVMC, UICR, and the control access port.

In: register accesses, writes to flash addresses, accesses of access port 1. Out: flash that changes
only by the rules of the nRF52840 Product Specification v1.7, chapters "NVMC", "UICR" and "Debug and
trace": pages of 4 KiB are erased while CONFIG says so, whole aligned words are written while it
says that, and a write only clears bits. What breaks them is refused and counted, where silicon
faults or does nothing.

The chip is of revision F, whose access port is locked after every reset unless UICR.APPROTECT is
HwDisabled. Only erasing everything through the control access port opens it, until another reset
than that port's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from tinyrobust.boards.schema import Board
from tinyrobust.virtual.chips._chip import AccessPort, Controller
from tinyrobust.virtual.flash_array import ERASED

NVMC, NVMC_SIZE = 0x4001E000, 0x1000
READY, READYNEXT, CONFIG = 0x400, 0x408, 0x504
ERASEPAGE, ERASEALL, ERASEUICR, ICACHECNF = 0x508, 0x50C, 0x514, 0x540
READ_ONLY, WRITE, ERASE = 0, 1, 2  # CONFIG.WEN
PAGE_BYTES = 0x1000
UICR, UICR_BYTES = 0x10001000, 0x400
APPROTECT = 0x208
HW_DISABLED = 0x5A
# "CTRL-AP - Control access port"
_CTRL_RESET, _CTRL_ERASEALL, _CTRL_STATUS, _CTRL_PROTECT, _CTRL_IDR = 0x00, 0x04, 0x08, 0x0C, 0xFC
_CTRL_ID = 0x12880000


class Nvmc:
    """The flash of an nRF52840 with its user information registers."""

    def __init__(self, board: Board, flash: bytes, user: bytes | None = None) -> None:
        self.origin = board.flash.origin
        blank = bytes([ERASED])
        self._code = bytearray(flash) + blank * (board.flash.length - len(flash))
        if user is None:  # as Arduino ships it: a debugger is let in
            words = bytearray(blank * UICR_BYTES)
            words[APPROTECT] = HW_DISABLED
            user = bytes(words)
        self._user = bytearray(user)
        self.others: Mapping[int, bytearray] = {UICR: self._user}
        self.ports: Mapping[int, AccessPort] = {1: _ControlPort(self)}
        self.erased_pages = self.programmed_words = self.refused = 0
        self._changes: dict[int, int] = {}  # address -> bytes
        self._wants_reset = self._stays_open = self.is_open = False
        self.reset()

    @property
    def flash(self) -> bytes:
        """What the code flash holds."""
        return bytes(self._code)

    def registers(self) -> tuple[int, int]:
        """Where they are."""
        return NVMC, NVMC_SIZE

    def reset(self) -> None:
        """System reset: read only, and locked again unless UICR says otherwise."""
        self._config = READ_ONLY
        self._cache = 0
        self.is_open = self._user[APPROTECT] == HW_DISABLED or (self._stays_open and self.is_open)
        self._stays_open = False

    def read(self, offset: int) -> int:
        """A register; what was asked for is done at once."""
        if offset in (READY, READYNEXT):
            return 1
        return {CONFIG: self._config, ICACHECNF: self._cache}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == CONFIG:
            self._config = value & 3
        elif offset == ICACHECNF:
            self._cache = value & 0x101
        elif offset in (ERASEPAGE, ERASEALL, ERASEUICR):
            if self._config != ERASE:
                self.refused += 1
            elif offset == ERASEPAGE:
                self._erase_page(value)
            elif value == 1:
                self._erase_all(code=offset == ERASEALL)

    def _erase_page(self, address: int) -> None:
        at = address - self.origin
        if at % PAGE_BYTES or not 0 <= at < len(self._code):
            self.refused += 1
            return
        self._code[at : at + PAGE_BYTES] = bytes([ERASED]) * PAGE_BYTES
        self._changes[address] = PAGE_BYTES
        self.erased_pages += 1

    def _erase_all(self, *, code: bool) -> None:
        self._user[:] = bytes([ERASED]) * len(self._user)
        self._changes[UICR] = len(self._user)
        if code:
            self._code[:] = bytes([ERASED]) * len(self._code)
            self._changes[self.origin] = len(self._code)
            self.erased_pages += len(self._code) // PAGE_BYTES

    def erase_everything(self) -> None:
        """What CTRL-AP does for whoever asks, however CONFIG is set."""
        self._erase_all(code=True)
        self.is_open = True

    def store(self, address: int, data: bytes) -> None:
        """A write to flash: a word's zeros are added to those it has."""
        in_user = UICR <= address < UICR + UICR_BYTES
        memory, at = (
            (self._user, address - UICR) if in_user else (self._code, address - self.origin)
        )
        self._changes.setdefault(address & ~3, 4)
        if self._config != WRITE or len(data) != 4 or address % 4:
            self.refused += 1
            return
        memory[at : at + 4] = bytes(a & b for a, b in zip(memory[at : at + 4], data, strict=True))
        self.programmed_words += 1

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Words written to and pages erased, each once, larger stretches last."""
        changes, self._changes = self._changes, {}
        found = []
        for address, size in sorted(changes.items(), key=lambda item: item[1]):
            in_user = UICR <= address < UICR + UICR_BYTES
            memory, at = (self._user, UICR) if in_user else (self._code, self.origin)
            found.append((address, bytes(memory[address - at : address - at + size])))
        return found

    def take_reset(self) -> bool:
        """True once after CTRL-AP was asked for a reset."""
        asked, self._wants_reset = self._wants_reset, False
        return asked

    def ask_reset(self) -> None:
        """CTRL-AP's soft reset, which leaves an opened access port open."""
        self._wants_reset = self._stays_open = True


class _ControlPort:
    """CTRL-AP: it answers while the chip is locked."""

    def __init__(self, nvmc: Nvmc) -> None:
        self._nvmc = nvmc
        self._reset = self._erase = 0

    def read(self, register: int) -> int:
        return {
            _CTRL_RESET: self._reset,
            _CTRL_ERASEALL: self._erase,
            _CTRL_STATUS: 0,  # ready
            _CTRL_PROTECT: int(self._nvmc.is_open),
            _CTRL_IDR: _CTRL_ID,
        }.get(register, 0)

    def write(self, register: int, value: int) -> None:
        if register == _CTRL_ERASEALL:
            self._erase = value & 1
            if self._erase:
                self._nvmc.erase_everything()
        elif register == _CTRL_RESET:
            if self._reset and not value & 1:  # let go
                self._nvmc.ask_reset()
            self._reset = value & 1


class _Nrf52:
    mcus = ("nRF52840",)
    dp_idcode = 0x2BA01477  # SW-DP of a Cortex-M4

    def controller(self, board: Board, flash: bytes) -> Controller:
        return Nvmc(board, flash)


chip = _Nrf52()
