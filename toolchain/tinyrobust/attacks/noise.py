"""Uniform random noise: no attack, but the floor that every attack must beat.

Linf: each value moves by an integer drawn uniformly from -eps..eps. L2: a uniform direction, of
length eps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import DEFAULTS, Attack, Job, Settings


class Noise(Attack):
    """One draw of noise per image."""

    name = "noise"
    title = "noise"
    paper = "none; the floor that the attacks are compared with"
    kind = "floor"
    can_target = False
    iterative = False

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        if settings.norm == "l2":
            return {"distribution": f"uniform direction of length {eps_255:g}"}
        return {"distribution": f"uniform integers -{eps_255:g}..{eps_255:g}"}

    def craft(self, job: Job) -> npt.NDArray[Any]:
        if job.norm == "linf":
            size = int(job.eps_255)
            return job.images + job.rng.integers(
                -size, size, job.images.shape, np.int16, endpoint=True
            )
        delta = job.rng.normal(size=job.images.shape)
        length = np.sqrt((delta.reshape(len(delta), -1) ** 2).sum(axis=1))
        return job.images + delta * (job.eps_255 / length)[:, None, None, None]


attack = Noise()
