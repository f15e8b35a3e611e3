"""Boundary: decision-based random walk, minimum norm, black-box: only classes are looked at.

Brendel, Rauber, Bethge, "Decision-Based Adversarial Attacks: Reliable Attacks Against Black-Box
Machine Learning Models", ICLR 2018 (arXiv:1712.04248); ART's BoundaryAttack, many images in
lockstep (``_lockstep.py``).

It walks in L2; with norm Linf, the point nearest in Linf of all those it visits counts. It needs
tens of thousands of queries to come near a boundary; with few it stays far away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import DEFAULTS, Job, MinimumNorm, Settings
from tinyrobust.attacks._lockstep import Seat, lockstep
from tinyrobust.attacks._victim import UInt8

STEP = 0.1  # first steps along and towards, of the distance; they adapt
SAMPLES = 4  # points tried per step


class Boundary(MinimumNorm):
    """Random steps along the boundary, each followed by one towards the image."""

    name = "boundary"
    title = "Boundary"
    paper = "Brendel et al. 2018, arXiv:1712.04248"
    kind = "black-box"
    needs_art = True
    queries = 5000

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "queries": settings.queries or self.queries, "first_steps": STEP,
            "samples_per_step": SAMPLES, "start": "noise, else another image",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        budget = job.settings.queries or self.queries or 1
        return lockstep(job, budget, _play)


def _play(seat: Seat, estimator: Any, start: UInt8) -> None:
    from art.attacks.evasion.boundary import BoundaryAttack

    job = seat.job
    attack = BoundaryAttack(
        estimator, targeted=job.targets is not None, delta=STEP, epsilon=STEP, step_adapt=0.667,
        max_iter=100_000, num_trial=25, sample_size=SAMPLES, init_size=1, verbose=False,
    )  # fmt: skip
    here = slice(seat.owner, seat.owner + 1)
    attack.generate(
        job.images[here].astype(np.float32), _art.one_hot(job.aims[here], job.victim.classes),
        x_adv_init=start[None].astype(np.float32),
    )  # fmt: skip


attack = Boundary()
