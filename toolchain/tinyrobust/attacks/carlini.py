"""C&W: the L2 attack of Carlini and Wagner, minimum norm, white-box.

Carlini, Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017
(arXiv:1608.04644), section VI.A: ``|x' - x|^2 + c * max(margin, 0)`` over x' in the tanh space, by
Adam, c by binary search. The margin is of the logits, so no softmax can saturate.

Not ART's: its line search wants every step to lower the loss, which steps finer than an integer of
the input do not. Here Adam walks in floats, as in the paper, and each point is shown as integers.
The nearest of all points that succeed counts, in the norm that is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import DEFAULTS, Job, MinimumNorm, Settings
from tinyrobust.attacks._victim import Float64
from tinyrobust.attacks._views import watched
from tinyrobust.twin.losses import Loss

STEPS = 100  # per value of c
SEARCHES = 5
C_START = 1.0
RATE = 0.01


class Carlini(MinimumNorm):
    """C&W L2."""

    name = "carlini"
    title = "C&W"
    paper = "Carlini and Wagner 2017, arXiv:1608.04644"
    kind = "white-box"
    random = False
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "steps": settings.steps or STEPS, "searches": SEARCHES, "c_start": C_START,
            "rate": RATE, "confidence": 0, "optimiser": "Adam",
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        inner, nearest = watched(job)
        count = len(job.images)
        c, low, high = np.full(count, C_START), np.zeros(count), np.full(count, np.inf)
        for search in range(SEARCHES):
            reached = _descend(inner, c, search)
            high = np.where(reached, np.minimum(high, c), high)
            low = np.where(reached, low, np.maximum(low, c))
            c = np.where(np.isfinite(high), (low + high) / 2, c * 10)
        return nearest.result(job)


def _descend(job: Job, c: Float64, search: int) -> npt.NDArray[np.bool_]:
    """Adam from the clean images for given ``c``; which images succeeded on the way."""
    low, high = float(job.victim.lo), float(job.victim.hi)
    clean = (job.images - low) / (high - low)
    w = np.arctanh((2 * clean - 1) * 0.999999)
    first, second = np.zeros(w.shape), np.zeros(w.shape)
    reached = np.zeros(len(w), bool)
    steps = job.settings.steps or STEPS
    everyone = np.arange(len(w))
    for step in range(1, steps + 1):
        tanh = np.tanh(w)
        x = (tanh + 1) / 2
        shown = np.rint(low + x * (high - low)).astype(np.uint8)
        pulled = job.victim.pull(shown, _hinge(job, c), everyone)
        reached |= job.reached(pulled.logits)
        gradient = pulled.gradient * (high - low) + 2 * (x - clean)
        gradient *= (1 - tanh**2) / 2
        first += 0.1 * (gradient - first)
        second += 0.001 * (gradient**2 - second)
        size = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        w -= size * first / (np.sqrt(second) + 1e-8)
        job.progress((search + step / steps) / SEARCHES)
    return reached


def _hinge(job: Job, c: Float64) -> Loss:
    """``c * max(margin, 0)``: the true class above the best other one, or, targeted, the best
    other one above the target. It holds on at 0, so that a tie is pushed over."""
    sign = 1.0 if job.targets is None else -1.0

    def loss(logits: Float64, where: slice) -> tuple[Float64, Float64]:
        rows, aims, weight = np.arange(len(logits)), job.aims[where], c[where]
        others = logits.copy()
        others[rows, aims] = -np.inf
        best = others.argmax(axis=1)
        margin = sign * (logits[rows, aims] - logits[rows, best])
        active = weight * (margin >= 0)
        flow = np.zeros(logits.shape)
        flow[rows, aims] = sign * active
        flow[rows, best] = -sign * active
        return weight * np.maximum(margin, 0), flow

    return loss


attack = Carlini()
