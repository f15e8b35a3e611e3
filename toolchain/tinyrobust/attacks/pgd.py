"""PGD-20: projected gradient descent, Linf, white-box, one random start.

Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR 2018 (arXiv:1706.06083); ART's ProjectedGradientDescentNumpy.

ART walks in floats with small steps; the gradient at each step is the twin's straight-through
gradient at the walk's position rounded to integers. The walk thus remembers fractions of a
pixel value, as a quantised network's latent weights do in training, while every gradient and
the final image belong to the integer model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import Attack, Progress
from tinyrobust.attacks._victim import Int64, UInt8, Victim

STEPS = 20


class Pgd(Attack):
    """PGD with STEPS steps of 2.5 * eps / STEPS."""

    name = "pgd"
    title = f"PGD-{STEPS}"
    paper = "Madry et al. 2018, arXiv:1706.06083"
    kind = "white-box"
    strong = True
    needs_art = True

    def parameters(self, eps_255: int) -> dict[str, Any]:
        return {
            "steps": STEPS,
            "step_255": self._step(eps_255),
            "random_starts": 1,
            "loss": "cross-entropy",
            "gradient": "float64 twin, straight-through, at integers",
        }

    def craft(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        eps_255: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> npt.NDArray[Any]:
        steps = iter(range(1, STEPS + 1))
        estimator = _art.estimator(victim, lambda: progress(next(steps, STEPS) / STEPS))
        from art.attacks.evasion.projected_gradient_descent import (
            projected_gradient_descent_numpy as art_pgd,
        )

        attack = art_pgd.ProjectedGradientDescentNumpy(
            estimator, norm=np.inf, eps=float(eps_255), eps_step=self._step(eps_255),
            max_iter=STEPS, num_random_init=1, batch_size=len(images), verbose=False,
        )  # fmt: skip
        with _art.seeded(rng):
            made = attack.generate(images.astype(np.float32), _art.one_hot(labels, victim.classes))
        return np.asarray(made)

    def _step(self, eps_255: int) -> float:
        return max(2.5 * eps_255 / STEPS, 1e-3)


attack = Pgd()
