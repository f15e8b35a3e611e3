"""Class codes of ternary weights, as ``firmware/runtime/class_codes.hpp`` specifies them.

In: trits (OC, ...). Out: per block of K output channels the code of every input: the rank of its
pattern of K trits in the reflected ternary Gray code. Ranks r and 3**K - 1 - r are each other's
negatives; the middle one is the pattern of zeros.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BITS = {1: 2, 2: 4, 3: 5, 4: 8}  # of one code, by K
PER_WORD = {1: 16, 2: 8, 3: 6, 4: 4}  # codes in 32 bits


def codes(weights: npt.NDArray[np.int8], share: int) -> npt.NDArray[np.int64]:
    """Ranks (blocks, inputs) of blocks of ``share`` channels; the last one is filled with zeros."""
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    rows = np.pad(rows, ((0, -len(rows) % share), (0, 0)))
    trits = rows.reshape(-1, share, rows.shape[1])
    rank = np.zeros(trits[:, 0].shape, np.int64)
    for j in range(share - 1, -1, -1):
        below = 3 ** (share - 1 - j)
        digit = trits[:, j] + 1
        rank = digit * below + np.where(digit % 2 == 1, below - 1 - rank, rank)
    return rank


def padded(inputs: int, share: int) -> int:
    """Codes of a block in flash: whole words."""
    return -(-inputs // PER_WORD[share]) * PER_WORD[share]
