"""Packing ``lists``: the taps with weight -1 and +1; ``firmware/runtime/lists.hpp`` specifies it.

Per output channel: a word with the number of pairs of weight -1 (low half) and +1 (high half),
then the pairs, minus first, each two byte offsets of taps; the tap of zeros fills odd lists.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LANES = 8


def pack(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """uint32 words, channel after channel."""
    rows = weights.reshape(weights.shape[0], -1)
    return np.concatenate([pack_row(row) for row in rows])


def pack_row(row: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """The words of one row of trits."""
    minus, plus = (_pairs(np.flatnonzero(row == sign), row.size) for sign in (-1, 1))
    return np.concatenate([np.array([len(minus) | len(plus) << 16], np.uint32), minus, plus])


def _pairs(taps: npt.NDArray[np.int64], zero: int) -> npt.NDArray[np.uint32]:
    """Two taps' byte offsets a word."""
    if len(taps) % 2:
        taps = np.append(taps, zero)
    offsets = (taps * LANES).astype(np.uint32)
    return offsets[0::2] | offsets[1::2] << np.uint32(16)
