"""The contract of every attack, kept in one place.

In: a Victim, images, labels, size, seed. Out: Crafted. The base class skips images that are
misclassified already, derives the seed, rounds to the input's integers within the size and the
valid range, checks that, and asks the Victim which images it now gets wrong.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._victim import Int64, UInt8, Victim
from tinyrobust.errors import TinyRobustError

Bool = npt.NDArray[np.bool_]
Progress = Callable[[float], None]  # called with the fraction done, 0..1


@dataclass(frozen=True)
class Crafted:
    """What an attack made of N images.

    ``skipped``: misclassified before the attack, returned unchanged. ``success``: classified
    correctly before and wrongly after. ``queries``: images shown to the Victim by the attack,
    forward or with gradient, per image.
    """

    images: UInt8
    success: Bool
    skipped: Bool
    queries: Int64


class Attack(ABC):
    """An untargeted Linf attack. Subclasses state what they are and write ``craft``."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    kind: ClassVar[str]  # "white-box", "black-box" or "floor"
    strong: ClassVar[bool] = False  # expected to beat every black-box attack of its size
    needs_art: ClassVar[bool] = False

    @abstractmethod
    def craft(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        eps_255: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> npt.NDArray[Any]:
        """Perturbed images (N, H, W, C), any real dtype, of correctly classified ``images``.

        They are rounded and clipped afterwards; ``rng`` is the only source of randomness.
        """

    @abstractmethod
    def parameters(self, eps_255: int) -> dict[str, Any]:
        """Everything but images, size and seed that the result depends on, as plain data."""

    def check_available(self) -> None:
        """Raise TinyRobustError when the attack needs a package that is not installed."""
        if self.needs_art:
            from tinyrobust.attacks import _art

            _art.check_installed(self.name)

    def run(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        *,
        eps_255: int,
        seed: int,
        first: int = 0,
        progress: Progress = lambda fraction: None,
    ) -> Crafted:
        """Attack ``images`` uint8 (N, H, W, C) with perturbations of at most ``eps_255``/255.

        ``first``: position of the first image in a larger set, so that batches differ in their
        randomness. The result is a function of the arguments alone. Raises TinyRobustError for
        a size outside 0..255, or when a subclass returns something that is not N images.
        """
        if not 0 <= eps_255 <= 255:
            raise TinyRobustError(f"eps {eps_255} is not in 0..255", "give eps in 1/255, as 2 or 8")
        result = images.copy()
        queries = np.zeros(len(images), np.int64)
        clean = _predict(victim, images)
        skipped = clean != labels
        todo = np.flatnonzero(~skipped)
        if todo.size and eps_255:
            rng = np.random.default_rng([seed, first, zlib.crc32(self.name.encode()), eps_255])
            victim.begin(len(todo))
            made = self.craft(victim, images[todo], labels[todo], eps_255, rng, progress)
            queries[todo] = victim.queries
            result[todo] = self._round(made, images[todo], eps_255, victim)
        success = ~skipped & (_predict(victim, result) != labels)
        progress(1.0)
        return Crafted(result, success, skipped, queries)

    def _round(self, made: npt.NDArray[Any], images: UInt8, eps_255: int, victim: Victim) -> UInt8:
        if made.shape != images.shape or not np.isfinite(made).all():
            raise TinyRobustError(
                f"attack '{self.name}' returned {made.shape} for images {images.shape}, "
                "or values that are not finite",
                "the attack's craft() must return one finite image for each image",
            )
        low, high = _box(images, eps_255, victim)
        rounded = np.clip(np.rint(made), low, high).astype(np.uint8)
        if not within(rounded, images, eps_255, victim.lo, victim.hi):
            raise AssertionError(f"attack '{self.name}': rounding left the norm")
        return rounded


def within(made: UInt8, images: UInt8, eps_255: int, lo: int = 0, hi: int = 255) -> bool:
    """Whether ``made`` is uint8, in ``lo..hi``, and at most ``eps_255`` from ``images``."""
    if made.dtype != np.uint8 or made.shape != images.shape:
        return False
    distance = np.abs(made.astype(np.int16) - images.astype(np.int16))
    bounds = (int(distance.max()), int(made.min()), int(made.max())) if made.size else (0, lo, hi)
    return bounds[0] <= eps_255 and lo <= bounds[1] and bounds[2] <= hi


def _box(images: UInt8, eps_255: int, victim: Victim) -> tuple[Any, Any]:
    wide = images.astype(np.int16)
    return np.maximum(wide - eps_255, victim.lo), np.minimum(wide + eps_255, victim.hi)


def _predict(victim: Victim, images: UInt8) -> Int64:
    victim.begin(len(images))
    return np.asarray(victim.scores(images).argmax(axis=1), np.int64)
