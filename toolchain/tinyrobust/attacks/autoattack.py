"""AutoAttack: an ensemble, each part on the images that the parts before it did not break.

Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020 (arXiv:2003.01690). The standard suite is APGD-CE, APGD-T, FAB-T
and Square with 5,000 queries. ART has no FAB, and neither has this suite: it is APGD-CE at two
temperatures, APGD-T (targeted DLR, one run towards each of the 9 strongest other classes), and
Square. The log says what each part broke.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _apgd, apgd, square
from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings
from tinyrobust.attacks._victim import Int64
from tinyrobust.attacks._views import part

TARGETS = 9
QUERIES = 5000


class AutoAttack(Attack):
    """APGD-CE, APGD-T, Square."""

    name = "autoattack"
    title = "AutoAttack (no FAB-T)"
    paper = "Croce and Hein 2020, arXiv:2003.01690"
    kind = "white-box"
    strong = True
    can_target = False
    steps = apgd.STEPS
    queries = QUERIES

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "suite": f"APGD-CE, APGD-T ({TARGETS} targets), Square; without FAB-T",
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
            ("APGD-CE", apgd.attack.craft), ("APGD-T", _targeted), ("Square", square.attack.craft),
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
    logits = job.victim.logits(job.images)
    order = np.argsort(-logits, axis=1, kind="stable")
    rows = np.arange(len(order))
    others = np.array([row[row != y] for row, y in zip(order, job.labels, strict=True)])
    made, left = job.images.copy(), rows
    count = min(TARGETS, others.shape[1])
    for rank in range(count):
        if not left.size:
            break

        def progress(fraction: float, rank: int = rank) -> None:
            job.progress((rank + fraction) / count)

        some = part(job, left, progress)
        targets: Int64 = others[left, rank]
        found, reached = _apgd.walk(some, _apgd.dlr(some, targets), job.settings.steps or 1)
        made[left[reached]] = found[reached]
        left = left[~reached]
    return made


attack = AutoAttack()
