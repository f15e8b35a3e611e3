"""Which images keep their class for every image of a ball.

In: a Graph, uint8 images, labels, a size in Linf. Out: per image whether it is proved, and the
least lead of its class over the others that is proved.

The class is the first largest score. It is proved when its score is above that of every other
class, or equal to that of a later one, for all images of the ball. Where the scores come from a
``Dense`` and its ``Requantize``, the lead is bounded as one sum, which is tighter than the two
scores' own intervals: with ``t_k = b_k + ((m_k * acc_k) >> 16)`` and ``P`` the least value of
``m_c * acc_c - m_j * acc_j``, an exact sum of the layer's inputs, ``t_c - t_j`` is at least
``b_c - b_j + (P >> 16)``: ``(u >> 16) - (v >> 16) >= (u - v) / 2**16 - (1 - 2**-16)``, and the
difference is whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyrobust.certify.intervals import Bounds, UInt8, bounds
from tinyrobust.graph.nodes import Dense, Graph, Requantize

Int64 = npt.NDArray[np.int64]
BATCH = 16


@dataclass(frozen=True)
class Certified:
    """Of N images: ``proved`` that no change within the size turns them from the label; ``lead``:
    the least lead over any other class that is proved, in steps of the scores (less than 0: nothing
    is)."""

    proved: npt.NDArray[np.bool_]
    lead: Int64


def certify(graph: Graph, images: UInt8, labels: npt.ArrayLike, eps_255: float) -> Certified:
    """Bounds for the Linf ball of ``eps_255``/255 around each image, cut to 0..255.

    Raises as ``intervals.bounds``.
    """
    truth = np.asarray(labels, np.int64)
    size = int(eps_255)
    proved, leads = np.zeros(len(images), bool), np.zeros(len(images), np.int64)
    for first in range(0, len(images), BATCH):
        here = slice(first, first + BATCH)
        wide = images[here].astype(np.int16)
        low = np.maximum(wide - size, 0).astype(np.uint8)
        high = np.minimum(wide + size, 255).astype(np.uint8)
        found = bounds(graph, low, high)
        lead = _leads(graph, found, truth[here])
        # A tie goes to the first of the largest scores: over a class before, 1 is needed.
        classes = np.arange(lead.shape[1])
        needed = (classes[None] < truth[here][:, None]).astype(np.int64)
        own = classes[None] == truth[here][:, None]
        proved[here] = ((lead >= needed) | own).all(axis=1)
        leads[here] = np.where(own, np.iinfo(np.int64).max, lead - needed).min(axis=1)
    return Certified(proved, leads)


def _leads(graph: Graph, found: dict[str, Bounds], truth: Int64) -> Int64:
    """(N, K): a lower bound of the label's score less each class's."""
    rows = np.arange(len(truth))
    scores = found[graph.output.name]
    lead = scores.low.astype(np.int64)[rows, truth][:, None] - scores.high.astype(np.int64)
    last = graph.producer(graph.output.name)
    if isinstance(last, Requantize) and len(last.inputs) == 1:
        dense = graph.producer(last.inputs[0])
        if isinstance(dense, Dense):
            lead = np.maximum(lead, _together(dense, last, found[dense.inputs[0]], truth))
    return np.asarray(lead, np.int64)


def _together(dense: Dense, last: Requantize, x: Bounds, truth: Int64) -> Int64:
    """(N, K): the lead through the last layer as one sum; see the module."""
    low = x.low.reshape(len(x.low), -1).astype(np.int64)
    high = x.high.reshape(len(x.high), -1).astype(np.int64)
    scaled = last.multipliers[0].astype(np.int64)[:, None] * dense.weights.astype(np.int64)
    bias = last.bias.astype(np.int64)
    made = np.zeros((len(truth), len(scaled)), np.int64)
    for row, label in enumerate(truth):
        difference = scaled[label][None] - scaled
        least = np.where(difference >= 0, low[row][None], high[row][None])
        made[row] = bias[label] - bias + ((difference * least).sum(axis=1) >> 16)
    return made
