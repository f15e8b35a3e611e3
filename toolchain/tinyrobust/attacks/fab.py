"""FAB-T: the fast adaptive boundary attack, targeted at class after class, minimum norm, white-box.

Croce, Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML
2020 (arXiv:1907.02044), Algorithm 1 and equations 7 to 10; targeted as in the standard AutoAttack
(arXiv:2003.01690, section 5). At a point the boundary to the target is taken for a plane; the next
point lies a little beyond it, between what is nearest to the point and what is nearest to the clean
image. A point that succeeds is pulled back towards the clean image.

All images go in lockstep, each towards its likeliest other class first. The walk is in floats; each
point is shown as integers, and the nearest of all that succeed counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import DEFAULTS, Job, MinimumNorm, Settings
from tinyrobust.attacks._targets import lead, others
from tinyrobust.attacks._victim import Float64, Int64
from tinyrobust.attacks._views import Nearest, watched

STEPS = 100
TARGETS = 9
MOST_TO_CLEAN, OVERSHOOT, BACK = 0.1, 1.05, 0.9  # the paper's alpha_max, eta, beta


class FabT(MinimumNorm):
    """Targeted FAB, one run towards each of the likeliest other classes."""

    name = "fab"
    title = "FAB-T"
    paper = "Croce and Hein 2020, arXiv:1907.02044"
    kind = "white-box"
    random = False
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "steps": settings.steps or STEPS, "targets": TARGETS, "restarts": 1,
            "alpha_max": MOST_TO_CLEAN, "eta": OVERSHOOT, "beta": BACK,
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        inner, nearest = watched(job)
        walk(inner, nearest, job.settings.steps or STEPS, enough=0.0)
        return nearest.result(job)


def walk(job: Job, nearest: Nearest, steps: int, *, enough: float) -> None:
    """Walk towards each target; an image is done once ``nearest`` holds a success of it that is
    at most ``enough`` away. ``job`` is what ``watched`` gave beside ``nearest``."""
    targets = others(job, TARGETS)
    for rank in range(targets.shape[1]):
        objective = lead(job, targets[:, rank])
        x = job.images.astype(np.float64)
        for step in range(steps):
            alive = np.flatnonzero(nearest.distance > enough)
            if not alive.size:
                return
            x[alive] = _moved(job, objective, x[alive], alive)
            job.progress((rank + (step + 1) / steps) / targets.shape[1])


def _moved(job: Job, objective: Any, x: Float64, alive: Int64) -> Float64:
    """One step of the images ``alive``, which are at ``x``."""
    low, high = float(job.victim.lo), float(job.victim.hi)
    clean = job.images[alive].astype(np.float64)
    shown = np.clip(np.rint(x), low, high).astype(np.uint8)
    pulled = job.victim.pull(shown, objective(alive), alive)
    there = job.reached(pulled.logits, alive)
    x = np.where(there[:, None, None, None], clean + BACK * (x - clean), x)
    flat, origin = x.reshape(len(x), -1), clean.reshape(len(x), -1)
    slope = pulled.gradient.reshape(len(x), -1)
    # Where it succeeded the plane is that of the point before it was pulled back: near enough.
    ahead = pulled.loss
    step = _onto_plane(flat, slope, -ahead, job.norm, low, high)
    way = -ahead - (slope * (origin - flat)).sum(axis=1)
    home = _onto_plane(origin, slope, way, job.norm, low, high)
    far, near = (_length(d, job.norm) for d in (step, home))
    share = np.minimum(far / np.maximum(far + near, 1e-12), MOST_TO_CLEAN)[:, None]
    made = (1 - share) * (flat + OVERSHOOT * step) + share * (origin + OVERSHOOT * home)
    return np.asarray(np.clip(made, low, high).reshape(x.shape))


def _length(delta: Float64, norm: str) -> Float64:
    if norm == "linf":
        return np.asarray(np.abs(delta).max(axis=1))
    return np.asarray(np.sqrt((delta**2).sum(axis=1)))


def _onto_plane(
    x: Float64, slope: Float64, way: Float64, norm: str, low: float, high: float
) -> Float64:
    """The shortest d (N, D) with ``slope . d = way`` and x + d in ``low..high``; where there is
    none, the d that comes nearest.

    Every value moves in the direction that helps. In Linf all move by the same t, in L2 by t times
    their slope's size, each as far as it has room; what that gains, as a function of t, is linear
    between the t at which a value's room ends.
    """
    signs = np.sign(slope) * np.sign(way)[:, None]
    size = np.abs(slope)
    room = np.where(signs > 0, high - x, x - low) * (signs != 0)
    speed = np.ones(size.shape) if norm == "linf" else size
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.where(size > 0, room / speed, np.inf)
    order = np.argsort(ends, axis=1)
    sorted_ends = np.take_along_axis(ends, order, axis=1)
    gain = np.take_along_axis(size * speed, order, axis=1)  # per t, of a value that still moves
    full = np.take_along_axis(size * room, order, axis=1)
    spent = np.cumsum(full, axis=1) - full  # of the values whose room ended before
    moving = np.cumsum(gain[:, ::-1], axis=1)[:, ::-1]  # of those that move in this piece
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (np.abs(way)[:, None] - spent) / moving
    fits = (t <= sorted_ends) & (moving > 0)
    first = np.where(fits.any(axis=1), fits.argmax(axis=1), -1)
    chosen = np.where(first >= 0, t[np.arange(len(t)), first], np.inf)
    with np.errstate(invalid="ignore"):
        step = np.minimum(np.where(size > 0, chosen[:, None] * speed, 0.0), room)
    return np.asarray(signs * np.maximum(np.nan_to_num(step), 0.0))


attack = FabT()
