"""The rules of the Graph, checked node by node; every range is proved, never assumed.

In: the Structure that shall become a Graph. Out: nothing, or GraphError naming the node, the
channel and the numbers.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import GraphError
from tinyrobust.graph import verify_int8
from tinyrobust.graph.base import INT32, Node, Reshape, Tensor
from tinyrobust.graph.fixed import (
    TERNARY,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Input,
    Pool2D,
    Requantize,
    Ternary,
)  # fmt: skip
from tinyrobust.graph.int8 import Assign, ScoresInt8
from tinyrobust.graph.rules import inputs, need, windows
from tinyrobust.graph.structure import ENTRIES, FAMILIES, Structure

MAX_SHIFT = 16
MAX_PORTS = 64  # inputs, or outputs
MAX_STATES = 256
MAX_ELEMENTS = 1 << 24
NAME = re.compile(r"[A-Za-z0-9_.:/+-]{1,100}", re.ASCII)  # safe in C++ text and in file names


def verify(graph: Structure) -> None:
    """Check every rule; raises GraphError at the first that is broken."""
    need(graph.family in FAMILIES, "graph", f"unknown arithmetic family '{graph.family}'")
    need(len(graph.nodes) >= 2, "graph", "has fewer than two nodes")
    need(len(graph.tensor) == len(graph.tensors), "graph", "has two tensors of one name")
    need(len(graph.node) == len(graph.nodes), "graph", "has two nodes of one name")
    for name in (graph.name, graph.task, *graph.tensor, *graph.node):
        need(NAME.fullmatch(name) is not None, "graph", f"has a bad name {name!r:.60}")
    for label in graph.labels:
        need(
            0 < len(label) <= 64 and label.isprintable(), "graph", f"has a bad label {label!r:.60}"
        )
    for tensor in graph.tensors:
        _check_tensor(graph, tensor)
    made: set[str] = set()
    entering = True
    for position, node in enumerate(graph.nodes):
        where = f"node '{node.name}'"
        need(
            FAMILIES[graph.family].get(node.op) is type(node), where,
            f"'{node.op}' is no operation of family '{graph.family}'",
        )  # fmt: skip
        entry = isinstance(node, ENTRIES)
        need(entry or position > 0, where, "an Input must be first")
        need(entering or not entry, where, "the Inputs must stand together, first")
        need(
            not entry or position == 0 or not graph.classifier, where, "a classifier has one Input"
        )
        entering = entry
        for name in node.inputs:
            need(name in made, where, f"reads tensor {name!r} before it is made")
        need(node.output in graph.tensor, where, f"output '{node.output}' is not a tensor")
        need(node.output not in made, where, f"makes tensor '{node.output}' a second time")
        made.add(node.output)
        sources, out = [graph.tensor[i] for i in node.inputs], graph.tensor[node.output]
        if node.op in verify_int8.CHECKS:
            verify_int8.check(node, sources, out)
        else:
            _CHECKS[node.op](graph, node, sources, out)
    need(len(graph.inputs) <= MAX_PORTS, "graph", f"has {len(graph.inputs)} inputs")
    need(made == set(graph.tensor), "graph", f"nobody makes {sorted(set(graph.tensor) - made)}")
    _check_outputs(graph)
    _check_states(graph)


def _check_tensor(graph: Structure, tensor: Tensor) -> None:
    where = f"tensor '{tensor.name}'"
    need(
        len(tensor.shape) >= 1 and min(tensor.shape) > 0 and tensor.size <= MAX_ELEMENTS,
        where, f"has shape {tensor.shape}; need (H, W, C) or (C,)",
    )  # fmt: skip
    need(
        INT32[0] <= tensor.lo <= tensor.hi <= INT32[1] and abs(tensor.frac_bits) <= 64,
        where, f"has range {tensor.lo}..{tensor.hi}, not within int32",
    )  # fmt: skip
    if graph.family == "tflite":
        verify_int8.check_tensor(tensor)
        return
    need(len(tensor.shape) in (1, 3), where, f"has shape {tensor.shape}; need (H, W, C) or (C,)")
    need(tensor.scale is None, where, "has a scale that is no power of two")


def _check_outputs(graph: Structure) -> None:
    if graph.classifier:
        _check_scores(graph)
        return
    need(graph.family == "tflite", "graph", f"family '{graph.family}' has scores alone")
    need(not graph.labels, "graph", "has labels, but no scores of classes")
    need(len(graph.outputs) <= MAX_PORTS, "graph", f"has {len(graph.outputs)} outputs")
    names = [port.name for port in graph.outputs]
    need(len({*names}) == len(names), "graph", "has two outputs of one name")
    entries = {port.tensor for port in graph.inputs}
    for port in graph.outputs:
        where = f"output '{port.name}'"
        need(NAME.fullmatch(port.name) is not None, "graph", f"has a bad name {port.name!r:.60}")
        need(port.tensor in graph.tensor, where, f"'{port.tensor}' is not a tensor")
        need(port.tensor not in entries, where, "is an input that nothing changes")
    need(
        not any(isinstance(node, ScoresInt8) for node in graph.nodes), "graph",
        "has scores and other outputs",
    )  # fmt: skip


def _check_states(graph: Structure) -> None:
    """A state is assigned once at most, and nobody reads its memory for what it was after that."""
    assigned: set[str] = set()
    states = {port.tensor for port in graph.states}
    need(len(states) <= MAX_STATES, "graph", f"has {len(states)} states")
    for node in graph.nodes:
        where = f"node '{node.name}'"
        if isinstance(node, Assign):
            need(node.inputs[1] in states, where, f"'{node.inputs[1]}' is not a state")
        for name in node.inputs:
            state = graph.state_of.get(name)
            need(state is None or state not in assigned, where, f"reads state {name!r} too late")
        if isinstance(node, Assign):
            assigned.add(node.inputs[1])
    for port in graph.results:
        need(port.tensor not in graph.state_of, f"output '{port.name}'", "is a state")


def _check_scores(graph: Structure) -> None:
    last = graph.nodes[-1]
    fixed = graph.family == "fixed"
    scores = isinstance(last, Requantize) and last.scores if fixed else isinstance(last, ScoresInt8)
    kind = "a Requantize that gives scores" if fixed else "a ScoresInt8"
    need(
        scores and len(graph.output.shape) == 1, f"node '{last.name}'",
        f"the last node must be {kind} (classes,)",
    )  # fmt: skip
    need(
        sum(isinstance(node, ScoresInt8) for node in graph.nodes) <= 1, f"node '{last.name}'",
        "only the last node gives scores",
    )  # fmt: skip
    need(
        len(graph.labels) == graph.output.size, "graph",
        f"has {len(graph.labels)} labels and {graph.output.size} scores",
    )  # fmt: skip


def accumulator_range(weights: npt.NDArray[np.int8], source: Tensor) -> tuple[Any, Any]:
    """Exact per-channel (lo, hi) of a ternary sum over inputs in source.lo..source.hi, int64.

    ``weights``: (OC, ...). Padding adds zeros, which the range includes.
    """
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    plus, minus = (flat > 0).sum(1), (flat < 0).sum(1)
    low, high = min(source.lo, 0), max(source.hi, 0)
    return plus * low - minus * high, plus * high - minus * low


def requantize_range(node: Requantize, sources: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Exact per-channel (lo, hi) of ``t`` given per-channel ranges of the branches, int64.

    Raises GraphError naming the channel when a partial sum leaves int32.
    """
    low = node.bias.astype(np.int64)
    high = low.copy()
    for m, (acc_lo, acc_hi) in zip(node.multipliers.astype(np.int64), sources, strict=True):
        ends = (m * acc_lo) >> 16, (m * acc_hi) >> 16
        for part in ends:  # a single branch must fit too: it lives in a register
            _need_int32(node, part)
        low = low + np.minimum(*ends)
        high = high + np.maximum(*ends)
        _need_int32(node, low)
        _need_int32(node, high)
    half = (1 << node.shift) >> 1
    _need_int32(node, high + half)
    return low, high


