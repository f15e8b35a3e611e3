"""Square: random search with square-shaped changes, black-box, 1,000 queries per image.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
attack via random search", ECCV 2020 (arXiv:1912.00049). Not ART's: that draws one square per step
for a whole batch; here each image has its own, as in the paper. All images go in lockstep, one
query each per step, and each stops at its first success.

Linf: vertical stripes of +-eps, then squares of +-eps per channel. L2: a grid of bumps, then one
window's change is moved into another one. The loss is the margin of the scores, targeted too.
A step that changes nothing is kept: integer scores are flat in places, and must be walked across.
Every point shown to the Victim is an integer image within the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._norms import into_ball
from tinyrobust.attacks._victim import Float64, UInt8

P_INIT = {"linf": 0.8, "l2": 0.1}  # the paper's, for untargeted attacks
REFINED_P = 0.03  # of a search that starts from a good point
# The paper halves p at these steps of 10,000.
_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Square(Attack):
    """Random search over squares; the first change is one of the queries."""

    name = "square"
    title = "Square"
    paper = "Andriushchenko et al. 2020, arXiv:1912.00049"
    kind = "black-box"
    queries = 1000

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "queries": settings.queries or self.queries, "p_init": P_INIT[settings.norm],
            "loss": "margin", "restarts": 1, "squares": "one per image and step",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        budget = job.settings.queries or self.queries or 1
        walk = _Squares(job) if job.norm == "linf" else _Windows(job)
        return _search(job, walk, walk.first(), budget, P_INIT[job.norm], _HALVED)


def refine(job: Job, start: UInt8, queries: int) -> UInt8:
    """The search from ``start`` on, images within the job's size that others have found: squares
    are small from the first step on (REFINED_P of the area, halved as often)."""
    walk = _Squares(job) if job.norm == "linf" else _Windows(job, start)
    return _search(job, walk, start.copy(), queries, REFINED_P, (500, 1000, 2000, 4000))


def _search(
    job: Job, walk: _Squares | _Windows, best: UInt8, budget: int, p_init: float,
    halved: tuple[int, ...],
) -> UInt8:  # fmt: skip
    """``budget`` queries, the first of ``best``; ``halved``: at which of 10,000 steps p halves."""
    loss = job.margin(job.victim.scores(best, np.arange(len(best))))
    for done in range(1, budget):
        alive = np.flatnonzero(loss >= 0 if job.targets is None else loss > 0)
        job.progress(done / budget)
        if not alive.size:
            break
        p = p_init / 2 ** sum(done / budget * 10_000 > at for at in halved)
        images = walk.moved(best, alive, p)
        found = job.margin(job.victim.scores(images, alive), alive)
        better = found <= loss[alive]
        walk.keep(alive, better)
        best[alive[better]] = images[better]
        loss[alive[better]] = found[better]
    return best


class _Squares:
    """Linf: every value lies at the lower or the upper end of what the size allows it."""

    def __init__(self, job: Job) -> None:
        self._rng, self._shape = job.rng, job.images.shape[1:]
        wide, size = job.images.astype(np.int16), int(job.eps_255)
        self._low = np.maximum(wide - size, job.victim.lo).astype(np.uint8)
        self._high = np.minimum(wide + size, job.victim.hi).astype(np.uint8)

    def first(self) -> UInt8:
        """Vertical stripes."""
        upper = [self._rng.integers(0, 2, (1, *self._shape[1:])) for _ in self._low]
        return np.where(np.stack(upper), self._high, self._low)

    def moved(self, best: UInt8, alive: npt.NDArray[Any], p: float) -> UInt8:
        """The images ``alive`` of ``best``, each with one more square."""
        made, side = best[alive], _side(p, self._shape)
        for image, i in zip(made, alive, strict=True):
            square = _corner(self._rng, self._shape, side)
            upper = self._rng.integers(0, 2, self._shape[2])
            image[square] = np.where(upper, self._high[i][square], self._low[i][square])
        return np.asarray(made)

    def keep(self, alive: npt.NDArray[Any], better: npt.NDArray[Any]) -> None:
        """Nothing beside the images is to be kept."""


class _Windows:
    """L2: ``_delta`` are changes of length eps, which the images round."""

    def __init__(self, job: Job, start: UInt8 | None = None) -> None:
        self._job = job
        if start is None:
            self._delta = np.stack([_bumps(job, i) for i in range(len(job.images))])
        else:
            self._delta = start.astype(np.float64) - job.images
        self._tried = self._delta

    def first(self) -> UInt8:
        """A grid of bumps."""
        return self._shown(self._delta, np.arange(len(self._delta)))

    def moved(self, best: UInt8, alive: npt.NDArray[Any], p: float) -> UInt8:
        """The images ``alive`` with one window's change moved into another one."""
        self._tried = np.stack([_window_moved(self._job, i, self._delta[i], p) for i in alive])
        return self._shown(self._tried, alive)

    def keep(self, alive: npt.NDArray[Any], better: npt.NDArray[Any]) -> None:
        """Of the changes just tried, of the images ``alive``, go on from the ``better`` ones."""
        self._delta[alive[better]] = self._tried[better]

    def _shown(self, delta: Float64, owners: npt.NDArray[Any]) -> UInt8:
        images, victim = self._job.images[owners], self._job.victim
        return into_ball(images + delta, images, self._job.eps_255, "l2", victim.lo, victim.hi)


