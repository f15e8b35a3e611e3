"""What an attack sees of a model: scores, perhaps gradients, and a meter that counts its use.

In: a Graph. Out: a Victim. Scores are the interpreter's integers (computed by ``_scores.py``),
which are the device's too; gradients are the float64 twin's, equal to it on every integer.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._scores import FastScores
from tinyrobust.graph import run
from tinyrobust.graph.nodes import Graph

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Victim(Protocol):
    """The model under attack. Images are uint8 (N, H, W, C) in ``lo..hi``."""

    input_shape: tuple[int, ...]
    classes: int
    lo: int
    hi: int
    queries: Int64  # images shown since ``begin``, per image under attack

    def begin(self, count: int) -> None:
        """Reset the meter for ``count`` images under attack."""
        ...

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """Scores (N, classes); ``owners[i]`` is the image under attack that i belongs to."""
        ...

    def loss_and_gradient(self, images: UInt8, labels: Int64) -> tuple[Float64, Float64]:
        """Cross-entropy (N,) and its straight-through gradient (N, H, W, C) by the pixels."""
        ...


class GraphVictim:
    """A Victim made of a Graph; see Victim for the methods."""

    lo, hi = 0, 255

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.input_shape = graph.input.shape
        self.classes = graph.output.size
        self._scale = 2.0**-graph.output.frac_bits
        self._scores = FastScores(graph) if graph.family == "fixed" else partial(run, graph)
        self._twin: Any = None
        self.begin(0)

    def begin(self, count: int) -> None:
        self.queries = np.zeros(count, np.int64)

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        self._count(len(images), owners)
        return self._scores(images) * self._scale

    def loss_and_gradient(self, images: UInt8, labels: Int64) -> tuple[Float64, Float64]:
        if self._twin is None:
            from tinyrobust.convert.twin import Twin
            from tinyrobust.convert.twin_int8 import TwinInt8

            self._twin = (Twin if self.graph.family == "fixed" else TwinInt8)(self.graph)
        self._count(len(images), None)
        loss, gradient = self._twin.loss_and_gradient(images.astype(np.float64), labels)
        return loss, gradient

    def _count(self, count: int, owners: Int64 | None) -> None:
        if owners is not None:
            np.add.at(self.queries, owners, 1)
        elif count == len(self.queries):
            self.queries += 1
