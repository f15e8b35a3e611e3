"""AutoPGD with the difference of logits ratio (DLR), white-box; no scale of the logits matters.

Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv:2003.01690); ``_apgd.py``. Targeted, the paper's targeted
DLR loss.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from tinyrobust.attacks import _apgd
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings

STEPS = 100


class ApgdDlr(Attack):
    """APGD-DLR."""

    name = "apgd_dlr"
    title = "AutoPGD-DLR"
    paper = "Croce and Hein 2020, arXiv:2003.01690"
    kind = "white-box"
    strong = True
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "steps": settings.steps or STEPS, "loss": "difference of logits ratio",
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        return _apgd.walk(job, _apgd.dlr(job), job.settings.steps or STEPS)[0]


attack = ApgdDlr()
