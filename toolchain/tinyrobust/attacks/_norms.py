"""Distances between uint8 images, and the nearest integers inside a ball around one.

In: images (N, H, W, C) uint8 and what an attack made of them, any real dtype. Out: distances in
1/255, Linf or L2 over all values of an image; rounded images within a size and the valid range.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

NORMS = ("linf", "l2")

UInt8 = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]


def distance(a: npt.NDArray[Any], b: npt.NDArray[Any], norm: str) -> Float64:
    """Distance (N,) of each image of ``a`` from its counterpart in ``b``, in 1/255."""
    difference = a.astype(np.float64) - b.astype(np.float64)
    difference = difference.reshape(len(a), math.prod(a.shape[1:]))
    if norm == "linf":
        return np.abs(difference).max(axis=1, initial=0.0)
    return np.asarray(np.sqrt((difference**2).sum(axis=1)))


def within(
    made: UInt8, images: UInt8, eps_255: float, lo: int = 0, hi: int = 255, norm: str = "linf"
) -> bool:
    """Whether ``made`` is uint8, in ``lo..hi``, and at most ``eps_255`` from ``images``."""
    if made.dtype != np.uint8 or made.shape != images.shape:
        return False
    if not made.size:
        return True
    if not (lo <= int(made.min()) and int(made.max()) <= hi):
        return False
    return bool((distance(made, images, norm) <= eps_255 * (1 + 1e-12)).all())


def into_ball(
    made: npt.NDArray[Any], images: UInt8, eps_255: float, norm: str, lo: int = 0, hi: int = 255
) -> UInt8:
    """``made`` as integers in ``lo..hi`` within ``eps_255`` of ``images``.

    Linf: rounded, then clipped. L2: clipped, shortened to the ball's radius where longer, rounded;
    where rounding leaves the ball, the values that it moved furthest outwards are moved inwards
    until it is inside, which always ends, since values rounded inwards only are inside.
    """
    wide = images.astype(np.int16)
    if norm == "linf":
        size = int(np.floor(eps_255))
        low, high = np.maximum(wide - size, lo), np.minimum(wide + size, hi)
        return np.asarray(np.clip(np.rint(made), low, high), np.uint8)
    delta = np.clip(np.asarray(made, np.float64), lo, hi) - wide
    flat = delta.reshape(len(images), -1)
    length = np.sqrt((flat**2).sum(axis=1))
    flat = flat * np.minimum(1.0, eps_255 / np.maximum(length, 1e-12))[:, None]
    whole = np.rint(flat)
    for row in np.flatnonzero((whole**2).sum(axis=1) > eps_255**2):
        _shorten(whole[row], flat[row], eps_255**2)
    return np.asarray(wide + whole.reshape(images.shape), np.uint8)


def _shorten(whole: Float64, exact: Float64, most: float) -> None:
    """Move values of ``whole`` that were rounded outwards inwards by 1, in place."""
    outwards = np.abs(whole) - np.abs(exact)
    order = np.argsort(-outwards, kind="stable")
    order = order[outwards[order] > 0]
    saved = np.cumsum(2 * np.abs(whole[order]) - 1)
    needed = (whole**2).sum() - most
    count = int(np.searchsorted(saved, needed)) + 1
    whole[order[:count]] -= np.sign(whole[order[:count]])
