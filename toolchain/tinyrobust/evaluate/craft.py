"""Crafting one batch of one series: from the cache, from a replayed set, or by the attack.

In: a Config, a Victim, images, labels. Out: CraftedBatches. A minimum-norm attack searches once
for all sizes: the first size does it, and keeps what it found for the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrobust import attacks
from tinyrobust.attacks import Crafted
from tinyrobust.attacks._victim import Int64
from tinyrobust.evaluate.adversarial import AdversarialSet, UInt8
from tinyrobust.evaluate.cache import Cache, CraftedBatch
from tinyrobust.evaluate.config import Config, Series

Progress = Callable[[Series, float], None]


@dataclass
class Crafter:
    """The crafting side of one evaluation."""

    config: Config
    victim: attacks.Victim
    images: UInt8
    labels: Any
    cache: Cache
    replay: AdversarialSet | None

    def batch(self, series: Series, first: int, span: slice, progress: Progress) -> CraftedBatch:
        """The adversarial images of ``span``, which starts at ``first``."""
        images, labels = self.images[span], np.asarray(self.labels[span], np.int64)
        if self.replay is not None:
            return CraftedBatch(self.replay.crafted[series][span])
        found = stored(self.cache, series, first, images, labels)
        if found is not None:
            return found
        attack = attacks.get(str(series.attack))
        began = time.monotonic()
        before = self._meter()
        result = attack.run(
            self.victim, images, labels,
            eps_255=series.eps_255, seed=self.config.seed, first=first,
            settings=self.config.settings(series),
            progress=lambda fraction: progress(series, first + fraction * len(images)),
        )  # fmt: skip
        seconds = round(time.monotonic() - began, 3)
        asked, asked_s, retried = (b - a for a, b in zip(before, self._meter(), strict=True))
        oracle = {
            "name": self.config.oracle, "asked": int(asked), "s": round(asked_s, 3),
            "retried": int(retried),
        }  # fmt: skip
        made = CraftedBatch(result.images, _details(result, seconds, oracle), result.found)
        self.cache.put(_kept(series), first, images, labels, _whole(made, images))
        return made

    def _meter(self) -> tuple[float, ...]:
        """Images asked, seconds, and times that a lost board was asked again, so far."""
        return tuple(getattr(self.victim, name, 0) for name in ("asked", "asked_s", "retried"))


def stored(
    cache: Cache, series: Series, first: int, images: UInt8, labels: Int64
) -> CraftedBatch | None:
    """The batch of ``series`` that the cache holds, if any, made at this size or at any."""
    kept = _kept(series)
    batch = cache.get(kept, first, images, labels)
    if batch is None or batch.found is None or kept == series:
        return batch
    norms = [np.inf if n is None else n for n in batch.details["norms"][series.norm]]
    inside = np.asarray(norms) <= series.eps_255
    chosen = inside.reshape(-1, *[1] * (images.ndim - 1))
    details = dict(batch.details) | {"success": inside.tolist()}
    if series != cache.first_of(series):  # the search was paid for once
        oracle = dict(batch.details["oracle"]) | {"asked": 0, "s": 0.0, "retried": 0}
        details |= {"craft_s": 0.0, "oracle": oracle}
    return CraftedBatch(np.where(chosen, batch.found, images), details, batch.found)


def _kept(series: Series) -> Series:
    """Under which series a batch is kept: a minimum-norm attack's is one for every size."""
    if attacks.get(str(series.attack)).minimum:
        return Series(series.attack, 0, series.norm, series.targeted)
    return series


def _whole(batch: CraftedBatch, clean: UInt8) -> CraftedBatch:
    """What is kept: of a minimum-norm attack nothing that belongs to one size."""
    if batch.found is None:
        return batch
    return CraftedBatch(clean, batch.details, batch.found)


def _details(result: Crafted, seconds: float, oracle: dict[str, Any]) -> dict[str, Any]:
    norms = {"linf": result.linf, "l2": result.l2}
    return {
        "queries": int(result.queries.sum()), "queries_each": result.queries.tolist(),
        "craft_s": seconds, "oracle": oracle, "skipped": result.skipped.tolist(),
        "success": result.success.tolist(), "moved": result.moved.tolist(),
        "norms": {n: [round(float(v), 3) if np.isfinite(v) else None for v in values]
                  for n, values in norms.items()},
        "targets": None if result.targets is None else result.targets.tolist(),
        "after": {str(count): [round(float(v), 3) if np.isfinite(v) else None for v in far]
                  for count, far in result.after.items()},
        "log": [dict(entry) for entry in result.log],
    }  # fmt: skip
