"""PGD-20: projected gradient descent, white-box, one random start.

Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018 (arXiv:1706.06083); ART's ProjectedGradientDescentNumpy.

ART walks in floats with small steps; the gradient at each step is the twin's straight-through
gradient at the walk's position rounded to integers. The walk thus remembers fractions of a
pixel value, as a quantised network's latent weights do in training, while every gradient and
the final image belong to the integer model.

It runs at temperature 1 of the logits; images that withstand that are tried again at temperatures
where the softmax is not saturated. The log says what each temperature broke.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._views import each_temperature

STEPS = 20
FACTORS = (None, 1.0, 0.1)


class Pgd(Attack):
    """PGD with STEPS steps of 2.5 * eps / STEPS."""

    name = "pgd"
    title = f"PGD-{STEPS}"
    paper = "Madry et al. 2018, arXiv:1706.06083"
    kind = "white-box"
    strong = True
    needs_art = True
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        steps = settings.steps or STEPS
        return {
            "steps": steps,
            "step_255": _step(eps_255, steps),
            "random_starts": 1,
            "loss": "cross-entropy",
            "temperatures": "1, mean margin, a tenth of it",
            "gradient": "float64 twin, straight-through, at integers",
        }

    def craft(self, job: Job) -> npt.NDArray[Any]:
        return np.asarray(each_temperature(job, FACTORS, _attempt))


def _attempt(job: Job, temperature: float) -> npt.NDArray[Any]:
    count = job.settings.steps or STEPS
    steps = iter(range(1, count + 1))
    estimator = _art.estimator(
        job.victim, lambda: job.progress(next(steps, count) / count), temperature=temperature
    )
    from art.attacks.evasion.projected_gradient_descent import (
        projected_gradient_descent_numpy as art_pgd,
    )

    attack = art_pgd.ProjectedGradientDescentNumpy(
        estimator, norm=_art.art_norm(job.norm), eps=float(job.eps_255),
        eps_step=_step(job.eps_255, count), max_iter=count, num_random_init=1,
        batch_size=len(job.images), verbose=False, targeted=job.targets is not None,
    )  # fmt: skip
    with _art.seeded(job.rng):
        made = attack.generate(
            job.images.astype(np.float32), _art.one_hot(job.aims, job.victim.classes)
        )
    return np.asarray(made)


def _step(eps_255: float, steps: int) -> float:
    return max(2.5 * eps_255 / steps, 1e-3)


attack = Pgd()
