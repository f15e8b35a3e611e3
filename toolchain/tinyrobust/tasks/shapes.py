"""``shapes``: 32x32 colour images of ten geometric shapes, made from a seed.

Comes in: split and count. Goes out: uint8 images and labels, the same bits everywhere: only
integer arithmetic is used, and randomness is SplitMix64 (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", 2014) of (split, image, position in the image's stream).

A shape of random place, size, tilt and colour stands on a background of another colour with a
slope of brightness; contrast is low and every pixel has noise, so that small perturbations matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import TaskError
from tinyrobust.tasks._task import Images, Labels, Split

SIDE = 32
COUNTS: dict[Split, int] = {"train": 20_000, "test": 4_000}
LABELS = (
    "disc",
    "ring",
    "square",
    "frame",
    "triangle",
    "plus",
    "cross",
    "bars",
    "diamond",
    "crescent",
)
_SEED = 0x5EED_0001
_CHUNK = 1000
_STREAM = 4096  # random words kept apart per image: 32*32*3 for noise, the rest for parameters
_CONTRAST = (26, 60)  # least and largest distance of shape and background, per channel
_NOISE = 26  # pixel noise lies within +-_NOISE
_SLOPE = 24  # background brightness changes by at most +-_SLOPE across the image
# sine and cosine times 256 of -16, -12 .. 16 degrees: a table, so that no libm is asked
_SINE = np.array([-71, -53, -36, -18, 0, 18, 36, 53, 71], np.int32)
_COSINE = np.array([246, 250, 253, 255, 256, 255, 253, 250, 246], np.int32)

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Shapes:
    """The procedural task; see the module's text."""

    name: str = "shapes"
    input_shape: tuple[int, int, int] = (SIDE, SIDE, 3)
    labels: tuple[str, ...] = LABELS

    def where(self) -> str:
        """Nothing is read: the images are made."""
        return "made from a seed"

    def load(self, split: Split, limit: int | None = None) -> tuple[Images, Labels]:
        """Images uint8 [N,32,32,3] and labels int64 [N] of a split (train 20,000, test 4,000)."""
        count = COUNTS[split] if limit is None else limit
        if not 0 <= count <= COUNTS[split]:
            raise TaskError(
                f"shapes has {COUNTS[split]:,} {split} images, not {count:,}",
                "ask for fewer with --samples",
            )
        first = 0 if split == "train" else COUNTS["train"]
        images = np.empty((count, SIDE, SIDE, 3), np.uint8)
        labels = np.empty(count, np.int64)
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            images[start:stop], labels[start:stop] = _render(
                np.arange(first + start, first + stop, dtype=np.uint64)
            )
        return images, labels


task = Shapes()


def _words(index: Words, first: int, count: int) -> Words:
    """Random words ``first .. first+count-1`` of every image's stream: uint64 [N, count]."""
    position = index[:, None] * np.uint64(_STREAM) + np.arange(
        first, first + count, dtype=np.uint64
    )
    z = (position + np.uint64(_SEED << 24)) * np.uint64(0x9E37_79B9_7F4A_7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


def _between(words: Words, low: int, high: int) -> Ints:
    """Each word as an integer in ``low .. high``."""
    span = np.uint64(high - low + 1)
    return ((words >> np.uint64(32)) % span).astype(np.int32) + np.int32(low)


def _render(index: Words) -> tuple[Images, Labels]:
    words = _words(index, SIDE * SIDE * 3, 24)
    label = _between(words[:, 0], 0, len(LABELS) - 1)
    radius = _between(words[:, 1], 64, 104)[:, None, None]  # in 1/8 pixel
    centre_x = _between(words[:, 2], 112, 144)[:, None, None]
    centre_y = _between(words[:, 3], 112, 144)[:, None, None]
    tilt = _between(words[:, 4], 0, len(_SINE) - 1)
    sine, cosine = _SINE[tilt][:, None, None], _COSINE[tilt][:, None, None]
    grid = np.arange(SIDE, dtype=np.int32) * 8 + 4
    x = grid[None, None, :] - centre_x
    y = grid[None, :, None] - centre_y
    u = (x * cosine + y * sine) >> 8
    v = (y * cosine - x * sine) >> 8
    inside = _inside(label, u, v, radius)

    background = _between(words[:, 5:8], 70, 185)
    contrast = _between(words[:, 8:11], *_CONTRAST)
    sign = np.where(words[:, 11:12] >> np.uint64(63) == 0, 1, -1).astype(np.int32)
    shape_colour = background + sign * contrast
    colour = np.where(
        inside[..., None], shape_colour[:, None, None, :], background[:, None, None, :]
    )
    slope_x = _between(words[:, 12], -_SLOPE, _SLOPE)[:, None, None]
    slope_y = _between(words[:, 13], -_SLOPE, _SLOPE)[:, None, None]
    slope = (slope_x * (grid[None, None, :] - 128) + slope_y * (grid[None, :, None] - 128)) >> 8
    noise = _between(_words(index, 0, SIDE * SIDE * 3), -_NOISE, _NOISE)
    pixels = colour + slope[..., None] + noise.reshape(-1, SIDE, SIDE, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8), label.astype(np.int64)


def _inside(label: Ints, u: Ints, v: Ints, radius: Ints) -> npt.NDArray[np.bool_]:
    """Which pixels belong to the shape: bool [N,32,32]; u, v from the centre in 1/8 pixel."""
    r = radius
    across, down = np.abs(u), np.abs(v)
    square = np.maximum(across, down)
    distance = u * u + v * v
    disc = distance <= r * r
    aside = u - r * 4 // 10
    masks = {
        "disc": disc,
        "ring": disc & (distance * 100 >= r * r * 36),
        "square": square * 10 <= r * 9,
        "frame": (square * 10 <= r * 9) & (square * 10 >= r * 5),
        "triangle": (v * 10 <= r * 7) & (2 * across <= v + r),
        "plus": (np.minimum(across, down) * 10 <= r * 3) & (square <= r),
        "cross": (np.minimum(np.abs(u + v), np.abs(u - v)) * 10 <= r * 4) & (square * 10 <= r * 8),
        "bars": (square * 10 <= r * 9) & ((v + 4 * r) * 10 // (r * 4) % 2 == 0),
        "diamond": across + down <= r,
        "crescent": disc & ((aside * aside + v * v) * 100 > r * r * 64),
    }
    result = np.zeros(np.broadcast_shapes(u.shape, v.shape), np.bool_)
    for value, name in enumerate(LABELS):
        chosen = label == value
        result[chosen] = masks[name][chosen]
    return result
