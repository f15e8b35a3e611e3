"""Nested loops over int8 tensors, as few and as long as the tensors allow.

In: what a node of family ``tflite`` does with its elements. Out: the loops of its parameter
struct (``firmware/runtime/int8_layers.hpp``); the formulas of kernel.yaml count the same loops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinyrobust.graph.base import aligned
from tinyrobust.graph.int8 import Binary, MeanInt8, PadInt8, StridedSliceInt8

AXES = 3
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Loops:
    """Three loops of ``size`` iterations, the outermost first; ``steps[operand][loop]`` is how many
    elements the operand moves from one iteration to the next."""

    size: Shape
    steps: tuple[Shape, ...]


def dense_steps(shape: Shape) -> Shape:
    """Elements from one index to the next along each of three axes of a dense tensor."""
    _, x, c = aligned(shape)
    return (x * c, c, 1)


def merged(size: Shape, *steps: Shape) -> Loops:
    """The same walk in as few loops as possible, the others empty and outside."""
    axes = [(n, tuple(s[i] for s in steps)) for i, n in enumerate(size) if n != 1]
    found: list[tuple[int, Shape]] = []
    for n, moves in axes:
        if found and all(a == b * n for a, b in zip(found[-1][1], moves, strict=True)):
            found[-1] = (found[-1][0] * n, moves)
        else:
            found.append((n, moves))
    found = [(1, (0,) * len(steps))] * (AXES - len(found)) + found
    return Loops(
        tuple(n for n, _ in found),
        tuple(tuple(moves[i] for _, moves in found) for i in range(len(steps))),
    )


def binary(node: Binary, sources: list[Shape], out: Shape) -> Loops:
    """The loops over the output of an elementwise operation, and the steps of both operands."""
    shapes = [*sources, *([node.constant.shape] if node.constant.size else [])]
    if node.constant_first:
        shapes.reverse()
    size = aligned(out)
    steps = [
        tuple(s if n > 1 else 0 for s, n in zip(dense_steps(shape), aligned(shape), strict=True))
        for shape in shapes
    ]
    return merged(size, *steps, dense_steps(out))


def mean(node: MeanInt8, source: Shape) -> tuple[Loops, Loops]:
    """The loops over the output, and those over what becomes one element of it."""
    size, steps = aligned(source), dense_steps(source)
    outer = tuple(1 if reduced else n for n, reduced in zip(size, node.axes, strict=True))
    inner = tuple(n if reduced else 1 for n, reduced in zip(size, node.axes, strict=True))
    return merged(outer, steps), merged(inner, steps)


@dataclass(frozen=True)
class Copy:
    """``loops`` over what is copied (steps of the input and of the output), the first element read
    and written, and the elements of the output to fill before."""

    loops: Loops
    source: int
    target: int
    fill: int


def copy(node: PadInt8 | StridedSliceInt8, source: Shape, out: Shape) -> Copy:
    """The copy that a pad or a slice is."""
    steps, to_steps = dense_steps(source), dense_steps(out)
    if isinstance(node, PadInt8):
        target = sum(n * s for n, s in zip(node.before, to_steps, strict=True))
        filled = math.prod(out) if any((*node.before, *node.after)) else 0
        return Copy(merged(aligned(source), steps, to_steps), 0, target, filled)
    begin = sum(n * s for n, s in zip(node.begin, steps, strict=True))
    moves = tuple(n * s for n, s in zip(node.strides, steps, strict=True))
    return Copy(merged(aligned(out), moves, to_steps), begin, 0, 0)