def _need_int32(node: Requantize, values: Any) -> None:
    bad = np.flatnonzero((values < INT32[0]) | (values > INT32[1]))
    if bad.size:
        raise GraphError(
            f"node '{node.name}' channel {bad[0]}: a partial sum reaches "
            f"{int(np.broadcast_to(values, node.bias.shape)[bad[0]]):,}, outside int32",
            "use fewer fraction bits for the batch norm of this layer",
        )


def branch_ranges(graph: Structure, node: Requantize) -> list[tuple[Any, Any]]:
    """Per-channel (lo, hi) of each input of a Requantize, from the weights where they are known."""
    ranges = []
    for name in node.inputs:
        producer, tensor = graph.producer(name), graph.tensor[name]
        if isinstance(producer, TERNARY):
            ranges.append(accumulator_range(producer.weights, graph.tensor[producer.inputs[0]]))
        else:
            channels = tensor.shape[-1]
            ranges.append((np.full(channels, tensor.lo), np.full(channels, tensor.hi)))
    return ranges


def _shape(node: Node, tensor: Tensor, shape: tuple[int, ...]) -> None:
    need(
        tensor.shape == shape, f"node '{node.name}'",
        f"output '{tensor.name}' has shape {tensor.shape}, its inputs make {shape}",
    )  # fmt: skip


