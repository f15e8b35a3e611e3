"""Stage ``flash``: where the flash of virtual boards is kept between runs."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from tinyrobust.boards.schema import Board


def flash_file(board: Board) -> Path:
    """The file that holds the flash of the virtual ``board``, in the user's state folder."""
    return Path(platformdirs.user_state_dir("tinyrobust")) / "virtual" / board.id / "flash.bin"


def elf_file(board: Board) -> Path:
    """A copy of the ELF that was flashed, for the names of functions in fault reports."""
    return flash_file(board).with_name("firmware.elf")
