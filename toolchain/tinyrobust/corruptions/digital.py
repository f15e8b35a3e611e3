"""Digital: contrast, stretched film, coarse pixels, JPEG."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tinyrobust.corruptions._kind import (
    BITS,
    ONE,
    Int,
    Kind,
    Random,
    UInt8,
    filtered,
    fixed,
    gaussian,
    kernel,
    pixels,
    sampled,
    scale,
)

_CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)
# stretch, sigma of its field, reach of the corners: of the side
_ELASTIC = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03))  # fmt: skip
_PIXELS = (0.95, 0.9, 0.85, 0.75, 0.65)
_QUALITY = (80, 65, 58, 50, 40)
# ITU-T T.81, tables K.1 and K.2, row by row.
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *([99] * 32),
)  # fmt: skip
_BLOCK = 8
_DCT_BITS = 13


def _contrast(image: UInt8, strength: int, random: Random) -> UInt8:
    x = fixed(image)
    mean = x.sum(axis=(0, 1)) // x[..., 0].size
    return pixels(scale(x - mean, _CONTRAST[strength - 1]) + mean)


def _elastic(image: UInt8, strength: int, random: Random) -> UInt8:
    """A smooth random field moves every pixel, and a random affine map all of them."""
    stretch, sigma, corners = _ELASTIC[strength - 1]
    height, width = image.shape[:2]
    side = min(height, width)
    grid = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    rows, columns = (axis.astype(np.int64) << BITS for axis in grid)
    reach = round(corners * side * ONE)
    a, b, c, d, e, f = (int(v) for v in random.integers(-reach, reach + 1, 6))
    down, along = grid[0].astype(np.int64), grid[1].astype(np.int64)
    rows = rows + a + (b * down + c * along) // side
    columns = columns + d + (e * down + f * along) // side
    if stretch:
        field = random.integers(-ONE, ONE + 1, (height, width, 2), np.int64)
        spread = max(sigma * side, 0.5)
        weights = kernel(gaussian(spread, min(int(2 * spread) + 1, side // 2)))
        field = scale(filtered(field, weights), stretch * side)
        rows, columns = rows + field[..., 0], columns + field[..., 1]
    return pixels(sampled(fixed(image), rows, columns))


def _pixelate(image: UInt8, strength: int, random: Random) -> UInt8:
    """Averaged into fewer pixels and drawn as large again, by areas."""
    share = _PIXELS[strength - 1]
    x = fixed(image)
    for axis, size in enumerate(image.shape[:2]):
        small = max(1, int(size * share))
        x = _resized(_resized(x, axis, small), axis, size)
    return pixels(x)


def _resized(x: Int, axis: int, size: int) -> Int:
    """Means over equal parts of an axis."""
    old = x.shape[axis]
    first, last = np.arange(size)[:, None] * old, np.arange(old)[None] * size
    overlap = np.minimum(first + old, last + size) - np.maximum(first, last)
    weights = np.maximum(overlap, 0).astype(np.int64)  # each row adds up to old
    moved = np.moveaxis(np.tensordot(weights, x, axes=(1, axis)), 0, axis)
    return np.asarray((moved + old // 2) // old)


def _jpeg(image: UInt8, strength: int, random: Random) -> UInt8:
    """What JPEG loses (ITU-T T.81): colours apart (T.871), 8x8 cosine transforms, quantised by the
    tables of its annex K at a quality as the IJG's library scales them; no subsampling."""
    height, width, channels = image.shape
    padded = np.pad(
        image, ((0, -height % _BLOCK), (0, -width % _BLOCK), (0, 0)), mode="edge"
    )  # fmt: skip
    x = fixed(padded)
    x = _to_ycc(x) if channels == 3 else x
    planes = [
        _quantised(x[..., c], _table(_QUALITY[strength - 1], chroma=channels == 3 and c > 0))
        for c in range(channels)
    ]
    made = np.stack(planes, axis=2)
    made = _from_ycc(made) if channels == 3 else made
    return pixels(made[:height, :width])


def _to_ycc(x: Int) -> Int:
    red, green, blue = (x[..., c] for c in range(3))
    y = scale(red, 0.299) + scale(green, 0.587) + scale(blue, 0.114)
    cb = scale(blue - y, 0.5 / (1 - 0.114)) + 128 * ONE
    cr = scale(red - y, 0.5 / (1 - 0.299)) + 128 * ONE
    return np.stack([y, cb, cr], axis=2)


def _from_ycc(x: Int) -> Int:
    y, cb, cr = x[..., 0], x[..., 1] - 128 * ONE, x[..., 2] - 128 * ONE
    red, blue = y + scale(cr, 1.402), y + scale(cb, 1.772)
    green = y - scale(cb, 0.344136) - scale(cr, 0.714136)
    return np.stack([red, green, blue], axis=2)


@cache
def _table(quality: int, *, chroma: bool) -> npt.NDArray[np.int64]:
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = np.array(_CHROMINANCE if chroma else _LUMINANCE, np.int64).reshape(_BLOCK, _BLOCK)
    return np.clip((table * factor + 50) // 100, 1, 255)


@cache
def _cosines() -> npt.NDArray[np.int64]:
    """The orthonormal DCT-II of 8 values, in units of 2**-13."""
    k, n = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)[None]
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * _BLOCK)) * np.where(k == 0, 0.5**0.5, 1.0) / 2
    return np.rint(matrix * (1 << _DCT_BITS)).astype(np.int64)


def _quantised(plane: Int, table: npt.NDArray[np.int64]) -> Int:
    rows, columns = (size // _BLOCK for size in plane.shape)
    blocks = (plane - 128 * ONE).reshape(rows, _BLOCK, columns, _BLOCK).transpose(0, 2, 1, 3)
    c, half = _cosines(), 1 << (_DCT_BITS - 1)
    found = (((c @ blocks + half) >> _DCT_BITS) @ c.T + half) >> _DCT_BITS
    step = table * ONE
    kept = np.sign(found) * ((np.abs(found) + step // 2) // step) * step
    made = (((c.T @ kept + half) >> _DCT_BITS) @ c + half) >> _DCT_BITS
    return np.asarray(made.transpose(0, 2, 1, 3).reshape(plane.shape) + 128 * ONE)


kinds = (
    Kind("contrast", "low contrast", "digital", _contrast),
    Kind("elastic", "elastic", "digital", _elastic),
    Kind("pixelate", "coarse pixels", "digital", _pixelate),
    Kind("jpeg", "JPEG", "digital", _jpeg),
)
