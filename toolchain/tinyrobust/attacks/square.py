"""Square: random search with square-shaped changes, Linf, black-box, 1,000 queries per image.

Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
attack via random search", ECCV 2020 (arXiv:1912.00049); ART's SquareAttack.

Every point it visits is an integer image: the start and each square lie at +-eps. Each image
stops at its first success. ART draws one square per step for all images of a batch, and leaves
the last row and column to the first stripes; both are ART's own ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks import _art
from tinyrobust.attacks._attack import Attack, Progress
from tinyrobust.attacks._victim import Int64, UInt8, Victim

QUERIES = 1000
P_INIT = 0.8  # the paper's for untargeted Linf


class Square(Attack):
    """Random search over squares; the clean image and the stripes are two of the queries."""

    name = "square"
    title = "Square"
    paper = "Andriushchenko et al. 2020, arXiv:1912.00049"
    kind = "black-box"
    needs_art = True

    def parameters(self, eps_255: int) -> dict[str, Any]:
        return {"queries": QUERIES, "p_init": P_INIT, "loss": "margin", "restarts": 1}

    def craft(
        self,
        victim: Victim,
        images: UInt8,
        labels: Int64,
        eps_255: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> npt.NDArray[Any]:
        estimator = _art.estimator(victim)
        from art.attacks.evasion.square_attack import SquareAttack

        steps = QUERIES - 2
        losses = 0

        def margin(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[Any]:
            """Score of the true class above the best other one; ART asks twice per step."""
            nonlocal losses
            losses += 1
            progress(min(losses / (2 * steps + 2), 1.0))
            scores = estimator.predict(x)
            truth = y.astype(bool)
            return scores[truth] - np.where(truth, -np.inf, scores).max(axis=1)

        attack = SquareAttack(
            estimator, norm=np.inf, loss=margin, max_iter=steps, eps=float(eps_255),
            p_init=self._p_init(victim), nb_restarts=1, batch_size=len(images), verbose=False,
        )  # fmt: skip
        with _art.seeded(rng):
            made = attack.generate(images.astype(np.float32), _art.one_hot(labels, victim.classes))
        return np.asarray(made)

    def _p_init(self, victim: Victim) -> float:
        """P_INIT, or less where ART's first square would not fit into a long, narrow input."""
        height, width = victim.input_shape[:2]
        return min(P_INIT, (min(height, width) - 1) ** 2 / (height * width))


attack = Square()
