"""What the kernels over ``firmware/runtime/int8_pairs.hpp`` do on an int8 layer.

``exact``: 1 when their arithmetic is proved to be TensorFlow Lite's on this layer, for every
channel and every possible input; else 0. ``channels`` of the output; ``quads``: groups of four
inputs that a channel has; ``blocks``: groups of four channels; ``away``, ``clamped``: halves of
negative results matter, the clamp is not to -128..127.

Of a convolution: ``tiles``: pairs of output pixels, in ``rows`` rows; ``rounds`` of the inner loop
for one block; ``pointwise``, ``sliding``, ``gathered``: how windows are read, 1 or 0.
``expansions``: runs of pixels that become words of columns, in ``fours`` groups of four quads and
``singles``. Sliding: ``columns`` of kernels, ``border_columns`` of
them, of ``border_rows`` runs, with padding; ``moves`` in the buffer of columns, of ``moved`` words.
Gathered: ``gathers``, of ``runs`` of pixels, of ``run_words`` words; ``edge_runs`` of others, of
``edge_pixels`` that are gathered one by one, ``edge_bytes`` of the input and ``blank_bytes`` of
padding, ``blank_pixels`` of them; ``cleared``: bytes of the buffer. ``scratch``: bytes; ``ahead``:
how far before its input the output may start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import int8
from tinyrobust.graph.base import INT16, aligned
from tinyrobust.graph.interpreter_int8 import high_mul
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.layers import Layer

NAMES = frozenset({
    "exact", "channels", "quads", "tiles", "blocks", "rounds", "away", "clamped", "pointwise",
    "sliding", "gathered", "rows", "expansions", "fours", "singles", "columns",
    "border_columns", "border_rows", "moves", "moved", "runs", "run_words",
    "gathers", "edge_runs", "edge_pixels", "edge_bytes", "blank_pixels", "blank_bytes", "cleared",
    "scratch", "ahead",
})  # fmt: skip
UNROLLED = 8  # quads in a round of the inner loop


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Values of ``NAMES``."""
    node: Any = layer.node
    outputs, taps = node.per_channel.shape
    quads = -(-taps // 4)
    found = dict.fromkeys(NAMES, 0.0) | {
        "exact": int(exact(node)),
        "channels": outputs,
        "quads": quads,
        "blocks": -(-outputs // 4),
        "rounds": -(-quads // UNROLLED),
        "away": int(node.lo < node.output_zero),
        "clamped": int((node.lo, node.hi) != (-128, 127)),
    }
    if isinstance(node, int8.Conv2DInt8):
        walk = _Walk(node, aligned(graph.tensor[layer.source].shape),
                     aligned(graph.tensor[layer.output].shape))  # fmt: skip
        found |= walk.counts()
    return found


class _Walk:
    """How conv2d_i8p_i8 goes over its input."""

    def __init__(
        self, node: int8.Conv2DInt8, source: tuple[int, ...], out: tuple[int, ...]
    ) -> None:
        self.node = node
        self.in_h, self.in_w, self.in_c = source
        self.out_h, self.out_w, self.out_c = out
        self.rows, self.columns = node.weights.shape[1:3]

    def counts(self) -> dict[str, float]:
        whole = self.in_c % 4 == 0
        same = (self.in_h, self.in_w) == (self.out_h, self.out_w)
        spare = 2 * (-(-self.out_c // 4) * 4)
        if not whole:
            return self._gathered(spare)
        if self.rows * self.columns == 1 and same:
            return self._pointwise(spare)
        return self._sliding(spare)

    def _pointwise(self, spare: int) -> dict[str, float]:
        pixels = self.out_h * self.out_w
        tiles = -(-pixels // 2)
        done = np.minimum(np.arange(2, pixels + 2, 2), pixels)  # read, then written
        return {
            "pointwise": 1,
            "tiles": tiles,
            "rows": 1,
            **self._expanded(tiles, self.in_c // 4),
            "scratch": spare + 4 * self.in_c,
            "ahead": int((done * (self.out_c - self.in_c)).max()),
        }

    @staticmethod
    def _expanded(expansions: int, quads: int) -> dict[str, float]:
        return {"expansions": expansions, "fours": expansions * (quads // 4),
                "singles": expansions * (quads % 4)}  # fmt: skip

    def _sliding(self, spare: int) -> dict[str, float]:
        node = self.node
        reuse = node.dilations[1] == 1 and node.strides[1] < self.columns
        fresh = node.strides[1] if reuse else self.columns
        pairs_of_rows = -(-self.out_h // 2)
        column_bytes = 4 * self.rows * self.in_c
        capacity = self.columns * (2 if reuse else 1)
        # How often a row fills the buffer, and which columns of the input it reads.
        kept = self.columns - fresh
        per_fill = (capacity - self.columns) // fresh + 1
        moves = -(-self.out_w // per_fill) - 1
        if reuse:
            read = np.arange(kept + self.out_w * fresh) - node.pads[2]
        else:
            starts = np.arange(self.out_w) * node.strides[1] - node.pads[2]
            read = (starts[:, None] + np.arange(self.columns) * node.dilations[1]).ravel()
        outside = int(np.count_nonzero((read < 0) | (read >= self.in_w)))
        first = 2 * np.arange(pairs_of_rows) * node.strides[0] - node.pads[0]
        last = first + node.strides[0] + (self.rows - 1) * node.dilations[0]
        bordered = int(np.count_nonzero((first < 0) | (last >= self.in_h)))
        return {
            "tiles": pairs_of_rows * self.out_w,
            "rows": pairs_of_rows,
            **self._expanded(pairs_of_rows * read.size * self.rows, self.in_c // 4),
            "sliding": 1,
            "columns": pairs_of_rows * read.size,
            "border_columns": bordered * read.size + (pairs_of_rows - bordered) * outside,
            "border_rows": self.rows
            * (bordered * read.size + (pairs_of_rows - bordered) * outside),
            "moves": pairs_of_rows * moves,
            "moved": pairs_of_rows * moves * kept * column_bytes // 4,
            "scratch": self.in_c + spare + capacity * column_bytes,
            "ahead": self._ahead(self.columns if reuse else 0),
        }

    def _gathered(self, spare: int) -> dict[str, float]:
        node, run = self.node, self.columns * self.in_c
        quads = -(-self.rows * run // 4)
        shared = node.dilations[0] == 1
        # Input rows of every row of tiles, input columns of every tile in it.
        y0 = 2 * np.arange(-(-self.out_h // 2)) * node.strides[0] - node.pads[0]
        taps = np.arange(self.rows + node.strides[0]) if shared else (
            np.arange(2)[:, None] * node.strides[0] + np.arange(self.rows) * node.dilations[0]
        ).ravel()  # fmt: skip
        y = y0[:, None] + taps
        x = (np.arange(self.out_w) * node.strides[1] - node.pads[2])[:, None]
        x = x + np.arange(self.columns) * node.dilations[1]
        y_in, x_in = (y >= 0) & (y < self.in_h), (x >= 0) & (x < self.in_w)
        # Tiles that are copied word by word: all inside, but for the last bytes of the input.
        quick = y_in.all(axis=1)[:, None] & x_in.all(axis=1) & (node.dilations[1] == 1)
        quick &= ~((y.max(axis=1) == self.in_h - 1)[:, None] & (x[:, -1] == self.in_w - 1))
        if run % 4 and self.in_c * self.in_w < 3:
            quick[:] = False
        runs = int(quick.sum()) * len(taps)
        pixels = quick.size * len(taps) * self.columns - runs * self.columns
        copied = int(y_in.sum()) * int(x_in.sum()) - runs * self.columns
        gathered = -(-(len(taps) * run + 3) // 4) * 4
        return {
            "gathered": 1,
            "tiles": quick.size,
            "rows": len(y0),
            **self._expanded(quick.size, quads),
            "gathers": quick.size * (1 if shared else 2),
            "runs": runs,
            "edge_runs": quick.size * len(taps) - runs,
            "blank_pixels": pixels - copied,
            "cleared": gathered,
            "run_words": runs * -(-run // 4),
            "edge_pixels": pixels,
            "edge_bytes": copied * self.in_c,
            "blank_bytes": (pixels - copied) * self.in_c,
            "scratch": spare + gathered + 16 * quads,
            "ahead": self._ahead(0),
        }

    def _ahead(self, expanded: int) -> int:
        """Bytes of output written after a tile less the lowest byte of the input still to be read,
        at most; all but ``expanded`` columns of the next window must be read again."""
        node = self.node
        row_bytes = self.in_w * self.in_c
        x = np.arange(self.out_w)
        next_x = (x + 1) * node.strides[1] - node.pads[2]
        if expanded:
            next_x += expanded - node.strides[1]
        most = -self.in_h * row_bytes
        for y in range(0, self.out_h, 2):
            needed = (
                max(0, y * node.strides[0] - node.pads[0]) * row_bytes
                + np.maximum(0, next_x) * self.in_c
            )
            needed[-1] = self.in_h * row_bytes  # the row is done
            if y + 2 < self.out_h:
                below = max(0, (y + 2) * node.strides[0] - node.pads[0])
                needed = np.minimum(needed, below * row_bytes)
            written = (min(y + 1, self.out_h - 1) * self.out_w + x + 1) * self.out_c
            most = max(most, int((written - needed).max()))
        return most


def exact(node: int8.Weighted) -> bool:
    """True when every step of the arithmetic is exact for all inputs in -128..127."""
    weights = node.per_channel.astype(np.int64)
    # Halfwords a + 256 * b; the second channel of a pair must not push a negative first too low.
    if len(weights) % 2:
        weights = np.vstack([weights, np.zeros_like(weights[:1])])
    if int((weights[0::2] + 256 * weights[1::2]).min(initial=0)) < -(1 << 15):
        return False
    # The second channel's sum over the input's own integers, before its bias is added.
    second = weights[1::2]
    most = np.maximum(-128 * second, 127 * second).sum(axis=1)
    least = np.minimum(-128 * second, 127 * second).sum(axis=1)
    if max(-int(least.min(initial=0)), int(most.max(initial=0))) >= 1 << 23:
        return False
    return rounds_in_halves(node)


def rounds_in_halves(node: int8.Weighted) -> bool:
    """True when the requantisation with SHADD16 is exact for all inputs in -128..127."""
    return int(scales(node)[1].min()) > 0 and bool(halves(node).all())


def accumulator_range(node: int8.Weighted) -> tuple[Any, Any]:
    """(lowest, highest) accumulator of every channel over all inputs; padding lies within."""
    weights = node.per_channel.astype(np.int64)
    ends = (-128 - node.input_zero) * weights, (127 - node.input_zero) * weights
    low = np.minimum(*ends).sum(axis=1) + node.bias
    high = np.maximum(*ends).sum(axis=1) + node.bias
    return low, high


def scales(node: int8.Weighted) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(multipliers, right shifts). A multiplier of 0 gives 0, as does the smallest one shifted by
    all its bits."""
    nothing = node.multipliers == 0
    multipliers = np.where(nothing, 1 << 30, node.multipliers).astype(np.int64)
    return multipliers, np.where(nothing, 31, -node.shifts.astype(np.int64))


def halves(node: int8.Weighted) -> npt.NDArray[np.bool_]:
    """Per channel: the accumulators, rounded once and shifted but for one bit, fit int16."""
    multipliers, shifts = scales(node)
    values = [
        high_mul(acc, multipliers) + (acc >> 63) >> np.maximum(shifts - 1, 0)
        for acc in accumulator_range(node)
    ]
    return np.asarray((values[0] >= INT16[0]) & (values[1] <= INT16[1]))
