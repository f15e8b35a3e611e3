"""FGSM: one step of size eps along the sign of the gradient, Linf, white-box.

Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015
(arXiv:1412.6572); ART's FastGradientMethod. The gradient is the twin's, straight-through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import Attack, Progress
from tinyrobust.attacks._victim import Int64, UInt8, Victim


class Fgsm(Attack):
    """One step of eps along the sign of the cross-entropy's gradient."""

    name = "fgsm"
    title = "FGSM"
    paper = "Goodfellow et al. 2015, arXiv:1412.6572"
    kind = "white-box"
    needs_art = True

    def parameters(self, eps_255: int) -> dict[str, Any]:
        return {"loss": "cross-entropy", "gradient": "float64 twin, straight-through"}

    def craft(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        eps_255: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> npt.NDArray[Any]:
        estimator = _art.estimator(victim)
        from art.attacks.evasion.fast_gradient import FastGradientMethod

        size = float(eps_255)
        attack = FastGradientMethod(
            estimator, norm=np.inf, eps=size, eps_step=max(size, 1e-3), batch_size=len(images)
        )
        with _art.seeded(rng):
            made = attack.generate(images.astype(np.float32), _art.one_hot(labels, victim.classes))
        return np.asarray(made)


attack = Fgsm()
