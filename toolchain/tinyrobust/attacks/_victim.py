"""What an attack sees of a model: scores, perhaps gradients, and a meter that counts its use.

In: a Graph, and an Oracle that computes its scores (``_oracles.py``: the interpreter, the
engine, the host build, a device). Out: a Victim. All oracles of one Graph give the same integers;
gradients are the float64 twin's, equal to it on every integer.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyrobust.attacks._oracles import InterpreterOracle, Oracle
from tinyrobust.graph.nodes import Graph
from tinyrobust.twin.losses import Loss, Pulled, cross_entropy

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Victim(Protocol):
    """The model under attack. Images are uint8 (N, H, W, C) in ``lo..hi``."""

    input_shape: tuple[int, ...]
    classes: int
    lo: int
    hi: int

    @property
    def queries(self) -> Int64:
        """Images shown since ``begin``, per image under attack."""
        ...

    def begin(self, count: int) -> None:
        """Reset the meter for ``count`` images under attack."""
        ...

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """Scores (N, classes); ``owners[i]`` is the image under attack that i belongs to."""
        ...

    def loss_and_gradient(
        self, images: UInt8, labels: Int64, temperature: float = 1.0
    ) -> tuple[Float64, Float64]:
        """Cross-entropy (N,) and its straight-through gradient (N, H, W, C) by the pixels."""
        ...

    def logits(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """What losses and gradients are of: the scores, or what an 8-bit softmax makes them of."""
        ...

    def pull(
        self, images: UInt8, loss: Loss, owners: Int64 | None = None, leak: float = 0.0
    ) -> Pulled:
        """Logits, any loss of them, and its gradient; one query per image.

        ``leak``: the part of the gradient that passes a clamp which is shut.
        """
        ...

    def jacobian(self, images: UInt8, owners: Int64 | None = None) -> tuple[Float64, Float64]:
        """Logits (N, K) and all their gradients (N, K, H, W, C); K queries per image."""
        ...


class Metered:
    """A Victim over what a subclass has: ``_scores``, ``_pull``, ``_jacobian`` (and ``_logits``).

    ``asked`` images took the oracle ``asked_s`` seconds since the object was made.
    """

    lo, hi = 0, 255
    input_shape: tuple[int, ...]
    classes: int
    oracle_name = "interpreter"

    def __init__(self) -> None:
        self.asked = 0
        self.asked_s = 0.0
        self.begin(0)

    @property
    def queries(self) -> Int64:
        """See Victim."""
        return self._queries

    def begin(self, count: int) -> None:
        """See Victim."""
        self._queries = np.zeros(count, np.int64)

    def scores(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        began = time.monotonic()
        found = self._scores(images)
        self.asked += len(images)
        self.asked_s += time.monotonic() - began
        self._count(len(images), owners, 1)
        return found

    def loss_and_gradient(
        self, images: UInt8, labels: Int64, temperature: float = 1.0
    ) -> tuple[Float64, Float64]:
        """See Victim."""
        made = self.pull(images, cross_entropy(labels, temperature))
        return made.loss, made.gradient

    def logits(self, images: UInt8, owners: Int64 | None = None) -> Float64:
        """See Victim."""
        self._count(len(images), owners, 1)
        return self._logits(images)

    def pull(
        self, images: UInt8, loss: Loss, owners: Int64 | None = None, leak: float = 0.0
    ) -> Pulled:
        """See Victim."""
        self._count(len(images), owners, 1)
        return self._pull(images, loss) if not leak else self._pull_leaking(images, loss, leak)

    def jacobian(self, images: UInt8, owners: Int64 | None = None) -> tuple[Float64, Float64]:
        """See Victim."""
        self._count(len(images), owners, self.classes)
        return self._jacobian(images)

    def _count(self, count: int, owners: Int64 | None, each: int) -> None:
        if owners is not None:
            np.add.at(self._queries, owners, each)
        elif count == len(self._queries):
            self._queries += each

    def _scores(self, images: UInt8) -> Float64:
        raise NotImplementedError

    def _logits(self, images: UInt8) -> Float64:
        return self._scores(images)

    def _pull(self, images: UInt8, loss: Loss) -> Pulled:
        raise NotImplementedError

    def _pull_leaking(self, images: UInt8, loss: Loss, leak: float) -> Pulled:
        """What knows no such gradients gives those it has."""
        return self._pull(images, loss)

    def _jacobian(self, images: UInt8) -> tuple[Float64, Float64]:
        raise NotImplementedError


class GraphVictim(Metered):
    """A Victim made of a Graph; ``oracle`` answers what is asked without gradients."""

    def __init__(self, graph: Graph, oracle: Oracle | None = None) -> None:
        self.graph = graph
        self.input_shape = graph.input.shape
        self.classes = graph.output.size
        self._oracle = oracle or InterpreterOracle(graph)
        self.oracle_name = self._oracle.name
        self._scale = 2.0**-graph.output.frac_bits
        self._made: dict[float, Any] = {}  # twins by what their clamps leak
        super().__init__()

    @property
    def retried(self) -> int:
        """How often the oracle, a board, was lost and asked again."""
        return int(getattr(self._oracle, "retried", 0))

    @property
    def _twin(self) -> Any:
        return self._leaking_twin(0.0)

    def _leaking_twin(self, leak: float) -> Any:
        if leak not in self._made:
            from tinyrobust.twin.native import twin_for

            self._made[leak] = twin_for(self.graph, leak=leak)
        return self._made[leak]

    def _scores(self, images: UInt8) -> Float64:
        return np.asarray(self._oracle(images) * self._scale)

    def _logits(self, images: UInt8) -> Float64:
        if self.graph.family == "fixed":
            return self._scores(images)
        return np.asarray(self._twin.logits(images))

    def _pull(self, images: UInt8, loss: Loss) -> Pulled:
        found: Pulled = self._twin.pull(images, loss)
        return found

    def _pull_leaking(self, images: UInt8, loss: Loss, leak: float) -> Pulled:
        found: Pulled = self._leaking_twin(leak).pull(images, loss)
        return found

    def _jacobian(self, images: UInt8) -> tuple[Float64, Float64]:
        logits, gradients = self._twin.jacobian(images)
        return logits, gradients
