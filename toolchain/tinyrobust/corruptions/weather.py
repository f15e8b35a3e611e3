"""Weather: snow, frost, fog, and bright sun."""

from __future__ import annotations

import numpy as np

from tinyrobust.corruptions._kind import (
    BITS,
    ONE,
    Int,
    Kind,
    Random,
    UInt8,
    filtered,
    fixed,
    motion,
    normal,
    pixels,
    plasma,
    scale,
)
from tinyrobust.corruptions.blur import zoomed

# mean and deviation of flakes, zoom in hundredths, threshold, reach and sigma of the wind, share
_SNOW = (
    (0.1, 0.2, 100, 0.6, 8, 3.0, 0.95), (0.1, 0.2, 100, 0.5, 10, 4.0, 0.9),
    (0.15, 0.3, 175, 0.55, 10, 4.0, 0.9), (0.25, 0.3, 225, 0.6, 12, 6.0, 0.85),
    (0.3, 0.3, 125, 0.65, 14, 12.0, 0.8),
)  # fmt: skip
_FROST = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))  # of image, of ice
_FOG = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))  # thickness, decay
_BRIGHT = (0.05, 0.1, 0.15, 0.2, 0.3)


def _clouds(image: UInt8, random: Random, decay: float) -> Int:
    """(H, W, 1) in 0..ONE."""
    height, width = image.shape[:2]
    return plasma(random, max(height, width), decay)[:height, :width, None]


def _snow(image: UInt8, strength: int, random: Random) -> UInt8:
    mean, deviation, zoom, threshold, reach, sigma, share = _SNOW[strength - 1]
    flakes = scale(normal(random, (*image.shape[:2], 1)), deviation) + round(mean * ONE)
    flakes = zoomed(flakes, zoom)
    flakes = np.clip(np.where(flakes < round(threshold * ONE), 0, flakes), 0, ONE)
    flakes = filtered(flakes, motion(sigma, reach, int(random.integers(-135, -44))))
    x = fixed(image)
    grey = x.sum(axis=2, keepdims=True) // image.shape[2]
    pale = np.maximum(x, grey * 3 // 2 + (255 * ONE) // 2)
    x = scale(x, share) + scale(pale, 1 - share)
    return pixels(x + 255 * (flakes + flakes[::-1, ::-1]))


def _frost(image: UInt8, strength: int, random: Random) -> UInt8:
    """Ice that is thick along ridges of clouds; the paper lays photographs of frost over."""
    of_image, of_ice = _FROST[strength - 1]
    ridges = ONE - np.abs(2 * _clouds(image, random, 1.6) - ONE)
    ice = 255 * ((ridges * ridges) >> BITS)
    return pixels(scale(fixed(image), of_image) + scale(ice, of_ice))


def _fog(image: UInt8, strength: int, random: Random) -> UInt8:
    thickness, decay = _FOG[strength - 1]
    x = fixed(image)
    most = max(int(image.max()), 1)
    fog = scale(255 * _clouds(image, random, decay), thickness)
    whole = most * ONE + round(255 * thickness * ONE)
    return pixels((x + fog) * (most * ONE) // whole)


def _bright(image: UInt8, strength: int, random: Random) -> UInt8:
    """More value at equal hue and saturation: all channels grow by the largest one's factor."""
    more = round(255 * _BRIGHT[strength - 1])
    x = image.astype(np.int64)
    value = x.max(axis=2, keepdims=True)
    raised = np.minimum(value + more, 255)
    made = (2 * x * raised + value) // np.maximum(2 * value, 1)
    return np.where(value == 0, raised, made).astype(np.uint8)


kinds = (
    Kind("snow", "snow", "weather", _snow),
    Kind("frost", "frost", "weather", _frost),
    Kind("fog", "fog", "weather", _fog),
    Kind("brightness", "brightness", "weather", _bright),
)
