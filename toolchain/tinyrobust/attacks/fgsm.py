"""FGSM: one step of size eps along the gradient (its sign for Linf), white-box.

Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015
(arXiv:1412.6572); ART's FastGradientMethod. The gradient is the twin's, straight-through, at
several temperatures of the logits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._views import each_temperature

FACTORS = (None, 1.0, 0.1)


class Fgsm(Attack):
    """One step of eps along the gradient of the cross-entropy."""

    name = "fgsm"
    title = "FGSM"
    paper = "Goodfellow et al. 2015, arXiv:1412.6572"
    kind = "white-box"
    iterative = False
    random = False
    needs_art = True

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "loss": "cross-entropy", "temperatures": "1, mean margin, a tenth of it",
            "gradient": "float64 twin, straight-through",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        return np.asarray(each_temperature(job, FACTORS, _attempt))


def _attempt(job: Job, temperature: float) -> npt.NDArray[Any]:
    estimator = _art.estimator(job.victim, temperature=temperature)
    from art.attacks.evasion.fast_gradient import FastGradientMethod

    attack = FastGradientMethod(
        estimator, norm=_art.art_norm(job.norm), eps=float(job.eps_255),
        eps_step=max(float(job.eps_255), 1e-3), batch_size=len(job.images),
        targeted=job.targets is not None,
    )  # fmt: skip
    with _art.seeded(job.rng):
        made = attack.generate(
            job.images.astype(np.float32), _art.one_hot(job.aims, job.victim.classes)
        )
    return np.asarray(made)


attack = Fgsm()
