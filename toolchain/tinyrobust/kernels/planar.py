"""The layout ``planar4`` in numpy: what ``firmware/runtime/planar.hpp`` specifies.

In: a tensor's integers (H, W, C), or the elements that a device left in its buffer. Out: the other.
A u8 tensor is a row of zeros, H rows and a row of zeros; a row is its channels one after the other,
each ``lane_words(W) + 2`` words; with S = lane_words(W), byte l of word x + 1 is pixel l * S + x,
for x from -1 to S, zero outside the image. An i16 tensor has no borders: blocks of four channels,
rows, x from 0 to S - 1, the four channels, and of each the pixels x, x + 2S, x + S, x + 3S.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LANES = 4
CHANNELS = 4  # of a block of an i16 tensor
_ORDER16 = (0, 2, 1, 3)  # lanes in the order in which an i16 tensor holds them

Array = npt.NDArray[Any]


def lane_words(width: int) -> int:
    """Words of one lane, S."""
    return -(-width // LANES)


def row_words(width: int) -> int:
    """Words of one row of one channel of a u8 tensor, borders included."""
    return lane_words(width) + 2


def count(shape: tuple[int, ...], type_: str) -> int:
    """Elements in the buffer of a ``u8`` or ``i16`` tensor of ``shape`` (H, W, C)."""
    height, width, channels = shape
    if type_ == "i16":
        return -(-channels // CHANNELS) * CHANNELS * height * lane_words(width) * LANES
    return (height + 2) * channels * row_words(width) * LANES


def pack(values: Array) -> Array:
    """The buffer, flat, of the integers ``values`` (H, W, C), uint8 or int16."""
    height, width, channels = values.shape
    lane = lane_words(width)
    if values.dtype == np.int16:
        blocks = -(-channels // CHANNELS)
        wide = np.zeros((height, LANES * lane, blocks * CHANNELS), np.int16)
        wide[:, :width, :channels] = values
        lanes = wide.reshape(height, LANES, lane, blocks, CHANNELS)[:, list(_ORDER16)]
        return lanes.transpose(3, 0, 2, 4, 1).reshape(-1)
    wide = np.zeros((height + 2, LANES * lane + 2, channels), np.uint8)
    wide[1:-1, 1 : width + 1] = values
    pixel = np.arange(LANES)[None] * lane + np.arange(lane + 2)[:, None]  # from x = -1: + 1
    return wide[:, pixel].transpose(0, 3, 1, 2).reshape(-1)


def unpack(buffer: Array, shape: tuple[int, ...]) -> Array:
    """The integers (H, W, C) in ``buffer`` (flat, uint8 or int16), borders left out."""
    height, width, channels = shape
    lane = lane_words(width)
    if buffer.dtype == np.int16:
        parts = buffer.reshape(-1, height, lane, CHANNELS, LANES)
        lanes = parts[..., list(_ORDER16)].transpose(1, 4, 2, 0, 3)
        return lanes.reshape(height, LANES * lane, -1)[:, :width, :channels]
    parts = buffer.reshape(height + 2, channels, lane + 2, LANES)[1:-1, :, 1:-1]
    return parts.transpose(0, 3, 2, 1).reshape(height, LANES * lane, channels)[:, :width]
