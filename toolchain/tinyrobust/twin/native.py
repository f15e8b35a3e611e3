"""Both twins on ``tinyrobust.native``: the same scores and gradients, several times faster.

In: a Graph. Out: a Twin or TwinInt8 that leaves convolutions, requantisation and additions to the
engine, forwards and backwards, and everything else to numpy. Forward values are float32 that hold
the interpreter's integers. A convolution of what another layer has rounded multiplies bytes where
the processor does that faster, or where its sums may reach 2**24, at which floats are not exact.
One of the image cannot, since that may be real, and stays with numpy then, as does a layer that
the engine does not know (dilated windows, broadcast operands, depth multipliers).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import native
from tinyrobust.graph import int8, interpreter_int8
from tinyrobust.graph.base import Node
from tinyrobust.graph.nodes import Conv2D, DepthwiseConv2D, Graph, Requantize
from tinyrobust.twin import int8 as twin_int8
from tinyrobust.twin.fixed import Twin
from tinyrobust.twin.int8 import TwinInt8

Array = npt.NDArray[Any]
_FEW = 8  # input channels


def twin_for(graph: Graph, *, leak: float = 0.0) -> Twin | TwinInt8:
    """The fastest twin of ``graph`` on this computer, with clamps that pass ``leak`` of a gradient
    where they are shut; raises BuildError when the compiler fails."""
    fixed = graph.family == "fixed"
    if native.available():
        native.check()  # here, not by each thread of the first batch
        return NativeTwin(graph, leak=leak) if fixed else NativeTwinInt8(graph, leak=leak)
    return Twin(graph, leak=leak) if fixed else TwinInt8(graph, leak=leak)


class _Window:
    """A convolution, or one of every channel by itself, forwards and backwards.

    ``weights``: (OC, KH, KW, IC); with ``deep`` (KH, KW, C). ``shape``: the input's (H, W, C);
    ``out``: (OH, OW, OC). ``zero``: the input's code of 0. ``whole``: the smallest and largest
    value of an input that a layer has rounded, None where it may be real. ``exact``: whether floats
    hold every sum; where they do not, only a window with ``bytes`` is of use.
    """

    def __init__(
        self, node: Any, weights: Array, shape: tuple[int, ...], out: tuple[int, ...], *,
        deep: bool, zero: int = 0, whole: tuple[int, int] | None = None, exact: bool = True,
    ) -> None:  # fmt: skip
        self.shape, self.out, self.strides, self.pads = shape, out, node.strides, node.pads
        self.zero = np.float32(zero)
        wanted = not deep and (native.has_dot() or not exact)
        self.bytes = _bytes(weights, zero, whole) if wanted else None
        self.run = native.depthwise if deep else native.convolve
        turned = weights[::-1, ::-1] if deep else weights[:, ::-1, ::-1].transpose(3, 1, 2, 0)
        if deep:
            self.there, self.back = (_flat(w) for w in (weights, turned))
            rows, columns = weights.shape[:2]
        else:
            self.there, self.back = native.pack(weights), native.pack(turned)
            rows, columns = weights.shape[1:3]
        # With zeros between the flow's pixels the backward pass is a convolution of stride 1.
        top, _, left, _ = node.pads
        self.insert = node.strides
        before = rows - 1 - top, columns - 1 - left
        after = [
            size + kernel - 1 - pad - ((count - 1) * stride + 1)
            for size, kernel, pad, count, stride in zip(
                shape[:2], (rows, columns), before, out[:2], node.strides, strict=True
            )
        ]
        self.around = before[0], after[0], before[1], after[1]

        few = not deep and shape[2] < _FEW and node.strides != (1, 1)
        # No pad may be wider than its kernel; numpy is quicker where most lanes would be idle.
        self.turns = min(self.around) >= 0 and not few

    def forward(self, x: Array, *, floats: bool = True) -> Array:
        """The sums; without ``floats`` those of bytes are int32."""
        if self.bytes is not None:
            return native.convolve_bytes(
                x, self.bytes, self.out, strides=self.strides, pads=self.pads, floats=floats
            )
        x = x - self.zero if self.zero else x
        return self.run(x, self.there, self.out, strides=self.strides, pads=self.pads)

    def backward(self, flow: Array) -> Array:
        return self.run(flow, self.back, self.shape, pads=self.around, insert=self.insert)


def _bytes(weights: Array, zero: int, whole: tuple[int, int] | None) -> native.PackedBytes | None:
    """The weights to multiply bytes with, where input and weights are such."""
    if whole is None or weights.min() < -128 or weights.max() > 127:
        return None
    lo, hi = whole
    add = 0 if lo >= 0 else 128
    if lo + add < 0 or hi + add > 255 or not 0 <= zero + add <= 255:
        return None
    return native.pack_bytes(weights, zero, add)


def _flat(weights: Array) -> native.Packed:
    values = np.ascontiguousarray(weights, np.float32)
    rows, columns, channels = weights.shape
    return native.Packed(values, (channels, rows, columns, 1))


class NativeTwin(Twin):
    """``Twin`` of family ``fixed`` on the engine."""

    def __init__(self, graph: Graph, *, leak: float = 0.0) -> None:
        super().__init__(graph, leak=leak)
        self._window = {
            node.name: window
            for node in graph.nodes
            if isinstance(node, (Conv2D, DepthwiseConv2D)) and (window := _fixed(graph, node))
        }
        self._factors = {
            node.name: _Factors(node) for node in graph.nodes if isinstance(node, Requantize)
        }

    def _do(self, node: Node, inputs: list[Array], values: dict[str, Any]) -> Array:
        if isinstance(node, Conv2D | DepthwiseConv2D) and node.name in self._window:
            return self._window[node.name].forward(inputs[0])
        if isinstance(node, Requantize) and not node.scores and _are_single(inputs):
            factors = self._factors[node.name]
            out, passes = native.requantize(
                inputs, factors.forward, factors.bias, node.shift, node.lo, node.hi
            )
            values[f"{node.name}/passes"] = passes
            return out
        return super()._do(node, inputs, values)

    def _undo(self, node: Node, flow: Array, values: dict[str, Any]) -> list[Array]:
        window = self._window.get(node.name)
        if window is not None and window.turns:
            return [window.backward(flow)]
        if isinstance(node, Requantize) and not node.scores:
            passes = values[f"{node.name}/passes"].view(np.uint8)
            return [
                native.requantize_back(flow, passes, factors)
                for factors in self._factors[node.name].back
            ]
        return super()._undo(node, flow, values)


class _Factors:
    """A Requantize's multipliers as the engine takes them."""

    def __init__(self, node: Requantize) -> None:
        self.forward = np.ascontiguousarray(node.multipliers * 2.0**-16)
        self.bias = node.bias.astype(np.float64)
        self.back = (node.multipliers * 2.0 ** -(16 + node.shift)).astype(np.float32)


