"""DeepFool: steps to the nearest linearised boundary, minimum norm (L2), white-box.

Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a simple and accurate method to fool deep neural
networks", CVPR 2016 (arXiv:1511.04599); ART's DeepFool.

Its steps are often finer than an integer of the input, and add up in floats until the rounded
image changes. Gradients are computed only for images that are still classified correctly. The
nearest of all points that it visits counts, in the norm that is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import DEFAULTS, Job, MinimumNorm, Settings
from tinyrobust.attacks._views import watched

STEPS = 50
OVERSHOOT = 0.02  # the paper's


class DeepFool(MinimumNorm):
    """Iterated linearisation of the classes' boundaries."""

    name = "deepfool"
    title = "DeepFool"
    paper = "Moosavi-Dezfooli et al. 2016, arXiv:1511.04599"
    kind = "white-box"
    needs_art = True
    can_target = False
    random = False
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "steps": settings.steps or STEPS, "overshoot": OVERSHOOT,
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        from art.attacks.evasion.deepfool import DeepFool as ArtDeepFool

        count = job.settings.steps or STEPS
        inner, nearest = watched(job)
        steps = iter(range(1, count + 1))
        estimator = _art.estimator(
            inner.victim, lambda: job.progress(next(steps, count) / count), unit=255.0,
            finished=inner.reached, logits=True,
        )  # fmt: skip
        attack = ArtDeepFool(
            estimator, max_iter=count, epsilon=OVERSHOOT, nb_grads=job.victim.classes,
            batch_size=len(job.images), verbose=False,
        )  # fmt: skip
        with _art.seeded(job.rng):
            last = np.asarray(attack.generate(job.images.astype(np.float32) / 255))
        whole = np.clip(np.rint(last * 255), job.victim.lo, job.victim.hi).astype(np.uint8)
        inner.victim.scores(whole)  # with the overshoot, it may be farther, or the only success
        return nearest.result(job)


attack = DeepFool()
