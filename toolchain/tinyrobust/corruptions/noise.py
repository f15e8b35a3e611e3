"""Noise: of a sensor's electronics, of few photons, of bits lost on a wire."""

from __future__ import annotations

from functools import cache

import numpy as np

from tinyrobust.corruptions._kind import ONE, Int, Kind, Random, UInt8, fixed, normal, pixels, scale

_DEVIATION = (0.04, 0.06, 0.08, 0.09, 0.10)  # of the range
_PHOTONS = (500, 250, 100, 75, 50)  # of a white pixel
_LOST = (0.01, 0.02, 0.03, 0.05, 0.07)
_WORD = 1 << 32


def _gaussian(image: UInt8, strength: int, random: Random) -> UInt8:
    return pixels(fixed(image) + scale(normal(random, image.shape), 255 * _DEVIATION[strength - 1]))


def _shot(image: UInt8, strength: int, random: Random) -> UInt8:
    """A Poisson number of photons, from a uniform number by the table of its distribution."""
    photons = _PHOTONS[strength - 1]
    table = _poisson(photons)
    drawn = random.integers(0, _WORD, image.shape, np.int64)
    counts = np.zeros(image.shape, np.int64)
    for value in np.unique(image):
        here = image == value
        counts[here] = np.searchsorted(table[value], drawn[here], side="right")
    return pixels(counts * 255 * ONE // photons)


@cache
def _poisson(photons: int) -> Int:
    """(256, counts): for every pixel value the distribution of its photons, of 2**32."""
    mean = np.arange(256) * photons / 255
    most = photons + 10 * int(photons**0.5) + 10
    term, total = np.exp(-mean), np.zeros((256, most))
    for count in range(most):
        total[:, count] = term + (total[:, count - 1] if count else 0)
        term = term * mean / (count + 1)
    return np.minimum(np.rint(total * _WORD), _WORD).astype(np.int64)


def _impulse(image: UInt8, strength: int, random: Random) -> UInt8:
    """Salt and pepper, half each."""
    drawn = random.integers(0, 2 * ONE, image.shape)
    lost = round(_LOST[strength - 1] * ONE)
    made = np.where(drawn < lost, np.uint8(0), image)
    return np.asarray(np.where((drawn >= lost) & (drawn < 2 * lost), np.uint8(255), made))


kinds = (
    Kind("gaussian_noise", "Gaussian noise", "noise", _gaussian),
    Kind("shot_noise", "shot noise", "noise", _shot),
    Kind("impulse_noise", "impulse noise", "noise", _impulse),
)
