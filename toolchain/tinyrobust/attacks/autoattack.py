"""AutoAttack: an ensemble, each part on the images that the parts before it did not break.

Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv:2003.01690), the standard suite: APGD-CE of 100 steps,
APGD-T (targeted DLR, one run towards each of the 9 strongest other classes), FAB-T (``fab.py``,
100 steps towards each of them) and Square with 5,000 queries. APGD-CE tries a second temperature of
the scores too. The log says what each part broke.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _apgd, apgd, fab, square
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._targets import others
from tinyrobust.attacks._views import part, watched

TARGETS = 9
QUERIES = 5000


class AutoAttack(Attack):
    """APGD-CE, APGD-T, FAB-T, Square."""

    name = "autoattack"
    title = "AutoAttack"
    paper = "Croce and Hein 2020, arXiv:2003.01690"
    kind = "white-box"
    strong = True
    can_target = False
    steps = apgd.STEPS
    queries = QUERIES

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "suite": f"APGD-CE, APGD-T ({TARGETS} targets), FAB-T ({fab.TARGETS}), Square",
            "steps": settings.steps or apgd.STEPS, "queries": settings.queries or QUERIES,
            "temperatures": "1, mean margin",
            "gradient": "float64 twin, straight-through, at integers",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        settings = replace(
            job.settings, steps=job.settings.steps or apgd.STEPS,
            queries=job.settings.queries or QUERIES,
        )  # fmt: skip
        job = replace(job, settings=settings)
        made = job.images.astype(np.float64)
        left = np.arange(len(made))
        stages: list[tuple[str, Callable[[Job], Any]]] = [
            ("APGD-CE", apgd.attack.craft), ("APGD-T", _targeted), ("FAB-T", _nearest),
            ("Square", square.attack.craft),
        ]  # fmt: skip
        for number, (name, stage) in enumerate(stages):
            if not left.size:
                break

            def progress(fraction: float, number: int = number) -> None:
                job.progress((number + fraction) / len(stages))

            some = part(job, left, progress)
            found = np.asarray(stage(some), np.float64)
            whole = np.rint(found).astype(np.uint8)
            reached = some.reached(some.victim.scores(whole))
            made[left[reached] if number else left] = found[reached] if number else found
            job.log.append({"part": name, "tried": len(left), "broken": int(reached.sum())})
            left = left[~reached]
        return made


def _targeted(job: Job) -> npt.NDArray[Any]:
    """A run towards each other class, the likeliest first, on what is left."""
    aims = others(job, TARGETS)
    made, left = job.images.copy(), np.arange(len(job.images))
    count = aims.shape[1]
    for rank in range(count):
        if not left.size:
            break

        def progress(fraction: float, rank: int = rank) -> None:
            job.progress((rank + fraction) / count)

        some = part(job, left, progress)
        targets = aims[left, rank]
        found, reached = _apgd.walk(some, _apgd.dlr(some, targets), job.settings.steps or 1)
        made[left[reached]] = found[reached]
        left = left[~reached]
    return made


def _nearest(job: Job) -> npt.NDArray[Any]:
    """FAB-T until an image is found within the size."""
    inner, nearest = watched(job)
    fab.walk(inner, nearest, job.settings.steps or fab.STEPS, enough=job.eps_255)
    inside = (nearest.distance <= job.eps_255).reshape(-1, *[1] * (job.images.ndim - 1))
    return np.where(inside, nearest.images, job.images)


attack = AutoAttack()
