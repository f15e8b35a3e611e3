"""What is measured only to see whether a network masks its gradients.

In: a Victim and labelled images. Out: plain figures, for ``masking.py`` to judge. On the first
IMAGES images that are classified correctly, without asking the oracle, all of the twin:

* ``zero_gradients``: images whose cross-entropy has no gradient at all, at temperature 1;
* ``flat``: images whose cross-entropy is the same number at all of DIRECTIONS random corners of the
  ball and at its middle (a plateau);
* ``beaten_by_random``: images for which one step along the gradient's sign lowers the margin less
  than the best of those random corners does;
* ``unbounded``: images left by AutoPGD over the whole range of values (255), at temperature 1, and
  ``unbounded_scaled`` at the mean margin of the logits as temperature.

Athalye, Carlini, Wagner 2018 (arXiv:1802.00420), section 3.1; Carlini et al., "On Evaluating
Adversarial Robustness", 2019 (arXiv:1902.06705), sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrobust.attacks import Job, Settings, Victim, apgd_walk, objective_away
from tinyrobust.attacks._norms import into_ball
from tinyrobust.attacks._victim import Float64, Int64, UInt8
from tinyrobust.twin.losses import cross_entropy

IMAGES = 50
DIRECTIONS = 10
STEPS = 40
UNBOUNDED_255 = 255.0


def probe(
    victim: Victim, images: UInt8, labels: Int64, eps_255: float, seed: int,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Any]:  # fmt: skip
    """The figures; ``images`` 0 in it when none is classified correctly."""
    victim.begin(0)
    many, truth = images[: 4 * IMAGES], labels[: 4 * IMAGES]
    logits = victim.pull(many, cross_entropy(truth)).logits
    chosen = np.flatnonzero(logits.argmax(axis=1) == truth)[:IMAGES]
    found: dict[str, Any] = {"images": len(chosen), "eps_255": eps_255, "directions": DIRECTIONS}
    if not len(chosen):
        return found
    x, y = many[chosen], truth[chosen]
    rng = np.random.default_rng([seed, 0x3A5C])
    found |= _around(victim, x, y, eps_255, rng)
    progress(0.3)
    top = np.sort(logits[chosen], axis=1)
    temperature = float(f"{max(float((top[:, -1] - top[:, -2]).mean()), 1e-3):.3g}")
    found["temperature"] = temperature
    for number, (key, t) in enumerate((("unbounded", 1.0), ("unbounded_scaled", temperature))):
        victim.begin(len(x))
        job = Job(victim, x, y, None, UNBOUNDED_255, Settings(), rng, lambda fraction: None)
        _, broken = apgd_walk(job, objective_away(job, t), STEPS)
        found[key] = int((~broken).sum())
        progress(0.65 + 0.35 * number)
    return found


def _around(
    victim: Victim, x: UInt8, y: Int64, eps_255: float, rng: np.random.Generator
) -> dict[str, int]:
    """Gradients and losses at, and around, the clean images."""
    here = victim.pull(x, cross_entropy(y))
    norms = np.abs(here.gradient.reshape(len(x), -1)).max(axis=1)

    def look(direction: Float64) -> tuple[Float64, Float64]:
        moved = into_ball(x + eps_255 * direction, x, eps_255, "linf", victim.lo, victim.hi)
        pulled = victim.pull(moved, cross_entropy(y))
        return pulled.loss, _margin(pulled.logits, y)

    _, along = look(np.sign(here.gradient))
    lowest, flat = np.full(len(x), np.inf), np.ones(len(x), bool)
    for _ in range(DIRECTIONS):
        loss, margin = look(rng.choice([-1.0, 1.0], x.shape))
        lowest = np.minimum(lowest, margin)
        flat &= loss == here.loss
    return {
        "zero_gradients": int((norms == 0).sum()), "flat": int(flat.sum()),
        "beaten_by_random": int((along > lowest).sum()),
    }  # fmt: skip


def _margin(logits: Float64, y: Int64) -> Float64:
    rows, others = np.arange(len(logits)), logits.copy()
    others[rows, y] = -np.inf
    return np.asarray(logits[rows, y] - others.max(axis=1))
