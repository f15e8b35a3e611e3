"""Losses of the logits, as the twins differentiate them.

In: logits (n, K) of part of the images, and which part. Out: the loss (n,) and its derivative by
the logits (n, K). A twin's ``pull`` returns ``Pulled``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Loss = Callable[[Real, slice], tuple[Real, Real]]


@dataclass(frozen=True)
class Pulled:
    """``logits`` (N, K), ``loss`` (N,) and its ``gradient`` (N, H, W, C) by the pixels."""

    logits: Real
    loss: Real
    gradient: Real

    @classmethod
    def empty(cls, shape: tuple[int, ...], classes: int) -> Pulled:
        """Zeros for images of ``shape`` (N, H, W, C)."""
        count = shape[0]
        return cls(np.zeros((count, classes)), np.zeros(count), np.zeros(shape))


def cross_entropy(labels: Labels, temperature: float = 1.0) -> Loss:
    """Cross entropy of ``logits / temperature``, not divided by the temperature again."""

    def loss(logits: Real, where: slice) -> tuple[Real, Real]:
        truth, rows = labels[where], np.arange(len(logits))
        scaled = logits / temperature
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        total = np.exp(scaled).sum(axis=1, keepdims=True)
        flow = np.exp(scaled) / total
        flow[rows, truth] -= 1.0
        return np.log(total[:, 0]) - scaled[rows, truth], flow / temperature

    return loss
