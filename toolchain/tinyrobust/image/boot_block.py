"""The boot block of chips whose boot ROM wants one: its checksum.

In: a linked ELF with a section ``.tr_boot``, a board with a ``boot_block``. Out: the same ELF with
the section's last word set to the CRC of the bytes before it (``boards/boot_block.py``).
"""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile

from tinyrobust.boards import Board
from tinyrobust.boards.boot_block import CRC_BYTES, crc
from tinyrobust.errors import BuildError

SECTION = ".tr_boot"


def seal(elf: Path, board: Board) -> None:
    """Write the CRC into the boot block of ``elf``; nothing when ``board`` has none.

    Raises BuildError when the section is missing, is not of the board's size or not at the start of
    the image.
    """
    if board.boot_block is None:
        return
    with elf.open("r+b") as file:
        section = ELFFile(file).get_section_by_name(SECTION)
        size = section["sh_size"] if section else 0
        if section is None or size != board.boot_block.bytes or (
            section["sh_addr"] != board.image_origin
        ):  # fmt: skip
            raise BuildError(
                f"{elf}: section {SECTION} has {size} B, the boot block of {board.id} has "
                f"{board.boot_block.bytes} B at {board.image_origin:#010x}",
                f"see firmware/ports/{board.port}/boot_block.S",
            )
        value = crc(section.data()[:-CRC_BYTES])
        file.seek(section["sh_offset"] + size - CRC_BYTES)
        file.write(value.to_bytes(CRC_BYTES, "little"))
