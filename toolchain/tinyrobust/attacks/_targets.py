"""Towards which classes a targeted walk goes, and how far it is there.

In: a Job. Out: the other classes of every image, the likeliest first; the loss whose ascent leads
to one of them.
"""

from __future__ import annotations

import numpy as np

from tinyrobust.attacks._apgd import Objective
from tinyrobust.attacks._attack import Job
from tinyrobust.attacks._victim import Float64, Int64
from tinyrobust.twin.losses import Loss


def others(job: Job, most: int) -> Int64:
    """(N, at most ``most``): classes to reach, the one with the largest logit of the clean image
    first; a targeted job's is its target."""
    if job.targets is not None:
        return job.targets[:, None]
    order = np.argsort(-job.victim.logits(job.images), axis=1, kind="stable")
    rest = [row[row != label] for row, label in zip(order, job.labels, strict=True)]
    return np.asarray(rest, np.int64)[:, :most]


def lead(job: Job, targets: Int64) -> Objective:
    """The logit of the target less that of the label: positive where the target wins over it."""

    def objective(index: Int64) -> Loss:
        labels, aims = job.labels[index], targets[index]

        def loss(logits: Float64, where: slice) -> tuple[Float64, Float64]:
            rows, flow = np.arange(len(logits)), np.zeros(logits.shape)
            flow[rows, aims[where]] += 1.0
            flow[rows, labels[where]] -= 1.0
            return logits[rows, aims[where]] - logits[rows, labels[where]], flow

        return loss

    return objective
