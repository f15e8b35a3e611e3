"""Corruptions: what happens to images without an attacker, in the kinds of CIFAR-10-C.

In: uint8 images (N, H, W, C), a kind, a strength 1 to 5, a seed. Out: corrupted uint8 images, bit
for bit the same on every computer. D. Hendrycks, T. Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", ICLR 2019 (arXiv:1903.12261), appendix B; the
kinds and strengths are those of its CIFAR-10-C, the arithmetic is ours: integers in units of
2**-16, whose rounding no processor decides. Images differ from that data set's in noise drawn and
in rounding, and frost is a computed texture where the paper has photographs: figures are to be
compared with each other, not with published ones to the tenth of a point.

``registry.discover`` finds every module here that defines ``kinds``.
"""

from __future__ import annotations

import zlib

import numpy as np

from tinyrobust.corruptions._kind import GROUPS, STRENGTHS, Kind, UInt8
from tinyrobust.errors import TinyRobustError
from tinyrobust.registry import discover, nearest

__all__ = ["GROUPS", "STRENGTHS", "Kind", "corrupt", "get", "names"]


def names() -> list[str]:
    """Names of all kinds, group by group."""
    return list(_kinds())


def get(name: str) -> Kind:
    """The kind called ``name``; raises TinyRobustError with the nearest known name."""
    found = _kinds()
    if name not in found:
        raise TinyRobustError(f"no corruption '{name}'", nearest(name, found))
    return found[name]


def corrupt(name: str, images: UInt8, strength: int, *, seed: int = 0, first: int = 0) -> UInt8:
    """``images`` corrupted; ``first`` is the number of the first of them in its data set.

    An image's result depends on itself, its number and the other arguments alone. Raises
    TinyRobustError for an unknown kind or strength, or for images of another shape or type.
    """
    kind = get(name)
    if strength not in STRENGTHS:
        raise TinyRobustError(f"strength {strength} is none of 1 to 5", "give one of them")
    if images.dtype != np.uint8 or images.ndim != 4:
        raise TinyRobustError(
            f"images are {images.dtype} {images.shape}, corruptions take uint8 (N, H, W, C)",
            "corrupt pictures; features of sound are not",
        )
    mark = zlib.crc32(name.encode())
    made = [
        kind.apply(image, strength, np.random.default_rng([seed, mark, strength, first + i]))
        for i, image in enumerate(images)
    ]
    return np.stack(made) if made else images.copy()


def _kinds() -> dict[str, Kind]:
    every = [kind for kinds in discover(__name__, "kinds").values() for kind in kinds]
    every.sort(key=lambda kind: (GROUPS.index(kind.group), kind.name))
    return {kind.name: kind for kind in every}