def _are_single(inputs: list[Array]) -> bool:
    return len(inputs) <= 2 and all(x.dtype == np.float32 for x in inputs)


def _fixed(graph: Graph, node: Conv2D | DepthwiseConv2D) -> _Window | None:
    out, deep = graph.tensor[node.output], isinstance(node, DepthwiseConv2D)
    if max(-out.lo, out.hi) >= native.EXACT:
        return None
    weights, x = node.weights.transpose(1, 2, 0) if deep else node.weights, node.inputs[0]
    source, rounded = graph.tensor[x], isinstance(_maker(graph, x), Requantize)
    whole = (source.lo, source.hi) if rounded else None
    return _Window(node, weights, source.shape, out.shape, deep=deep, whole=whole)


def _maker(graph: Graph, tensor: str) -> Node | None:
    """The node that computes ``tensor``."""
    return next((node for node in graph.nodes if node.output == tensor), None)


class NativeTwinInt8(TwinInt8):
    """``TwinInt8`` of family ``tflite`` on the engine."""

    dtype = np.float32

    def __init__(self, graph: Graph, *, leak: float = 0.0) -> None:
        super().__init__(graph, leak=leak)
        self._window: dict[str, tuple[_Window, Array]] = {}
        self._tables: dict[str, tuple[Array, Array]] = {}
        for node in graph.nodes:
            if isinstance(node, int8.Conv2DInt8 | int8.DepthwiseConv2DInt8):
                if (window := _int8(graph, node)) is not None:
                    factors = twin_int8.factor(node.multipliers, node.shifts)
                    self._window[node.name] = window, factors.astype(np.float32)
            elif isinstance(node, int8.AddInt8) and _is_plain(graph, node):
                self._tables[node.name] = _add_tables(node)

    def _exact(self, node: Node, inputs: list[Array], images: Array) -> Array:
        if isinstance(node, int8.Conv2DInt8 | int8.DepthwiseConv2DInt8):
            if node.name in self._window:
                return native.finish_int8(
                    self._window[node.name][0].forward(inputs[0], floats=False), node.bias,
                    node.multipliers, node.shifts, node.output_zero, node.lo, node.hi,
                )  # fmt: skip
        elif isinstance(node, int8.AddInt8) and node.name in self._tables:
            return native.add_int8(
                inputs[0], inputs[1], self._tables[node.name], node.multipliers[2], node.shifts[2],
                node.output_zero, node.lo, node.hi,
            )  # fmt: skip
        return super()._exact(node, inputs, images)

    def _undo(self, node: Node, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
        if isinstance(node, int8.Weighted) and node.name in self._window:
            window, factors = self._window[node.name]
            if window.turns:
                return [window.backward(native.clamp_back(flow, out, node.lo, node.hi, factors))]
        return super()._undo(node, inputs, out, flow)


def _int8(graph: Graph, node: int8.Conv2DInt8 | int8.DepthwiseConv2DInt8) -> _Window | None:
    source = graph.tensor[node.inputs[0]].shape
    deep = isinstance(node, int8.DepthwiseConv2DInt8)
    known = node.dilations == (1, 1) and getattr(node, "depth_multiplier", 1) == 1
    if not known or len(source) != 3:
        return None
    rounded = isinstance(_maker(graph, node.inputs[0]), int8.Weighted | int8.AddInt8)
    largest = int(np.abs(node.per_channel.astype(np.int64)).sum(axis=1).max()) * 255
    exact = largest < native.EXACT
    window = _Window(
        node, node.weights, source, graph.tensor[node.output].shape, deep=deep,
        zero=node.input_zero, whole=(-128, 127) if rounded else None, exact=exact,
    )  # fmt: skip
    return window if exact or window.bytes is not None else None


def _is_plain(graph: Graph, node: int8.AddInt8) -> bool:
    shapes = [graph.tensor[name].shape for name in node.inputs]
    return not node.constant.size and len(shapes) == 2 and shapes[0] == shapes[1]


def _add_tables(node: int8.AddInt8) -> tuple[Array, Array]:
    codes = np.arange(-128, 128)
    first, second = (
        interpreter_int8.multiply((codes - zero) << 20, multiplier, shift)
        for zero, multiplier, shift in zip(
            node.input_zeros, node.multipliers, node.shifts, strict=False
        )
    )
    sign = -1 if isinstance(node, int8.SubInt8) else 1
    return first.astype(np.int32), (sign * second).astype(np.int32)
