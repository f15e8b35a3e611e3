"""HopSkipJump: decision-based, minimum norm (L2 or Linf), black-box: only classes are looked at.

Chen, Jordan, Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", IEEE S&P
2020 (arXiv:1904.02144); ART's HopSkipJump, many images in lockstep (``_lockstep.py``).

The input is integer: noise that ART would draw finer than the grid vanishes when it is rounded. So
the noise that estimates the gradient is half as long as the way to the clean image, but per value
at least NOISE_255[0], the finest that a first node which drops a bit sees, and at most
NOISE_255[1]. The start is uniform noise, else another image of the batch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import DEFAULTS, Job, MinimumNorm, Settings
from tinyrobust.attacks._lockstep import Seat, lockstep
from tinyrobust.attacks._victim import UInt8

NOISE_255 = (2.0, 8.0)  # root mean square per value
_EVALUATIONS = 100  # of the first estimate of the gradient; the paper's
_ITERATIONS = 64


class HopSkipJump(MinimumNorm):
    """Walks along the decision boundary by gradients estimated from decisions."""

    name = "hopskipjump"
    title = "HopSkipJump"
    paper = "Chen et al. 2020, arXiv:1904.02144"
    kind = "black-box"
    needs_art = True
    queries = 1000

    def parameters(self, eps_255: float, settings: Settings = DEFAULTS) -> dict[str, Any]:
        return {
            "queries": settings.queries or self.queries, "first_estimate": _EVALUATIONS,
            "noise_255": f"{NOISE_255[0]:g} to {NOISE_255[1]:g}",
            "start": "noise, else another image",
        }  # fmt: skip

    def craft(self, job: Job) -> npt.NDArray[Any]:
        budget = job.settings.queries or self.queries or 1
        return lockstep(job, budget, _play)


def _play(seat: Seat, estimator: Any, start: UInt8) -> None:
    job = seat.job
    attack = _integer_attack()(
        estimator, targeted=job.targets is not None, norm=_art.art_norm(job.norm),
        max_iter=_ITERATIONS, max_eval=10_000, init_eval=_EVALUATIONS, init_size=1, verbose=False,
    )  # fmt: skip
    here = slice(seat.owner, seat.owner + 1)
    attack.generate(
        job.images[here].astype(np.float32), _art.one_hot(job.aims[here], job.victim.classes),
        x_adv_init=start[None].astype(np.float32),
    )  # fmt: skip


@cache
def _integer_attack() -> Any:
    from art.attacks.evasion.hop_skip_jump import HopSkipJump as ArtHopSkipJump

    class IntegerHopSkipJump(ArtHopSkipJump):  # type: ignore[misc]
        """ART's, with noise that the input's integers do not swallow."""

        def _compute_delta(
            self, current_sample: Any, original_sample: Any, clip_min: float, clip_max: float
        ) -> float:
            root = float(np.prod(self.estimator.input_shape)) ** 0.5
            way = float(np.linalg.norm(current_sample - original_sample))
            return float(np.clip(way / 2, NOISE_255[0] * root, NOISE_255[1] * root))

    return IntegerHopSkipJump


attack = HopSkipJump()
