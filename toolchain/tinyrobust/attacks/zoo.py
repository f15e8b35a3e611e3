"""ZOO: zeroth-order optimisation by coordinates, minimum norm (L2), black-box: scores are seen.

Chen, Zhang, Sharma, Yi, Hsieh, "ZOO: Zeroth Order Optimization Based Black-box Attacks to Deep
Neural Networks without Training Substitute Models", AISec 2017 (arXiv:1708.03999), ZOO-ADAM: C&W's
loss, its derivative by a few coordinates at a time from symmetric differences.

Not ART's: it takes one image at a time, and differences of 1e-4 of the range vanish when an image
is rounded, so that it returns its input. Here all images go in lockstep, differences are H_255
integers to both sides, and c adapts: it shrinks while a point succeeds and grows while it does not.
It needs very many queries; with few it changes few values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import DEFAULTS, Job, MinimumNorm, Settings
from tinyrobust.attacks._victim import Float64
from tinyrobust.attacks._views import watched

H_255 = 16.0
COORDINATES = 128  # per step
RATE_255 = 8.0  # a first step of Adam is this long at every coordinate: it must fit the sizes
C_START, C_LEAST, C_MOST = 10.0, 0.01, 1e4


class Zoo(MinimumNorm):
    """Coordinate-wise Adam without gradients."""

    name = "zoo"
    title = "ZOO"
    paper = "Chen et al. 2017, arXiv:1708.03999"
    kind = "black-box"
    queries = 5000

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "queries": settings.queries or self.queries, "difference_255": H_255,
            "coordinates_per_step": COORDINATES, "rate_255": RATE_255, "optimiser": "Adam",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        budget = job.settings.queries or self.queries or 1
        inner, nearest = watched(job)
        state = _State(inner)
        spent = 1
        state.look()
        while spent < budget:
            chosen = min(COORDINATES, (budget - spent - 1) // 2, state.size)
            if chosen < 1:
                break
            state.step(chosen)
            spent += 2 * chosen + 1
            job.progress(spent / budget)
        return nearest.result(job)


class _State:
    """The walk of all images: points, Adam's moments by coordinate, c."""

    def __init__(self, job: Job) -> None:
        self.job = job
        count = len(job.images)
        self.clean = job.images.reshape(count, -1).astype(np.float64)
        self.size = self.clean.shape[1]
        self.x = self.clean.copy()
        self.first, self.second = np.zeros(self.x.shape), np.zeros(self.x.shape)
        self.updates = np.zeros(self.x.shape)
        self.c = np.full(count, C_START)
        self._order = np.zeros((count, 0), np.int64)

    def look(self) -> None:
        """Show where the walk is, and adapt c."""
        owners = np.arange(len(self.x))
        reached = self.job.reached(self._scores(self.x, owners), owners)
        self.c = np.clip(np.where(reached, self.c / 2, self.c * 1.2), C_LEAST, C_MOST)

    def step(self, chosen: int) -> None:
        """Differences at ``chosen`` coordinates of every image, and Adam on them."""
        rows = np.arange(len(self.x))[:, None]
        places = self._next(chosen)
        around = np.repeat(self.x[:, None], 2 * chosen, axis=1)
        turn = np.arange(chosen)
        around[rows, turn, places] += H_255
        around[rows, chosen + turn, places] -= H_255
        around = np.clip(around, self.job.victim.lo, self.job.victim.hi)
        owners = np.repeat(np.arange(len(self.x)), 2 * chosen)
        scores = self._scores(around.reshape(-1, self.size), owners)
        margin = np.maximum(self.job.margin(scores, owners), 0).reshape(len(self.x), 2, chosen)
        slope = (margin[:, 0] - margin[:, 1]) / (2 * H_255) * 255  # by the value in 0..1
        here = self.x[rows, places]
        gradient = self.c[:, None] * slope + 2 * (here - self.clean[rows, places]) / 255
        self.x[rows, places] = np.clip(
            here - self._adam(rows, places, gradient), self.job.victim.lo, self.job.victim.hi
        )
        self.look()

    def _adam(self, rows: Any, places: Any, gradient: Float64) -> Float64:
        self.updates[rows, places] += 1
        age = self.updates[rows, places]
        self.first[rows, places] += 0.1 * (gradient - self.first[rows, places])
        self.second[rows, places] += 0.001 * (gradient**2 - self.second[rows, places])
        size = RATE_255 * np.sqrt(1 - 0.999**age) / (1 - 0.9**age)
        made = size * self.first[rows, places] / (np.sqrt(self.second[rows, places]) + 1e-8)
        return np.asarray(made)

    def _next(self, chosen: int) -> npt.NDArray[np.int64]:
        """The next coordinates of each image's own random order; a new one when it is over."""
        if self._order.shape[1] < chosen:
            order = [self.job.rng.permutation(self.size) for _ in self.x]
            self._order = np.asarray(order, np.int64)
        now, self._order = self._order[:, :chosen], self._order[:, chosen:]
        return now

    def _scores(self, flat: Float64, owners: npt.NDArray[np.int64]) -> Float64:
        images = np.rint(flat).astype(np.uint8).reshape(-1, *self.job.images.shape[1:])
        return self.job.victim.scores(images, owners)


attack = Zoo()
