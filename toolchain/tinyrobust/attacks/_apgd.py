"""The walk of Auto-PGD, per image, in the device's integers; ``apgd``, ``apgd_dlr``, ``autoattack``
and ``transfer`` use it.

Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv:2003.01690), Algorithm 1 and section 4.1 (DLR loss).

Not ART's: that one asks for loss and gradient in two passes, returns the last point rather than
the best one, knows no targeted DLR loss, and walks to the end for images that are broken already.

The walk is in floats; each point is shown to the Victim as the nearest integers within the size,
where the gradient is taken too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import Job
from tinyrobust.attacks._norms import into_ball
from tinyrobust.attacks._victim import Float64, Int64, UInt8
from tinyrobust.twin.losses import Loss, cross_entropy

RHO = 0.75
MOMENTUM = 0.75

# From the images' numbers to the loss that the walk makes large.
Objective = Callable[[Int64], Loss]


def walk(
    job: Job, objective: Objective, steps: int, *, stop: bool = True, leak: float = 0.0
) -> tuple[UInt8, npt.NDArray[np.bool_]]:
    """One run from a random start: images (N, H, W, C), and which of them are what is wanted.

    With ``stop`` an image ends where it first is; else, and where it never is, the point of the
    largest loss is returned. ``leak`` is what shut clamps let through of a gradient.
    """
    images = job.images.astype(np.float64)
    made, done = job.images.copy(), np.zeros(len(images), bool)
    state = _State(job, _random_start(job))
    checks = _checkpoints(steps)
    for step in range(steps + 1):
        alive = np.flatnonzero(~done) if stop else np.arange(len(images))
        if not alive.size:
            break
        shown = into_ball(
            state.x[alive], job.images[alive], job.eps_255, job.norm, job.victim.lo, job.victim.hi
        )
        pulled = job.victim.pull(shown, objective(alive), alive, leak)
        better = state.see(alive, pulled.loss, pulled.gradient)
        reached = job.reached(pulled.logits, alive)
        if stop:
            better |= reached
        made[alive[better]] = shown[better]
        done[alive[reached]] = True
        if step in checks:
            state.check(alive, step - checks[step])
        if step < steps:
            state.move(alive, first=step == 0)
        job.progress(min(1.0, (step + 1) / (steps + 1)))
    return made, done


class _State:
    """Where each image's walk is: points, step sizes, the best point so far."""

    def __init__(self, job: Job, start: Float64) -> None:
        count = len(start)
        self.job = job
        self.x, self.before = start, start.copy()
        self.gradient = np.zeros(start.shape)
        self.size = np.full(count, 2.0 * job.eps_255)
        self.best, self.best_loss = start.copy(), np.full(count, -np.inf)
        self.best_gradient = np.zeros(start.shape)
        self._raised = np.zeros(count, np.int64)
        self._last_loss = np.full(count, -np.inf)
        self._size_then, self._best_then = self.size.copy(), self.best_loss.copy()

    def see(self, alive: Int64, loss: Float64, gradient: Float64) -> npt.NDArray[np.bool_]:
        """Take note of the loss at ``x``; which images it is the best for."""
        self.gradient[alive] = gradient
        self._raised[alive] += loss > self._last_loss[alive]
        self._last_loss[alive] = loss
        better = loss > self.best_loss[alive]
        chosen = alive[better]
        self.best[chosen], self.best_gradient[chosen] = self.x[chosen], gradient[better]
        self.best_loss[chosen] = loss[better]
        return np.asarray(better)

    def check(self, alive: Int64, since: int) -> None:
        """Halve the step of images that do not progress, and put them back to their best point."""
        slow = self._raised[alive] < RHO * since
        unchanged = self.size[alive] == self._size_then[alive]
        stuck = unchanged & (self.best_loss[alive] == self._best_then[alive])
        halved = alive[slow | stuck]
        self._size_then[alive], self._best_then[alive] = self.size[alive], self.best_loss[alive]
        self.size[halved] /= 2
        self.x[halved] = self.before[halved] = self.best[halved]
        self.gradient[halved] = self.best_gradient[halved]
        self._raised[alive] = 0

    def move(self, alive: Int64, *, first: bool) -> None:
        """One step with momentum."""
        x, before = self.x[alive], self.before[alive]
        share = 1.0 if first else MOMENTUM
        direction = _direction(self.gradient[alive], self.job.norm)
        ahead = self._project(alive, x + self.size[alive][:, None, None, None] * direction)
        moved = self._project(alive, x + share * (ahead - x) + (1 - share) * (x - before))
        self.before[alive], self.x[alive] = x, moved

    def _project(self, alive: Int64, x: Float64) -> Float64:
        images, victim = self.job.images[alive].astype(np.float64), self.job.victim
        delta = np.clip(x, victim.lo, victim.hi) - images
        if self.job.norm == "linf":
            return images + np.clip(delta, -self.job.eps_255, self.job.eps_255)
        return images + delta * np.minimum(1.0, self.job.eps_255 / _length(delta))


