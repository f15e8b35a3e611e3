"""Stage ``virtual``: the chips that the virtual debug probe knows, one file each.

A chip is named like the port of its boards (``firmware/ports/<name>``): adding the file
``<name>.py`` with a ``chip`` puts a probe on all boards of that port. In: a board and what its
flash holds. Out: a ``Controller`` that changes flash by the chip's own rules only.
"""

from __future__ import annotations

from tinyrobust.boards.schema import Board
from tinyrobust.errors import BoardError
from tinyrobust.registry import discover
from tinyrobust.virtual.chips._chip import AccessPort, Chip, Controller

__all__ = ["AccessPort", "Chip", "Controller", "chip_of"]


def chip_of(board: Board) -> Chip:
    """The chip of ``board``. Raises BoardError when the probe does not know it."""
    known: dict[str, Chip] = discover(__name__, "chip")
    if board.port not in known or board.unicorn is None:
        raise BoardError(
            f"board {board.id} has no virtual probe", f"boards of these ports have: "
            f"{', '.join(sorted(known))}",
        )  # fmt: skip
    return known[board.port]