def _covers(node: Node, out: Tensor, low: int, high: int) -> None:
    need(
        out.lo <= low and high <= out.hi, f"node '{node.name}'",
        f"can give {low}..{high}, its tensor '{out.name}' holds {out.lo}..{out.hi}",
    )  # fmt: skip


def _trits(node: Ternary, rank: int) -> None:
    need(
        node.weights.dtype == np.int8 and node.weights.ndim == rank and node.weights.size > 0
        and bool(np.isin(node.weights, (-1, 0, 1)).all()),
        f"node '{node.name}'", f"weights must be int8 trits of rank {rank}",
    )  # fmt: skip


def _check_input(graph: Structure, node: Input, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 0)
    need(isinstance(node.shift, int) and 0 <= node.shift <= 7, f"node '{node.name}'", "bad shift")
    need(len(out.shape) == 3, f"node '{node.name}'", "the input must be (H, W, C)")
    _covers(node, out, 0, 255 >> node.shift)


def _check_conv(
    graph: Structure, node: Conv2D | DepthwiseConv2D, sources: list[Tensor], out: Tensor
) -> None:
    where = f"node '{node.name}'"
    inputs(node, sources, 1, rank=3)
    _trits(node, 4 if isinstance(node, Conv2D) else 3)
    channels, kh, kw = node.weights.shape[:3]
    height, width, depth = sources[0].shape
    ic = node.weights.shape[3] if isinstance(node, Conv2D) else channels
    need(depth == ic, where, f"weights take {ic} channels, input '{sources[0].name}' has {depth}")
    need(len(node.strides) == 2 and min(node.strides) >= 1, where, "bad strides")
    need(len(node.pads) == 4 and min(node.pads) >= 0, where, "bad pads")
    top, bottom, left, right = node.pads
    need(max(top, bottom) < kh and max(left, right) < kw, where, "pads reach the kernel's size")
    _shape(node, out, (windows(height, kh, node.strides[0], top, bottom),
                       windows(width, kw, node.strides[1], left, right), channels))  # fmt: skip
    low, high = accumulator_range(node.weights, sources[0])
    _covers(node, out, int(low.min()), int(high.max()))


