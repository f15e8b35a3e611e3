"""Transfer: images crafted on another model, judged by the victim, which is never asked.

Papernot, McDaniel, Goodfellow, "Transferability in Machine Learning: from Phenomena to Black-Box
Attacks using Adversarial Samples", 2016 (arXiv:1605.07277). The surrogate's gradients are followed
by AutoPGD (``_apgd.py``) with the cross-entropy to the end of its steps, and the point of its
largest loss is taken.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy.typing as npt

from tinyrobust.attacks import _apgd
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._victim import GraphVictim
from tinyrobust.errors import TinyRobustError

STEPS = 100


class Transfer(Attack):
    """APGD-CE on a surrogate."""

    name = "transfer"
    title = "Transfer"
    paper = "Papernot et al. 2016, arXiv:1605.07277"
    kind = "transfer"
    needs_surrogate = True
    steps = STEPS

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        found = {
            "steps": settings.steps or STEPS, "loss": "the surrogate's cross-entropy",
            "surrogate": settings.surrogate or "--surrogate",
        }  # fmt: skip
        if settings.surrogate:
            found["surrogate_sha256"] = _surrogate(settings.surrogate).graph.sha256
        return found

    def craft(self, job: Job) -> npt.NDArray[Any]:
        surrogate = _surrogate(str(job.settings.surrogate))
        if surrogate.input_shape != job.victim.input_shape or (
            surrogate.classes != job.victim.classes
        ):
            raise TinyRobustError(
                f"the surrogate '{job.settings.surrogate}' takes {surrogate.input_shape} and knows "
                f"{surrogate.classes} classes, the victim {job.victim.input_shape} and "
                f"{job.victim.classes}",
                "take a surrogate for the same task",
            )
        other = replace(job, victim=surrogate)
        surrogate.begin(len(job.images))
        steps = job.settings.steps or STEPS
        made, fooled = _apgd.walk(other, _apgd.away(other), steps, stop=False)
        job.log.append({"surrogate": job.settings.surrogate, "surrogate_fooled": int(fooled.sum())})
        return made


@lru_cache(maxsize=2)
def _surrogate(name: str) -> GraphVictim:
    from tinyrobust.convert.models import load_model

    return GraphVictim(load_model(name).graph)


attack = Transfer()
