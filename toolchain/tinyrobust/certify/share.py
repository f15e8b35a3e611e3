"""The certified share of images beside the attacked one.

In: a Graph, images, labels, sizes, an attack. Out: per size a Share: right when clean, right under
the attack, proved. What is proved cannot be broken: a proved image that the attack breaks is an
error, raised here, whoever is at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import attacks
from tinyrobust.certify.classes import certify
from tinyrobust.certify.intervals import UInt8
from tinyrobust.errors import CheckFailed
from tinyrobust.graph.nodes import Graph
from tinyrobust.statistics import wilson

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Share:
    """Of ``samples`` images at one size: how many are right when clean, stay right under the attack
    (None: none was run), and are proved to stay right whatever the change."""

    eps_255: float
    samples: int
    clean: int
    attacked: int | None
    certified: int
    median_lead: float

    def as_json(self) -> dict[str, Any]:
        """Plain data with 95 % intervals (Wilson)."""
        made: dict[str, Any] = {"eps_255": self.eps_255, "samples": self.samples,
                                "median_lead": self.median_lead}  # fmt: skip
        for name in ("clean", "attacked", "certified"):
            count = getattr(self, name)
            if count is None:
                made[name] = None
                continue
            low, high = wilson(count, self.samples)
            made[name] = {
                "images": count, "share": count / self.samples, "low": low, "high": high,
            }  # fmt: skip
        return made


def shares(
    graph: Graph, images: UInt8, labels: npt.ArrayLike, sizes: Sequence[float], *,
    victim: attacks.Victim | None = None, attack: str | None = None, seed: int = 0,
    progress: Progress = lambda fraction: None,
) -> list[Share]:  # fmt: skip
    """A Share for each size, the smallest first; with ``attack`` that one's too, on ``victim``.

    Raises CheckFailed when an image that is proved is broken, and as ``certify``.
    """
    truth = np.asarray(labels, np.int64)
    found = []
    for turn, eps in enumerate(sorted(sizes)):
        proved = certify(graph, images, truth, eps)
        clean = certify(graph, images, truth, 0)
        left: int | None = None
        if attack is not None and victim is not None:
            made = attacks.get(attack).run(victim, images, truth, eps_255=eps, seed=seed)
            right = ~made.skipped & ~made.success
            wrong = np.flatnonzero(proved.proved & ~right)
            if wrong.size:
                raise CheckFailed(
                    f"image {wrong[0]} is certified at {eps:g}/255 and {attack} breaks it: "
                    "certificate or interpreter is at fault, trust neither",
                    "please report the model and this line",
                )
            left = int(right.sum())
        leads = proved.lead[clean.proved]
        found.append(Share(
            eps, len(images), int(clean.proved.sum()), left, int(proved.proved.sum()),
            float(np.median(leads)) if leads.size else 0.0,
        ))  # fmt: skip
        progress((turn + 1) / len(sizes))
    return found