def _checkpoints(steps: int) -> dict[int, int]:
    """Steps at which progress is looked at, each with the one before it."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    at = sorted({math.ceil(share * steps) for share in shares if share <= 1})
    return dict(zip(at[1:], at[:-1], strict=True))


def _length(delta: Float64) -> Float64:
    flat = np.sqrt((delta.reshape(len(delta), -1) ** 2).sum(axis=1))
    return np.asarray(np.maximum(flat, 1e-12)[:, None, None, None])


def _direction(gradient: Float64, norm: str) -> Float64:
    return np.asarray(np.sign(gradient) if norm == "linf" else gradient / _length(gradient))


def _random_start(job: Job) -> Float64:
    shape = job.images.shape
    if job.norm == "linf":
        delta = job.rng.uniform(-job.eps_255, job.eps_255, shape)
    else:
        delta = job.rng.normal(size=shape)
        delta *= job.eps_255 / _length(delta)
    return np.clip(job.images + delta, job.victim.lo, job.victim.hi)


# -- objectives ------------------------------------------------------------------------------


def away(job: Job, temperature: float = 1.0) -> Objective:
    """Cross-entropy: of the label, to be made large; of the target, to be made small."""
    sign = 1.0 if job.targets is None else -1.0

    def objective(index: Int64) -> Loss:
        inner = cross_entropy(job.aims[index], temperature)

        def loss(logits: Float64, where: slice) -> tuple[Float64, Float64]:
            value, flow = inner(logits, where)
            return sign * value, sign * flow

        return loss

    return objective


def dlr(job: Job, targets: Int64 | None = None) -> Objective:
    """The difference of logits ratio, which no scale of the logits changes.

    ``-(z_y - z_t) / (z_1 - z_3)``, z_1 >= z_2 >= ... sorted, t the largest other class; with
    ``targets`` t is the target and the divisor ``z_1 - (z_3 + z_4) / 2``. With fewer classes than
    that the divisor is 1.
    """
    goals = job.targets if targets is None else targets

    def objective(index: Int64) -> Loss:
        labels = job.labels[index]
        aims = None if goals is None else goals[index]

        def loss(logits: Float64, where: slice) -> tuple[Float64, Float64]:
            return _dlr(logits, labels[where], None if aims is None else aims[where])

        return loss

    return objective


def _dlr(logits: Float64, labels: Int64, targets: Int64 | None) -> tuple[Float64, Float64]:
    rows, order = np.arange(len(logits)), np.argsort(-logits, axis=1, kind="stable")
    other = targets
    if other is None:
        other = np.where(order[:, 0] == labels, order[:, 1], order[:, 0])
    top = logits[rows, labels] - logits[rows, other]
    flow_top, flow_bottom = np.zeros(logits.shape), np.zeros(logits.shape)
    flow_top[rows, labels] += 1.0
    flow_top[rows, other] -= 1.0
    ranks = (2,) if targets is None else (2, 3)
    bottom = np.ones(len(logits))
    if logits.shape[1] > max(ranks):
        bottom = logits[rows, order[:, 0]].copy()
        flow_bottom[rows, order[:, 0]] += 1.0
        for rank in ranks:
            bottom -= logits[rows, order[:, rank]] / len(ranks)
            flow_bottom[rows, order[:, rank]] -= 1.0 / len(ranks)
        bottom = np.maximum(bottom, 1e-12)
    flow = flow_top / bottom[:, None] - flow_bottom * (top / bottom**2)[:, None]
    return -top / bottom, -flow