def _check_dense(graph: Structure, node: Dense, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1, rank=1)
    _trits(node, 2)
    need(
        node.weights.shape[1] == sources[0].size, f"node '{node.name}'",
        f"weights take {node.weights.shape[1]} inputs, '{sources[0].name}' has {sources[0].size}",
    )  # fmt: skip
    _shape(node, out, (node.weights.shape[0],))
    low, high = accumulator_range(node.weights, sources[0])
    _covers(node, out, int(low.min()), int(high.max()))


def _check_requantize(
    graph: Structure, node: Requantize, sources: list[Tensor], out: Tensor
) -> None:
    where = f"node '{node.name}'"
    need(len(sources) in (1, 2), where, f"has {len(sources)} branches, needs one or two")
    _shape(node, out, sources[0].shape)
    need(all(s.shape == out.shape for s in sources), where, "its branches differ in shape")
    channels = out.shape[-1]
    need(
        node.multipliers.shape == (len(sources), channels) and node.multipliers.dtype == np.int32
        and node.bias.shape == (channels,) and node.bias.dtype == np.int32,
        where, f"multipliers must be int32 ({len(sources)}, {channels}), bias int32 ({channels},)",
    )  # fmt: skip
    need(0 <= node.shift <= MAX_SHIFT, where, f"shift {node.shift} is not in 0..{MAX_SHIFT}")
    low, high = requantize_range(node, branch_ranges(graph, node))
    if node.scores:
        need(node.shift == 0, where, "scores have shift 0")
        _covers(node, out, int(low.min()), int(high.max()))
    else:
        need(0 <= node.lo <= node.hi <= 255, where, f"clamp {node.lo}..{node.hi} is not in u8")
        _covers(node, out, node.lo, node.hi)


def _check_pool(graph: Structure, node: Pool2D, sources: list[Tensor], out: Tensor) -> None:
    where = f"node '{node.name}'"
    inputs(node, sources, 1, rank=3)
    need(node.kind in ("max", "average"), where, f"unknown kind '{node.kind}'")
    need(len(node.size) == 2 and min(node.size) >= 1, where, "bad size")
    need(len(node.strides) == 2 and min(node.strides) >= 1, where, "bad strides")
    _check_rounding(node, node.size[0] * node.size[1] // 2 if node.kind == "average" else 0)
    height, width, channels = sources[0].shape
    _shape(node, out, (windows(height, node.size[0], node.strides[0]),
                       windows(width, node.size[1], node.strides[1]), channels))  # fmt: skip
    _covers(node, out, sources[0].lo, sources[0].hi)


def _check_rounding(node: Pool2D | GlobalAveragePool, half: int) -> None:
    need(node.rounding in (0, half), f"node '{node.name}'", "bad rounding")
    need(not node.half_even or node.rounding == half, f"node '{node.name}'", "bad half_even")


def _check_average(
    graph: Structure, node: GlobalAveragePool, sources: list[Tensor], out: Tensor
) -> None:
    inputs(node, sources, 1, rank=3)
    height, width, channels = sources[0].shape
    _check_rounding(node, height * width // 2)
    _shape(node, out, (channels,))
    _covers(node, out, sources[0].lo, sources[0].hi)


def _check_reshape(graph: Structure, node: Reshape, sources: list[Tensor], out: Tensor) -> None:
    inputs(node, sources, 1)
    need(sources[0].size == out.size, f"node '{node.name}'", "changes the number of elements")
    _covers(node, out, sources[0].lo, sources[0].hi)
    need(
        graph.family == "fixed" or (out.lo, out.hi) == (sources[0].lo, sources[0].hi),
        f"node '{node.name}'", "changes the type of its elements",
    )  # fmt: skip


_CHECKS: dict[str, Any] = {
    "input": _check_input,
    "conv2d": _check_conv,
    "depthwise_conv2d": _check_conv,
    "dense": _check_dense,
    "requantize": _check_requantize,
    "pool2d": _check_pool,
    "global_average_pool": _check_average,
    "reshape": _check_reshape,
}
