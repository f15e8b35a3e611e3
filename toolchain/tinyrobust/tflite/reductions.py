"""TensorFlow Lite's reductions to the largest or smallest value, as pools.

In: an operator in its Context. Out: nodes; Unsupported with the reason where there are none. Along
neighbouring axes a tensor is (outer, reduced, inner), and its maximum a pool with a window of
(1, reduced); axes apart are reduced one after the other.
"""

from __future__ import annotations

import math

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node
from tinyrobust.tflite.context import Context, activations, axis_of, graph_shape, integers
from tinyrobust.tflite.steps import Steps

_MIRROR = (-1 - np.arange(-128, 128)).astype(np.int8)  # largest becomes smallest


def reduce_max(context: Context) -> list[Node]:
    return _reduced(context, smallest=False)


def reduce_min(context: Context) -> list[Node]:
    return _reduced(context, smallest=True)


def _reduced(context: Context, *, smallest: bool) -> list[Node]:
    context.arity((2,))
    source, out = context.tensor(0), context.output()
    activations(source, out)
    rank = len(source.shape)
    axes = {axis_of(axis, rank) for axis in integers(context.tensor(1))}
    keep = bool(context.option("KeepDims", False))
    context.expect(tuple(
        1 if axis in axes else n for axis, n in enumerate(source.shape) if keep or axis not in axes
    ))  # fmt: skip
    steps, shape = Steps(context), list(source.shape)
    name = steps.read(source)
    if smallest:
        name = steps.add(int8.LookupInt8, [name], graph_shape(source), source, table=_MIRROR)
    first = 0
    while first < rank:
        last = first
        while last < rank and last in axes:
            last += 1
        count = math.prod(shape[first:last])
        if count > 1:
            outer, inner = math.prod(shape[:first]), math.prod(shape[last:])
            whole = steps.view(name, (outer, count, inner), source)
            name = steps.add(int8.MaxPool2DInt8, [whole], (outer, 1, inner), source,
                             size=(1, count), strides=(1, count))  # fmt: skip
            shape[first:last] = [1] * (last - first)
        first = last + 1
    if smallest:
        flat = steps.view(name, (out.size,), source)
        name = steps.add(int8.LookupInt8, [flat], (out.size,), source, table=_MIRROR)
    return steps.finish(name)