def _side(p: float, shape: tuple[int, ...]) -> int:
    height, width = shape[:2]
    return int(np.clip(round(float(np.sqrt(p * height * width))), 1, min(height, width)))


def _corner(rng: np.random.Generator, shape: tuple[int, ...], side: int) -> tuple[slice, slice]:
    row = int(rng.integers(shape[0] - side + 1))
    column = int(rng.integers(shape[1] - side + 1))
    return slice(row, row + side), slice(column, column + side)


def _bump(job: Job, side: int) -> Float64:
    """The paper's eta, (side, side): two halves of opposite sign, each falling off from its
    middle; turned with probability 1/2; of length 1."""
    upper = side // 2
    first, second = _pyramid(upper, side), -_pyramid(side - upper, side)
    eta = np.concatenate([first, second]) if upper else _pyramid(side, side)
    eta = eta / np.sqrt((eta**2).sum())
    return np.asarray(eta.T if job.rng.random() < 0.5 else eta)


def _pyramid(height: int, width: int) -> Float64:
    """Sums of 1 / (k + 1)^2 over ever smaller rectangles around the middle (Algorithm 3)."""
    made = np.zeros((height, width))
    middle = height // 2 + 1, width // 2 + 1
    edge = [middle[0] - 1, middle[1] - 1]
    for k in range(max(middle)):
        made[
            max(edge[0], 0) : min(edge[0] + 2 * k + 1, height),
            max(edge[1], 0) : min(edge[1] + 2 * k + 1, width),
        ] += 1.0 / (k + 1) ** 2
        edge = [edge[0] - 1, edge[1] - 1]
    return made


def _bumps(job: Job, i: int) -> Float64:
    height, width, channels = job.images.shape[1:]
    side = max(1, min(height, width) // 5)
    delta = np.zeros((height, width, channels))
    for row in range(0, height - side + 1, side):
        for column in range(0, width - side + 1, side):
            signs = job.rng.choice([-1.0, 1.0], channels)
            delta[row : row + side, column : column + side] += _bump(job, side)[..., None] * signs
    return _filled(job, i, delta)


def _window_moved(job: Job, i: int, delta: Float64, p: float) -> Float64:
    """Move the length of a second window, and what is unused, into a first one (Algorithm 3)."""
    side = max(_side(p, delta.shape), min(3, *delta.shape[:2]))
    here, there = (_corner(job.rng, delta.shape, side) for _ in range(2))
    channels = delta.shape[2]
    used = (delta**2).sum(axis=(0, 1))
    both = np.zeros(delta.shape[:2], bool)
    both[here] = both[there] = True
    spent = (delta**2 * both[..., None]).sum(axis=(0, 1))
    unused = np.maximum(job.eps_255**2 - used.sum(), 0) / channels
    length = np.sqrt((delta[here] ** 2).sum(axis=(0, 1), keepdims=True))
    fresh = _bump(job, side)[..., None] * job.rng.choice([-1.0, 1.0], channels)
    mixed = delta[here] / np.maximum(length, 1e-9) + fresh
    mixed /= np.maximum(np.sqrt((mixed**2).sum(axis=(0, 1), keepdims=True)), 1e-9)
    made = delta.copy()
    made[there] = 0.0
    made[here] = mixed * np.sqrt(spent + unused)
    return _filled(job, i, made)


def _filled(job: Job, i: int, delta: Float64) -> Float64:
    """``delta`` of length eps, cut to the valid range."""
    length = np.sqrt((delta**2).sum())
    image = job.images[i].astype(np.float64)
    scaled = image + delta * (job.eps_255 / max(length, 1e-9))
    return np.asarray(np.clip(scaled, job.victim.lo, job.victim.hi) - image)


attack = Square()
