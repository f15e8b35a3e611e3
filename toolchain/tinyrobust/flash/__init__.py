"""Stage ``flash``: program a board and prove that it runs what was built.

In: an image and a board. Out: a ``Flashed``: which flasher, and the SHA-256 that the device found
over its own flash, equal to the image's. A flasher is one file here that defines ``flasher``.
"""

from __future__ import annotations

from tinyrobust.flash._tool import shell
from tinyrobust.flash.every import Outcome, find_targets, flash_all
from tinyrobust.flash.flash import Flashed, ReadHash, find_flasher, flash, flashers
from tinyrobust.flash.state import flash_file

__all__ = [
    "Flashed",
    "Outcome",
    "ReadHash",
    "find_flasher",
    "find_targets",
    "flash",
    "flash_all",
    "flash_file",
    "flashers",
    "shell",
]
