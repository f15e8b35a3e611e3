"""AutoPGD with the cross-entropy, white-box, no step size to choose.

Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv:2003.01690); ``_apgd.py``. At temperature 1 of the logits,
then, for images that withstand it, at one where the softmax is not saturated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _apgd
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._views import each_temperature

STEPS = 100
FACTORS = (None, 1.0)


class Apgd(Attack):
    """APGD-CE."""

    name = "apgd"
    title = "AutoPGD"
    paper = "Croce and Hein 2020, arXiv:2003.01690"
    kind = "white-box"
    strong = True
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "steps": settings.steps or STEPS, "loss": "cross-entropy",
            "temperatures": "1, mean margin",
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        count = job.settings.steps or STEPS

        def attempt(part: Job, temperature: float) -> npt.NDArray[np.uint8]:
            return _apgd.walk(part, _apgd.away(part, temperature), count)[0]

        return np.asarray(each_temperature(job, FACTORS, attempt))


attack = Apgd()
