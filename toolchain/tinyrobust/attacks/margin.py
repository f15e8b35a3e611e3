"""Margin: walks towards every near class and random searches in turn, white-box.

What is left after other attacks often lies a small part of a logit inside its boundary. Three
things find more of it in a network of integers:

* the margin itself is the loss, ``z_target - z_label``, which never saturates, and walks start
  anew ``RESTARTS`` times towards each of the ``TARGETS`` nearest classes (S. Gowal et al., "An
  Alternative Surrogate Loss for PGD-based Adversarial Testing", 2019, arXiv:1910.09338);
* every third time walks take gradients of which a shut clamp lets a part through: relu and
  saturation of 7 bits hide what lies behind them (backward pass differentiable approximation:
  A. Athalye et al., 2018, arXiv:1802.00420, section 4.1);
* after each, from the point of the least margin on, squares of it are set to the ends of the
  ball at random, and what lowers the margin stays (``square.py``; arXiv:1912.00049): no gradient
  knows what the roundings do.

It is slow, and meant for the images that others leave; walks are Auto-PGD's (``_apgd.py``).
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from tinyrobust.attacks import _apgd
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._targets import lead, others
from tinyrobust.attacks._victim import Int64
from tinyrobust.attacks._views import Closest, closest, part
from tinyrobust.attacks.square import refine

STEPS = 100
RESTARTS = 6
TARGETS = 3
LEAKS = (0.0, 0.0, 0.1)  # in turn
QUERIES = 6000  # of the random search


class Margin(Attack):
    """Walks on the margin with restarts, then a random search."""

    name = "margin"
    title = "Margin"
    paper = "after Gowal et al. 2019, arXiv:1910.09338; Andriushchenko et al. 2020"
    kind = "white-box"
    strong = True
    verifies = True
    steps = STEPS
    queries = QUERIES

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "steps": settings.steps or STEPS, "restarts": RESTARTS, "targets": TARGETS,
            "leaks_in_turn": list(LEAKS), "loss": "margin",
            "queries": settings.queries or QUERIES,
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        steps, queries = job.settings.steps or STEPS, job.settings.queries or QUERIES
        inner, best = closest(job)
        targets = others(job, TARGETS)
        each = max(1, queries // RESTARTS)
        walks, search = [0, 0], [0, 0]  # images tried and broken
        for turn in range(RESTARTS):
            for rank in range(targets.shape[1]):
                before = best.left.size
                _walk(inner, best, targets[:, rank], steps, LEAKS[turn % len(LEAKS)])
                walks[0], walks[1] = max(walks[0], before), walks[1] + before - best.left.size
            left = best.left
            if left.size:
                refine(part(inner, left, lambda fraction: None), best.images[left], each)
                search[0] = max(search[0], left.size)
                search[1] += left.size - best.left.size
            job.progress((turn + 1) / RESTARTS)
        job.log.append({"part": "walks", "tried": walks[0], "broken": walks[1]})
        job.log.append({"part": "random search", "tried": search[0], "broken": search[1]})
        return best.images


def _walk(job: Job, best: Closest, targets: Int64, steps: int, leak: float) -> None:
    """One walk of every image that is left."""
    left = best.left
    if left.size:
        some = part(job, left, lambda fraction: None)
        _apgd.walk(some, lead(some, targets[left]), steps, leak=leak)


attack = Margin()
