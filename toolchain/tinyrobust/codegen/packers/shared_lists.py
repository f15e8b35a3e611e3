"""Packing ``shared_lists``: two output channels as four rows of ``lists``, as
``firmware/runtime/lists.hpp`` specifies: inputs whose weights are equal, opposite (with the first
channel's sign), not zero in the first only, in the second only. A last odd channel is one row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyrobust.codegen.packers.lists import pack_row


def pack(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """uint32 words, pair of channels after pair."""
    rows = weights.reshape(weights.shape[0], -1)
    words = []
    for first, second in zip(rows[0::2], rows[1::2], strict=False):
        both = first * second
        words += [
            pack_row(np.where(both > 0, first, 0)),
            pack_row(np.where(both < 0, first, 0)),
            pack_row(np.where(second == 0, first, 0)),
            pack_row(np.where(first == 0, second, 0)),
        ]
    if len(rows) % 2:
        words.append(pack_row(rows[-1]))
    return np.concatenate(words)
