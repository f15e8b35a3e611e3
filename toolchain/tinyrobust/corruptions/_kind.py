"""What a corruption is, and the arithmetic that they share.

Values are int64 in units of ONE = 2**-16: 255 is ``255 * ONE``. Their sums and products are exact;
a shift rounds to the nearest. Real constants (kernels, tables) are rounded to ONE once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Int = npt.NDArray[np.int64]
Random = np.random.Generator

BITS = 16
ONE = 1 << BITS
STRENGTHS = (1, 2, 3, 4, 5)
GROUPS = ("noise", "blur", "weather", "digital")
_SUMMED = 12


@dataclass(frozen=True)
class Kind:
    """``apply(image, strength, random)``: one uint8 image (H, W, C) to another."""

    name: str
    title: str
    group: str
    apply: Callable[[UInt8, int, Random], UInt8]


def fixed(image: UInt8) -> Int:
    """0..255 in units of ONE."""
    return image.astype(np.int64) << BITS


def scale(x: Int, factor: float) -> Int:
    """``x`` times a constant."""
    return (x * round(factor * ONE) + ONE // 2) >> BITS


def pixels(x: Int) -> UInt8:
    """The nearest of 0..255."""
    return np.clip((x + ONE // 2) >> BITS, 0, 255).astype(np.uint8)


def normal(random: Random, shape: tuple[int, ...]) -> Int:
    """Mean 0, deviation 1: the sum of twelve uniform numbers, which ends at 6 deviations."""
    drawn = random.integers(0, ONE, (_SUMMED, *shape), np.int64)
    return np.asarray(drawn.sum(axis=0) - _SUMMED * (ONE - 1) // 2, np.int64)


def kernel(weights: npt.NDArray[np.float64]) -> Int:
    """Weights of sum 1; what rounding leaves goes to the middle."""
    made = np.rint(weights / weights.sum() * ONE).astype(np.int64)
    made[made.shape[0] // 2, made.shape[1] // 2] += ONE - made.sum()
    return np.asarray(made)


def gaussian(sigma: float, reach: int) -> npt.NDArray[np.float64]:
    """(2 reach + 1) squared."""
    at = np.arange(-reach, reach + 1)
    line = np.exp(-(at**2) / (2 * sigma**2))
    return np.asarray(np.outer(line, line))


def filtered(x: Int, weights: Int) -> Int:
    """``x`` (H, W, C) under ``kernel`` weights, mirrored at the edges."""
    rows, columns = (size // 2 for size in weights.shape)
    padded = np.pad(x, ((rows, rows), (columns, columns), (0, 0)), mode="symmetric")
    total = np.zeros_like(x)
    for i, j in np.argwhere(weights):
        total += weights[i, j] * padded[i : i + x.shape[0], j : j + x.shape[1]]
    return (total + ONE // 2) >> BITS


def sampled(x: Int, rows: Int, columns: Int) -> Int:
    """``x`` (H, W, C) between its pixels, at ``rows`` and ``columns`` (H, W) in units of ONE, held
    at the edges; bilinear."""
    height, width = x.shape[:2]
    rows = np.clip(rows, 0, (height - 1) * ONE)
    columns = np.clip(columns, 0, (width - 1) * ONE)
    top, left = rows >> BITS, columns >> BITS
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, along = (rows - (top << BITS))[..., None], (columns - (left << BITS))[..., None]
    upper = x[top, left] * (ONE - along) + x[top, right] * along
    lower = x[below, left] * (ONE - along) + x[below, right] * along
    upper, lower = (upper + ONE // 2) >> BITS, (lower + ONE // 2) >> BITS
    return np.asarray((upper * (ONE - down) + lower * down + ONE // 2) >> BITS)


def motion(sigma: float, reach: int, degrees: int) -> Int:
    """A kernel of a line in the direction ``degrees``, one-sided and fading."""
    angle = np.deg2rad(degrees)
    weights = np.zeros((2 * reach + 1, 2 * reach + 1))
    for i in range(reach + 1):
        row, column = round(i * float(np.sin(angle))), round(i * float(np.cos(angle)))
        weights[reach + row, reach + column] += np.exp(-(i**2) / (2 * sigma**2))
    return kernel(weights)


def plasma(random: Random, size: int, decay: float) -> Int:
    """(size, size) of clouds in 0..ONE by midpoint displacement (A. Fournier et al., "Computer
    Rendering of Stochastic Models", 1982); displacements fall by ``decay`` from scale to scale."""
    side = 1 << max(1, (size - 1).bit_length())
    field = np.zeros((side, side), np.int64)
    step, reach = side, 100 * ONE
    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        mean = (corners + np.roll(corners, -1, 0) + np.roll(corners, -1, 1)
                + np.roll(np.roll(corners, -1, 0), -1, 1)) >> 2  # fmt: skip
        field[half::step, half::step] = mean + _shift(random, mean.shape, reach)
        middles = field[half::step, half::step]
        for rows, columns, across in ((0, half, 0), (half, 0, 1)):
            along = corners + np.roll(corners, -1, 1 - across)
            beside = middles + np.roll(middles, 1, across)
            mean = (along + beside) >> 2
            field[rows::step, columns::step] = mean + _shift(random, mean.shape, reach)
        step, reach = half, max(1, round(reach / decay))
    field -= field.min()
    return np.asarray((field[:size, :size] * ONE) // max(int(field.max()), 1))


def _shift(random: Random, shape: tuple[int, ...], reach: int) -> Int:
    return random.integers(-reach, reach + 1, shape, np.int64)
