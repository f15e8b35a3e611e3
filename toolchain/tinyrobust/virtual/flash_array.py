"""Stage ``virtual``: flash memory with the rules of flash memory.

In: a board's flash. Out: bytes that only erasing sets and only programming clears: whole sectors
are erased, whole words programmed, each once. The virtual flasher and the virtual probe write
through it, so an image that was never erased for, or is not padded, is found here.
"""

from __future__ import annotations

from tinyrobust.boards.schema import Board
from tinyrobust.errors import FlashError

ERASED = 0xFF


class FlashArray:
    """The content of a board's flash; addresses are the processor's."""

    def __init__(self, board: Board, content: bytes = b"") -> None:
        flash = board.flash
        self.origin, self.size = flash.origin, flash.length
        self.word = board.flash_word_bytes
        self.sector = board.flash_sector_bytes or self.word
        self.board = board.id
        if len(content) > self.size:
            raise FlashError(
                f"{len(content):,} bytes do not fit {board.id}'s flash of {self.size:,} bytes",
                "build for this board, or take a smaller network",
            )
        self.data = bytearray(content) + bytes([ERASED]) * (self.size - len(content))

    def _offset(self, address: int, size: int, unit: int) -> int:
        offset = address - self.origin
        if offset < 0 or offset + size > self.size:
            raise FlashError(
                f"{address:#010x} is outside {self.board}'s flash "
                f"({self.origin:#010x} to {self.origin + self.size:#010x})",
                "build for this board: tinyrobust build",
            )
        if offset % unit:
            raise FlashError(
                f"{address:#010x} is not a multiple of {unit} bytes",
                "write whole flash words, as the board file gives them",
            )
        return offset

    def erase(self, address: int) -> None:
        """Erase the sector that starts at ``address``."""
        offset = self._offset(address, self.sector, self.sector)
        self.data[offset : offset + self.sector] = bytes([ERASED]) * self.sector

    def is_erased(self, address: int) -> bool:
        """True when the word at ``address`` may be programmed."""
        offset = self._offset(address, self.word, self.word)
        return all(b == ERASED for b in self.data[offset : offset + self.word])

    def program(self, address: int, word: bytes) -> None:
        """Program one word. Raises FlashError when it is not erased, or not a whole word."""
        offset = self._offset(address, len(word), self.word)
        if len(word) != self.word:
            raise FlashError(
                f"{len(word)} bytes are no flash word of {self.board}, which has {self.word}",
                "pad the image",
            )
        if not self.is_erased(address):
            raise FlashError(
                f"the flash word at {address:#010x} was not erased before",
                "erase the sector first; a flasher does that by itself",
            )
        self.data[offset : offset + self.word] = word

    def write(self, address: int, image: bytes) -> None:
        """Erase the sectors under ``image`` and program it word by word."""
        self._offset(address, len(image), self.word)
        first = (address - self.origin) // self.sector
        last = -(-(address - self.origin + len(image)) // self.sector)
        for index in range(first, last):
            self.erase(self.origin + index * self.sector)
        for at in range(0, len(image), self.word):
            self.program(address + at, image[at : at + self.word])
