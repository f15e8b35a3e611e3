"""What the fast int8 additions need to know of a layer: ``exact``, 1 when a linear form gives
TensorFlow Lite's result for all 65,536 pairs of inputs, else 0; ``plain``, 1 when both operands are
tensors of the output's shape; ``shift``, how far the result is shifted to the right.

``form`` finds it: ``q = clamp((start + (a * x >> 8) + (b * y >> 8)) >> SHIFT)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.interpreter_int8 import multiply
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels.layers import Layer

NAMES = frozenset({"exact", "plain", "shift"})
SHIFT = 21  # of the device's code
_CODES = np.arange(-128, 128, dtype=np.int64)


def counts(layer: Layer, graph: Graph, variant: Mapping[str, int]) -> dict[str, float]:
    """Values of ``NAMES``."""
    node: Any = layer.node
    shapes = [graph.tensor[t].shape for t in (*node.inputs, node.output)]
    plain = len(shapes) == 3 and len(set(shapes)) == 1 and not node.constant.size
    return {"exact": int(plain and form(node) is not None), "plain": int(plain),
            "shift": -node.shifts[2]}  # fmt: skip


def form(node: int8.AddInt8) -> tuple[int, int, int] | None:
    """(a, b, start) that are exact for all pairs of inputs; None when none was found."""
    if (node.lo, node.hi) != (-128, 127):
        return None
    return _form(node.input_zeros, node.output_zero, node.multipliers, node.shifts)


@lru_cache(maxsize=256)
def _form(
    zeros: tuple[int, int], out_zero: int, multipliers: tuple[int, ...], shifts: tuple[int, ...]
) -> tuple[int, int, int] | None:
    real = [m * 2.0 ** (s - 31) for m, s in zip(multipliers, shifts, strict=True)]
    slopes = [real[i] * real[2] * (1 << 20) for i in (0, 1)]
    if 255 * sum(slopes) + 129 >= 1 << (31 - SHIFT):
        return None  # the sum could leave int32
    terms = [multiply((_CODES - zeros[i]) << 20, multipliers[i], shifts[i]) for i in (0, 1)]
    exact = np.clip(
        multiply(terms[0][:, None] + terms[1], multipliers[2], shifts[2]) + out_zero, -128, 127
    )
    ideal = [round(slope * (1 << (SHIFT + 8))) for slope in slopes]
    for da in (0, 1, -1, 2, -2):
        for db in (0, 1, -1, 2, -2):
            a, b = ideal[0] + da, ideal[1] + db
            start = _start(((a * _CODES) >> 8)[:, None] + ((b * _CODES) >> 8), exact)
            if start is not None:
                return a, b, start
    return None


def _start(sums: Any, exact: Any) -> int | None:
    """What to add to ``sums`` so that they give ``exact`` after the shift; the middle of it."""
    low = np.where(exact > -128, (exact << SHIFT) - sums, -(1 << 40)).max()
    high = np.where(exact < 127, ((exact + 1) << SHIFT) - 1 - sums, 1 << 40).min()
    if low > high:
        return None
    start = int(np.clip((low + high) // 2, low, high))
    fits = abs(start) + int(np.abs(sums).max()) < 1 << 31
    return start if fits else None
