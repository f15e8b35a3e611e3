"""Packing ``t2_rows``: ternary weights in two bits; ``firmware/runtime/t2.hpp`` specifies it.

Each output channel is one row that fills whole 32-bit words. Within a row every kernel row is
padded to quads of four inputs; quad ``q`` of a word holds inputs (0, 2) as pair ``2q`` and (1, 3)
as pair ``2q + 1``; pair ``k`` has its codes ``w + 1`` at bits ``2k`` and ``16 + 2k``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

QUADS_PER_WORD = 4
_SHIFTS = np.array([[0, 2, 16, 18], [4, 6, 20, 22], [8, 10, 24, 26], [12, 14, 28, 30]], np.uint64)


def pack(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """uint32 words, row after row."""
    outputs = weights.shape[0]
    rows = weights.reshape(outputs, weights.shape[1] if weights.ndim == 4 else 1, -1)
    rows = _padded(rows, 4).reshape(outputs, -1)  # whole quads in every kernel row
    rows = _padded(rows, 4 * QUADS_PER_WORD)  # whole words in every output
    codes = (rows.astype(np.int64) + 1).astype(np.uint64).reshape(-1, QUADS_PER_WORD, 4)
    # inputs 0, 1, 2, 3 of quad q go to pairs 2q low, 2q + 1 low, 2q high, 2q + 1 high
    return (codes << _SHIFTS).sum(axis=(1, 2), dtype=np.uint64).astype(np.uint32)


def _padded(array: npt.NDArray[np.int8], multiple: int) -> npt.NDArray[np.int8]:
    """Zeros after the last axis, up to a multiple."""
    width = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % multiple)]
    return np.pad(array, width)
