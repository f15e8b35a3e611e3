"""Stage ``virtual``: the chips that the virtual debug probe knows, one file each.

A chip names the microcontrollers that have its flash controller, as board files write them: adding
a file with a ``chip`` puts a probe on all boards with one of these. In: a board and what its flash
holds. Out: a ``Controller`` that changes flash by the chip's own rules only.
"""

from __future__ import annotations

from tinyrobust.boards.schema import Board
from tinyrobust.errors import BoardError
from tinyrobust.registry import discover
from tinyrobust.virtual.chips._chip import AccessPort, Chip, Controller

__all__ = ["AccessPort", "Chip", "Controller", "chip_of", "has_probe"]


def chip_of(board: Board) -> Chip:
    """The chip of ``board``. Raises BoardError when the probe does not know it."""
    known: dict[str, Chip] = discover(__name__, "chip")
    for chip in known.values():
        if board.mcu.startswith(chip.mcus) and board.unicorn is not None:
            return chip
    raise BoardError(
        f"board {board.id} has no virtual probe, which knows no {board.mcu}",
        f"it knows {', '.join(sorted(mcu for chip in known.values() for mcu in chip.mcus))}",
    )


def has_probe(board: Board) -> bool:
    """True when the virtual probe knows the chip of ``board``."""
    try:
        chip_of(board)
    except BoardError:
        return False
    return True
