"""Uniform random noise: no attack, but the floor that every attack must beat.

Each pixel value moves by an integer drawn uniformly from -eps..eps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._attack import Attack, Progress
from tinyrobust.attacks._victim import Int64, UInt8, Victim


class Noise(Attack):
    """One draw of uniform integer noise per image."""

    name = "noise"
    title = "noise"
    paper = "none; the floor that the attacks are compared with"
    kind = "floor"

    def parameters(self, eps_255: int) -> dict[str, Any]:
        return {"distribution": f"uniform integers -{eps_255}..{eps_255}"}

    def craft(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        eps_255: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> npt.NDArray[Any]:
        return images + rng.integers(-eps_255, eps_255, images.shape, np.int16, endpoint=True)


attack = Noise()
