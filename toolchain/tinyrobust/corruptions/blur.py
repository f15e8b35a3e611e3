"""Blur: out of focus, through frosted glass, moving, and moving closer."""

from __future__ import annotations

import numpy as np

from tinyrobust.corruptions._kind import (
    ONE,
    Int,
    Kind,
    Random,
    UInt8,
    filtered,
    fixed,
    gaussian,
    kernel,
    motion,
    pixels,
    sampled,
)

_DISK = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))  # radius, smoothing
_GLASS = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))  # sigma, rounds of swaps
_MOTION = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))  # reach, sigma
_ZOOM = (106, 111, 116, 121, 126)  # up to, in hundredths


def _defocus(image: UInt8, strength: int, random: Random) -> UInt8:
    radius, sigma = _DISK[strength - 1]
    at = np.arange(-3, 4)
    disk = (at[:, None] ** 2 + at[None] ** 2 <= radius**2).astype(np.float64)
    return pixels(filtered(filtered(fixed(image), kernel(disk)), kernel(gaussian(sigma, 1))))


def _glass(image: UInt8, strength: int, random: Random) -> UInt8:
    """Pixels change places with a neighbour, between two blurs."""
    sigma, rounds = _GLASS[strength - 1]
    weights = kernel(gaussian(sigma, 2))
    made = filtered(fixed(image), weights)
    height, width = image.shape[:2]
    for _ in range(rounds):
        moves = random.integers(-1, 1, (height, width, 2))
        for y in range(height - 1, 0, -1):
            for x in range(width - 1, 0, -1):
                row, column = y + moves[y, x, 0], x + moves[y, x, 1]
                kept = made[y, x].copy()
                made[y, x] = made[row, column]
                made[row, column] = kept
    return pixels(filtered(made, weights))


def _motion(image: UInt8, strength: int, random: Random) -> UInt8:
    reach, sigma = _MOTION[strength - 1]
    return pixels(filtered(fixed(image), motion(sigma, reach, int(random.integers(-45, 46)))))


def _zoom(image: UInt8, strength: int, random: Random) -> UInt8:
    """The mean of the image and of ever larger ones."""
    factors = range(100, _ZOOM[strength - 1])
    total = sum(
        (zoomed(fixed(image), factor) for factor in factors), np.zeros(image.shape, np.int64)
    )
    return pixels(total // len(factors))


def zoomed(x: Int, hundredths: int) -> Int:
    """``x`` larger by that many hundredths, its middle kept."""
    rows, columns = (_toward(size, hundredths) for size in x.shape[:2])
    grid = np.meshgrid(rows, columns, indexing="ij")
    return sampled(x, grid[0], grid[1])


def _toward(size: int, hundredths: int) -> Int:
    twice = 2 * np.arange(size, dtype=np.int64) - (size - 1)
    return np.asarray(((size - 1) * ONE + twice * ONE * 100 // hundredths) // 2)


kinds = (
    Kind("defocus_blur", "defocus", "blur", _defocus),
    Kind("glass_blur", "frosted glass", "blur", _glass),
    Kind("motion_blur", "motion", "blur", _motion),
    Kind("zoom_blur", "zoom", "blur", _zoom),
)
