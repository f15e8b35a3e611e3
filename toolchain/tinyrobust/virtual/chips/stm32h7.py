"""Stage ``virtual``: the flash controller of an STM32H7, as flash algorithms meet it.

In: register accesses and writes to flash addresses. Out: a ``FlashArray`` that changes only by the
rules of RM0433, "Embedded flash memory": unlock with two keys, erase sectors or banks, program
whole 32-byte words with PG set. What breaks them is refused and sets an error flag. Silicon lets a
word be programmed twice and leaves a word whose ECC is wrong; here it is refused (PGSERR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinyrobust.boards.schema import Board
from tinyrobust.errors import FlashError
from tinyrobust.virtual.chips._chip import AccessPort, Controller
from tinyrobust.virtual.flash_array import FlashArray

BASE, SIZE = 0x52002000, 0x200
_BANK = 0x100  # registers of bank 2 follow those of bank 1
_KEYR, _CR, _SR, _CCR = 0x04, 0x0C, 0x10, 0x14
_KEYS = (0x45670123, 0xCDEF89AB)
LOCK, PG, SER, BER, FW, START = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 7
EOP, PGSERR, STRBERR, INCERR = 1 << 16, 1 << 18, 1 << 19, 1 << 21
_CR_RESET = 0x31
_OTHER = {0x18: 0x1, 0x1C: 0xAA00, 0x20: 0xAA00}  # OPTCR locked; RDP level 0


@dataclass
class _Bank:
    control: int = _CR_RESET
    status: int = 0
    keys: int = 0  # how many keys were right so far
    shut: bool = False  # a wrong key shuts the bank until the next reset
    at: int = 0  # the word being filled
    buffer: dict[int, int] = field(default_factory=dict)  # offset -> byte


class FlashController:
    """Two banks of flash behind their registers."""

    def __init__(self, array: FlashArray) -> None:
        self.array = array
        self.ports: Mapping[int, AccessPort] = {}
        self.others: Mapping[int, bytearray] = {}
        self.is_open = True
        self._half = array.size // 2
        self._touched: set[int] = set()  # words, -1: everything
        self.erased_sectors = self.programmed_words = self.refused = 0
        self.reset()

    def reset(self) -> None:
        """System reset: locked again, write buffers empty."""
        self._banks = (_Bank(), _Bank())

    @property
    def flash(self) -> bytes:
        """What the flash holds."""
        return bytes(self.array.data)

    def registers(self) -> tuple[int, int]:
        """Where they are."""
        return BASE, SIZE

    def take_reset(self) -> bool:
        """No access port resets this chip."""
        return False

    def take_changes(self) -> list[tuple[int, bytes]]:
        """Words that were written to, or everything after an erasure."""
        origin, word = self.array.origin, self.array.word
        touched, self._touched = self._touched, set()
        if -1 in touched:
            return [(origin, self.flash)]
        return [(at, bytes(self.array.data[at - origin : at - origin + word])) for at in touched]

    def read(self, offset: int) -> int:
        """A register, by its offset from ``BASE``."""
        bank, register = self._banks[offset // _BANK], offset % _BANK
        if register == _CR:
            return bank.control
        if register == _SR:
            return bank.status
        return _OTHER.get(register, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register, by its offset from ``BASE``."""
        number, register = divmod(offset, _BANK)
        bank = self._banks[number]
        if register == _KEYR:
            self._unlock(bank, value)
        elif register == _CCR:
            bank.status &= ~value
        elif register == _CR and not (bank.control & LOCK and not value & LOCK):
            if bank.control & LOCK:
                return
            bank.control = value & ~START
            if value & START:
                self._start(number, bank, value)
            if value & FW and bank.buffer:  # force-write: the rest of the word is ones
                self._program(bank)
                bank.control &= ~FW

    def _unlock(self, bank: _Bank, value: int) -> None:
        if bank.shut:
            return
        if value != _KEYS[bank.keys]:
            bank.shut = True
            return
        bank.keys += 1
        if bank.keys == len(_KEYS):
            bank.keys = 0
            bank.control &= ~LOCK

    def _start(self, number: int, bank: _Bank, value: int) -> None:
        first = self.array.origin + number * self._half
        if value & BER:
            sectors = range(first, first + self._half, self.array.sector)
        elif value & SER:
            sector = first + (value >> 8 & 7) * self.array.sector
            sectors = range(sector, sector + 1)
        else:
            self._refuse(bank, PGSERR)
            return
        for sector in sectors:
            self.array.erase(sector)
            self.erased_sectors += 1
            self._touched.add(-1)
        bank.status |= EOP

    def store(self, address: int, data: bytes) -> None:
        """A write to a flash address: collected until its word is full."""
        bank = self._banks[(address - self.array.origin) // self._half]
        word = address & -self.array.word
        self._touched.add(word)
        if bank.control & LOCK or not bank.control & PG:
            self._refuse(bank, PGSERR)
            return
        if bank.buffer and bank.at != word:
            self._refuse(bank, INCERR)
            bank.buffer.clear()
        bank.at = word
        for i, byte in enumerate(data):
            offset = address + i - word
            if offset in bank.buffer or offset >= self.array.word:
                self._refuse(bank, STRBERR)
                return
            bank.buffer[offset] = byte
        if len(bank.buffer) == self.array.word:
            self._program(bank)

    def _program(self, bank: _Bank) -> None:
        word = bytes(bank.buffer.get(i, 0xFF) for i in range(self.array.word))
        bank.buffer.clear()
        try:
            self.array.program(bank.at, word)
        except FlashError:
            self._refuse(bank, PGSERR)
            return
        self.programmed_words += 1
        bank.status |= EOP

    def _refuse(self, bank: _Bank, flag: int) -> None:
        self.refused += 1
        bank.status |= flag


class _Stm32H7:
    # 128-Kbyte sectors in two banks (RM0433, RM0399); an STM32H7A3 has others (RM0455)
    mcus = ("STM32H743", "STM32H747", "STM32H753")
    dp_idcode = 0x6BA02477  # SW-DP (RM0433, "Debug infrastructure")

    def controller(self, board: Board, flash: bytes) -> Controller:
        return FlashController(FlashArray(board, flash))


chip = _Stm32H7()
