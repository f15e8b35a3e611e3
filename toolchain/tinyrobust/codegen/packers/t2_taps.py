"""Packing ``t2_taps``: ternary depthwise weights in two bits, tap after tap.

Per tap the channels' codes ``w + 1``, sixteen a word, low bits first; ``depthwise_conv2d_t2_u8``
reads it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PER_WORD = 16


def pack(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """uint32 words of weights (C, KH, KW)."""
    taps = weights.reshape(len(weights), -1).T
    taps = np.pad(taps, ((0, 0), (0, -taps.shape[1] % PER_WORD)))
    codes = (taps.astype(np.int64) + 1).astype(np.uint64).reshape(-1, PER_WORD)
    shifts = np.arange(PER_WORD, dtype=np.uint64) * np.uint64(2)
    return (codes << shifts).sum(axis=1, dtype=np.uint64).astype(np.uint32)
