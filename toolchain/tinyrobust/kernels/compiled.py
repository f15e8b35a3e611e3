"""Compiled weights: what the code of a block of four channels does, operation by operation.

In: the trits of a layer and where its inputs lie. Out: for every block its operations, which
``codegen/compiled.py`` writes as ``firmware/runtime/class_compiled.hpp`` specifies, and how many
instructions they are (with DSP instructions), four bytes each.

An input of a class is added to a running sum; behind a class the running sum goes to the outputs
in which the next class has another trit, so that no class is spread by itself. Channels of a
depthwise layer share nothing: each has a running sum of its own, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Conv2D, DepthwiseConv2D, Graph
from tinyrobust.kernels import classes
from tinyrobust.kernels.layers import Layer

SHARE = 4
REACH = 4096  # bytes that the offset of a load reaches
_LOOP = 7  # instructions that end a word
_OUTSIDE = 2  # instructions around the loop
_WORK = {"MIXED": 3, "PLUS": 3, "MINUS": 4, "PLUS_ONE": 2, "MINUS_ONE": 3, "ADD": 2, "SUB": 2,
         "FRESH": 0}  # fmt: skip
_FULL = 3**SHARE
_CLASSES = _FULL // 2


@dataclass(frozen=True)
class Block:
    """``operations``: (name, arguments), arguments byte offsets of inputs or an output's number
    (FRESH: the running sum starts again);
    ``excess``: what is to be taken off each output, with DSP instructions and without."""

    operations: tuple[tuple[str, tuple[int, ...]], ...]
    excess: tuple[tuple[int, int], ...]

    @property
    def word_instructions(self) -> int:
        """Instructions for one word of the output, with DSP instructions."""
        total = _LOOP + sum(3 if dsp else 2 for dsp, _ in self.excess)
        for name, arguments in self.operations:
            total += _WORK[name]
            if name not in ("ADD", "SUB"):
                total += sum(1 if offset < REACH else 2 for offset in arguments)
        return total

    @property
    def code_bytes(self) -> int:
        """Bytes of code, with DSP instructions."""
        return 4 * (self.word_instructions + _OUTSIDE)


@lru_cache(maxsize=64)
def blocks(layer: Layer, graph: Graph) -> tuple[Block, ...]:
    """The blocks of a convolution that reads a planar tensor."""
    node = layer.node
    if isinstance(node, DepthwiseConv2D):
        return _depthwise(node, graph.tensor[layer.source].shape)
    assert isinstance(node, Conv2D)
    kernel_h, kernel_w, in_c = node.weights.shape[1:]
    stretch = 4 * (-(-graph.tensor[layer.source].shape[1] // 4) + 2)
    row, column, channel = np.meshgrid(
        np.arange(kernel_h), np.arange(kernel_w), np.arange(in_c), indexing="ij"
    )
    offsets = ((row * in_c + channel) * stretch + 4 * column).ravel()
    return tuple(_block(codes, offsets) for codes in classes.codes(node.weights, SHARE))


def _depthwise(node: DepthwiseConv2D, source: tuple[int, ...]) -> tuple[Block, ...]:
    stretch = 4 * (-(-source[1] // 4) + 2)
    row, column = np.meshgrid(*(np.arange(n) for n in node.weights.shape[1:]), indexing="ij")
    taps = (row * source[2] * stretch + 4 * column).ravel()
    found = []
    for first in range(0, len(node.weights), SHARE):
        operations: list[tuple[str, tuple[int, ...]]] = []
        excess = [(0, 0)] * SHARE
        for j, weights in enumerate(node.weights[first : first + SHARE]):
            trits, offsets = weights.ravel(), taps + j * stretch
            inputs, complements, mixed = _class(offsets[trits > 0], offsets[trits < 0])
            if inputs:
                operations += [("FRESH", ()), *inputs, ("ADD", (j,))]
                excess[j] = (255 * complements, 128 * mixed)
        found.append(Block(tuple(operations), tuple(excess)))
    return tuple(found)


def _block(codes: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> Block:
    operations: list[tuple[str, tuple[int, ...]]] = [("FRESH", ())]
    dsp, plain = np.zeros(SHARE, np.int64), np.zeros(SHARE, np.int64)
    used = [k for k in range(_CLASSES) if np.any((codes == k) | (codes == _FULL - 1 - k))]
    for k, after in zip(used, [*used[1:], _CLASSES][: len(used)], strict=True):
        inputs, complements, mixed = _class(np.sort(offsets[codes == k]),
                                            np.sort(offsets[codes == _FULL - 1 - k]))  # fmt: skip
        operations += inputs
        dsp += 255 * complements * _trits()[k]
        plain += 128 * mixed * _trits()[k]
        for j, factor in enumerate(_trits()[k] - _trits()[after]):
            operations += [("ADD" if factor > 0 else "SUB", (j,))] * abs(int(factor))
    return Block(tuple(operations), tuple(zip(dsp.tolist(), plain.tolist(), strict=True)))


def _class(
    plus: npt.NDArray[np.int64], minus: npt.NDArray[np.int64]
) -> tuple[list[tuple[str, tuple[int, ...]]], int, int]:
    """Operations of the inputs of a class, how many complement, how many pairs are mixed."""
    mixed = min(len(plus), len(minus))
    found = [("MIXED", (int(a), int(b))) for a, b in zip(plus[:mixed], minus[:mixed], strict=True)]
    rest, name = (plus[mixed:], "PLUS") if len(plus) > mixed else (minus[mixed:], "MINUS")
    pairs = len(rest) // 2
    operations: list[tuple[str, tuple[int, ...]]] = [
        *found, *((name, (int(rest[2 * i]), int(rest[2 * i + 1]))) for i in range(pairs)),
    ]  # fmt: skip
    if len(rest) % 2:
        operations.append((f"{name}_ONE", (int(rest[-1]),)))
    return operations, (len(rest) + 1) // 2 if name == "MINUS" else 0, mixed


@lru_cache(maxsize=1)
def _trits() -> npt.NDArray[np.int64]:
    """Trits (rank, output) of every rank of the Gray code; the middle one is all zeros."""
    grid = np.stack(np.meshgrid(*[np.arange(-1, 2)] * SHARE, indexing="ij"), axis=-1)
    patterns = grid.reshape(-1, SHARE)
    rank = classes.codes(patterns.T.astype(np.int8), SHARE)[0]
    return patterns[np.argsort(rank)].astype(np.int64)
