"""The differentiable twin of family ``tflite``, for white-box attacks; numpy only.

In: a Graph and uint8 images (N, H, W, C). Out: the interpreter's scores, and straight-through
gradients with respect to the image, by the rules of ``fixed.py``: roundings pass, a clamp passes
between its ends, and ``leak`` of it outside, a maximum passes to the first largest element. A
lookup table passes half the difference of its neighbours.

A SOFTMAX before the scores is left out of the loss: its 8-bit outputs are 0 or 1 almost
everywhere, which would hide the gradient; it keeps the order of its inputs. The loss takes the
real values of what the SOFTMAX reads.

Forward values are the interpreter's own integers. With ``smooth=True`` nothing is rounded, which
gives the function of which ``gradient`` is the exact gradient; for tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import GraphError
from tinyrobust.graph import Graph, int8, interpreter_int8
from tinyrobust.graph.base import Node, Reshape, aligned
from tinyrobust.graph.batches import in_batches
from tinyrobust.twin.fixed import last_use
from tinyrobust.twin.losses import Loss, Pulled, cross_entropy

Real = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
BATCH = 8
_FAR = 1 << 20  # beyond every code


class TwinInt8:
    """Scores and gradients of ``graph``; see the module for the rules."""

    dtype: type[np.floating[Any]] = np.float64  # of the values between nodes

    def __init__(self, graph: Graph, *, smooth: bool = False, leak: float = 0.0) -> None:
        self.graph = graph
        self.smooth = smooth
        self.leak = leak
        # The same nodes with clamps that are never shut, for what leaks through.
        self._open = {
            node.name: dataclasses.replace(node, lo=-_FAR, hi=_FAR)  # type: ignore[call-arg]
            for node in graph.nodes
            if leak and hasattr(node, "lo") and node.op in _BACK
        }
        self._last_use = last_use(graph)
        scores = graph.nodes[-1].inputs[0] if graph.classifier else graph.output.name
        last = graph.producer(scores)
        while isinstance(last, Reshape):
            last = graph.producer(last.inputs[0])
        self._logits = last.inputs[0] if isinstance(last, int8.SoftmaxInt8) else last.output
        if not isinstance(last, int8.SoftmaxInt8):
            self._logits = scores

    @property
    def logit_scale(self) -> float:
        """Real value of one step of the logits."""
        return self.graph.tensor[self._logits].scale or 1.0

    def logits(self, x: npt.ArrayLike) -> Real:
        """The logits (N, K) in real units, less a constant."""
        return self._each(np.asarray(x), self._real)

    def scores(self, x: npt.ArrayLike) -> Real:
        """Scores (N, K), equal to ``interpreter.run``'s."""
        name = self.graph.output.name
        return self._each(np.asarray(x), lambda values: values[name].reshape(len(values[name]), -1))

    def pull(self, x: npt.ArrayLike, loss: Loss) -> Pulled:
        """Logits, the loss (N,) and its gradient (N, H, W, C), in one pass."""
        images = np.asarray(x)
        made = Pulled.empty(images.shape, self.graph.output.size)

        def work(where: slice) -> None:
            values = self._forward(images[where])
            made.logits[where] = self._real(values)
            made.loss[where], flow = loss(made.logits[where], where)
            made.gradient[where] = self.gradient_of(values, flow * self.logit_scale)

        in_batches(len(images), BATCH, work)
        return made

    def jacobian(self, x: npt.ArrayLike) -> tuple[Real, Real]:
        """Logits (N, K) and the gradient of each of them, (N, K, H, W, C)."""
        images, classes = np.asarray(x), self.graph.output.size
        logits = np.zeros((len(images), classes))
        found = np.zeros((len(images), classes, *images.shape[1:]))

        def work(where: slice) -> None:
            values = self._forward(images[where])
            logits[where] = self._real(values)
            for k in range(classes):
                flow = np.zeros(logits[where].shape)
                flow[:, k] = self.logit_scale
                found[where, k] = self.gradient_of(values, flow)

        in_batches(len(images), BATCH, work)
        return logits, found

    def loss_and_gradient(
        self, x: npt.ArrayLike, labels: npt.ArrayLike, temperature: float = 1.0
    ) -> tuple[Real, Real]:
        """Cross entropy (N,) of ``logits / temperature`` and its gradient (N, H, W, C)."""
        made = self.pull(x, cross_entropy(np.asarray(labels, np.int64), temperature))
        return made.loss, made.gradient

    def _each(self, images: Array, of: Callable[[Mapping[str, Any]], Array]) -> Real:
        out = np.zeros((len(images), self.graph.output.size))

        def work(where: slice) -> None:
            out[where] = of(self._forward(images[where], keep=(self._logits,)))

        in_batches(len(images), BATCH, work)
        return out

    def _real(self, values: Mapping[str, Any]) -> Real:
        found = values[self._logits]
        return np.asarray(found.reshape(len(found), -1).astype(np.float64) * self.logit_scale)

    def _forward(self, images: Array, *, keep: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Every tensor, or, with ``keep``, these and the scores."""
        values: dict[str, Any] = {}
        for i, node in enumerate(self.graph.nodes):
            inputs = [values[name] for name in node.inputs]
            run = self._smooth if self.smooth else self._exact
            out, shape = run(node, inputs, images), self.graph.tensor[node.output].shape
            values[node.output] = out.reshape(len(images), *shape).astype(self.dtype, copy=False)
            if keep is not None:
                values = {
                    name: values[name] for name in values
                    if name in keep or self._last_use.get(name, 0) > i
                }  # fmt: skip
        return values

    def _exact(self, node: Node, inputs: list[Array], images: Array) -> Array:
        codes = [x.astype(np.int8) for x in inputs]
        run = interpreter_int8.OPS.get(node.op)
        return run(self.graph, node, codes or [images.astype(np.uint8)]) if run else codes[0]

    def _smooth(self, node: Node, inputs: list[Array], images: Array) -> Array:
        if isinstance(node, int8.InputInt8):
            return images - 128.0
        if isinstance(node, (Reshape, int8.ScoresInt8)):
            return inputs[0]
        smooth = _BOTH[type(node)][0]
        if smooth is not None:
            return smooth(node, inputs)
        return interpreter_int8.OPS[node.op](self.graph, node, inputs)

    def gradient_of(self, values: Mapping[str, Any], flow: Real) -> Real:
        """``flow`` at the logits pulled back to the images, given every tensor's values."""
        shape = values[self._logits].shape
        flows: dict[str, Any] = {self._logits: flow.reshape(shape)}
        for node in reversed(self.graph.nodes):
            out = flows.pop(node.output, None)
            if out is None:  # behind the logits, or nothing reads it
                continue
            if isinstance(node, int8.InputInt8):
                return np.asarray(out, np.float64)
            inputs = [values[name] for name in node.inputs]
            parts = self._undo(node, inputs, values[node.output], out)
            if node.name in self._open:
                every = self._undo(self._open[node.name], inputs, values[node.output], out)
                parts = [a + self.leak * (b - a) for a, b in zip(parts, every, strict=True)]
            for name, part, value in zip(node.inputs, parts, inputs, strict=True):
                part = part.reshape(value.shape)
                flows[name] = flows[name] + part if name in flows else part
        raise GraphError(
            f"'{self.graph.name}' has no input that its scores depend on",
            "convert a network whose scores depend on its input",
        )

    def _undo(self, node: Node, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
        return _BACK[node.op](node, inputs, out, flow)


def _hwc(x: Array) -> Array:
    return x.reshape(len(x), *aligned(x.shape[1:]))


def _inside(node: Any, out: Array) -> Array:
    """1 where the clamp did not act."""
    return (out > node.lo) & (out < node.hi)


def factor(multiplier: Any, shift: Any) -> Any:
    """The real number that ``mbqm`` multiplies by."""
    return np.asarray(multiplier, np.float64) * 2.0 ** (np.asarray(shift, np.float64) - 31)


def _clamped(node: Any, x: Array) -> Array:
    return np.clip(x + node.output_zero, node.lo, node.hi)


# ------------------------------------------------------------------ windows


def _slots(node: Any, kernel: tuple[int, ...], out: tuple[int, ...]) -> list[Any]:
    """For every tap (i, j) the slices of the padded input that the outputs read."""
    (sy, sx), (dy, dx) = node.strides, getattr(node, "dilations", (1, 1))
    return [
        (i, j, slice(i * dy, i * dy + (out[0] - 1) * sy + 1, sy),
         slice(j * dx, j * dx + (out[1] - 1) * sx + 1, sx))
        for i in range(kernel[0]) for j in range(kernel[1])
    ]  # fmt: skip


def _padded(node: Any, x: Array, fill: float = 0.0) -> Array:
    top, bottom, left, right = node.pads
    widths = ((0, 0), (top, bottom), (left, right), (0, 0))
    return np.pad(_hwc(x), widths, constant_values=fill)


def _cut(node: Any, x: Array, like: Array) -> Array:
    """What lies within the pads, as ``like``."""
    _, height, width, _ = _hwc(like).shape
    top, _, left, _ = node.pads
    return x[:, top : top + height, left : left + width]


def _taps(node: Any) -> Array:
    """Weights as (KH, KW, IC, OC); depthwise (KH, KW, OC)."""
    weights = node.weights.astype(np.float64)
    return weights.transpose(1, 2, 3, 0) if weights.ndim == 4 else weights


def _conv_smooth(node: Any, inputs: list[Array]) -> Array:
    x = _padded(node, inputs[0] - node.input_zero)
    taps = _taps(node)
    depthwise = isinstance(node, int8.DepthwiseConv2DInt8)
    (sy, sx), (dy, dx) = node.strides, node.dilations
    extent = (taps.shape[0] - 1) * dy + 1, (taps.shape[1] - 1) * dx + 1
    out = (x.shape[1] - extent[0]) // sy + 1, (x.shape[2] - extent[1]) // sx + 1
    acc: Any = node.bias.astype(np.float64)
    for i, j, ys, xs in _slots(node, taps.shape[:2], out):
        part = x[:, ys, xs]
        if depthwise:
            acc = acc + np.repeat(part, node.depth_multiplier, axis=-1) * taps[i, j]
        else:
            acc = acc + part @ taps[i, j]
    return _clamped(node, acc * factor(node.multipliers, node.shifts))


def _conv_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    flow = _hwc(flow * _inside(node, out)) * factor(node.multipliers, node.shifts)
    taps = _taps(node)
    total = np.zeros_like(_padded(node, inputs[0]))
    for i, j, ys, xs in _slots(node, taps.shape[:2], flow.shape[1:3]):
        if isinstance(node, int8.DepthwiseConv2DInt8):
            part = flow * taps[i, j]
            part = part.reshape(*part.shape[:3], -1, node.depth_multiplier).sum(axis=-1)
        else:
            part = flow @ taps[i, j].T
        total[:, ys, xs] += part
    return [_cut(node, total, inputs[0])]


def _dense_smooth(node: Any, inputs: list[Array]) -> Array:
    rows = inputs[0].reshape(-1, node.weights.shape[1]) - node.input_zero
    acc = rows @ node.weights.T.astype(np.float64) + node.bias
    return _clamped(node, acc * factor(node.multipliers, node.shifts))


def _dense_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    flow = (flow * _inside(node, out)).reshape(-1, len(node.weights))
    return [(flow * factor(node.multipliers, node.shifts)) @ node.weights.astype(np.float64)]


def _counts(node: Any, x: Array, out: tuple[int, int]) -> Array:
    ones = _padded(node, np.ones((1, *_hwc(x).shape[1:3], 1)))
    total = np.zeros((1, *out, 1))
    for _, _, ys, xs in _slots(node, node.size, out):
        total += ones[:, ys, xs]
    return total


def _pool_size(node: Any, x: Array) -> tuple[int, int]:
    found = [
        (n - k) // s + 1
        for n, k, s in zip(_padded(node, x).shape[1:3], node.size, node.strides, strict=True)
    ]
    return found[0], found[1]


def _average_smooth(node: Any, inputs: list[Array]) -> Array:
    x, out = _padded(node, inputs[0]), _pool_size(node, inputs[0])
    total = sum(x[:, ys, xs] for _, _, ys, xs in _slots(node, node.size, out))
    return np.clip(total / _counts(node, inputs[0], out), node.lo, node.hi)


def _average_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    flow = _hwc(flow * _inside(node, out))
    flow = flow / _counts(node, inputs[0], (flow.shape[1], flow.shape[2]))
    total = np.zeros_like(_padded(node, inputs[0]))
    for _, _, ys, xs in _slots(node, node.size, flow.shape[1:3]):
        total[:, ys, xs] += flow
    return [_cut(node, total, inputs[0])]


def _max_smooth(node: Any, inputs: list[Array]) -> Array:
    x, out = _padded(node, inputs[0], -np.inf), _pool_size(node, inputs[0])
    parts = [x[:, ys, xs] for _, _, ys, xs in _slots(node, node.size, out)]
    return np.clip(np.max(parts, axis=0), node.lo, node.hi)


def _max_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    x, flow = _padded(node, inputs[0], -np.inf), _hwc(flow * _inside(node, out))
    slots = _slots(node, node.size, flow.shape[1:3])
    first = np.argmax([x[:, ys, xs] for _, _, ys, xs in slots], axis=0)
    total = np.zeros_like(x)
    for number, (_, _, ys, xs) in enumerate(slots):
        total[:, ys, xs] += flow * (first == number)
    return [_cut(node, total, inputs[0])]


def _mean_smooth(node: Any, inputs: list[Array]) -> Array:
    axes = tuple(i + 1 for i, reduced in enumerate(node.axes) if reduced)
    total = (_hwc(inputs[0]) - node.input_zero).sum(axis=axes, keepdims=True)
    return np.clip(total * factor(node.multiplier, node.shift) + node.output_zero, -128, 127)


def _mean_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    x = _hwc(inputs[0])
    kept = [1 if reduced else n for n, reduced in zip(x.shape[1:], node.axes, strict=True)]
    flow = flow * ((out > -128) & (out < 127))
    flow = flow.reshape(len(x), *kept) * factor(node.multiplier, node.shift)
    return [np.broadcast_to(flow, x.shape)]


# ------------------------------------------------------------------ two operands


def _operands(node: Any, inputs: list[Array]) -> tuple[Array, Array]:
    if not node.constant.size:
        return _hwc(inputs[0]), _hwc(inputs[1])
    constant = _hwc(node.constant[None]).astype(np.float64)
    return (constant, _hwc(inputs[0])) if node.constant_first else (_hwc(inputs[0]), constant)


def _back_to(node: Any, inputs: list[Array], first: Array, second: Array) -> list[Array]:
    """Flows at both operands, summed where they were broadcast, the constant's left out."""
    flows = [second if node.constant_first else first] if node.constant.size else [first, second]
    found = []
    for flow, value in zip(flows, inputs, strict=True):
        axes = tuple(i for i, n in enumerate(_hwc(value).shape) if n == 1 and flow.shape[i] != 1)
        found.append(flow.sum(axis=axes, keepdims=True))
    return found


def _add_smooth(node: Any, inputs: list[Array]) -> Array:
    a, b = _operands(node, inputs)
    sign = -1.0 if isinstance(node, int8.SubInt8) else 1.0
    fa, fb, fo = (factor(m, s) for m, s in zip(node.multipliers, node.shifts, strict=True))
    total = (a - node.input_zeros[0]) * fa + sign * (b - node.input_zeros[1]) * fb
    return _clamped(node, total * fo * 2.0**20)


def _add_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    sign = -1.0 if isinstance(node, int8.SubInt8) else 1.0
    fa, fb, fo = (factor(m, s) for m, s in zip(node.multipliers, node.shifts, strict=True))
    flow = _hwc(flow * _inside(node, out)) * fo * 2.0**20
    return _back_to(node, inputs, flow * fa, flow * fb * sign)


def _mul_smooth(node: Any, inputs: list[Array]) -> Array:
    a, b = _operands(node, inputs)
    product = (a - node.input_zeros[0]) * (b - node.input_zeros[1])
    return _clamped(node, product * factor(node.multiplier, node.shift))


def _mul_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    a, b = _operands(node, inputs)
    flow = _hwc(flow * _inside(node, out)) * factor(node.multiplier, node.shift)
    first, second = flow * (b - node.input_zeros[1]), flow * (a - node.input_zeros[0])
    return _back_to(node, inputs, first, second)


def _pick_smooth(node: Any, inputs: list[Array]) -> Array:
    pick: Any = np.minimum if isinstance(node, int8.MinimumInt8) else np.maximum
    return np.asarray(pick(*_operands(node, inputs)))


def _pick_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    a, b = _operands(node, inputs)
    first = a <= b if isinstance(node, int8.MinimumInt8) else a >= b
    return _back_to(node, inputs, _hwc(flow) * first, _hwc(flow) * ~first)


# ------------------------------------------------------------------ one operand


def _lookup_smooth(node: Any, inputs: list[Array]) -> Array:
    return np.interp(inputs[0], np.arange(-128, 128), node.table.astype(np.float64))


def _lookup_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    slopes = np.gradient(node.table.astype(np.float64))
    at = np.clip(np.rint(inputs[0]).astype(np.int64) + 128, 0, 255)
    return [flow * slopes[at]]


def _sharpness(node: Any) -> float:
    """beta * scale of a SOFTMAX, from its table."""
    ratio = float(node.exponentials[1]) / float(node.exponentials[0])
    return -float(np.log(max(ratio, 2.0**-31)))


def _softmax_smooth(node: Any, inputs: list[Array]) -> Array:
    z = inputs[0] * _sharpness(node)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(256.0 * e / e.sum(axis=-1, keepdims=True) - 128.0)


def _softmax_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    p = (_softmax_smooth(node, inputs) + 128.0) / 256.0
    spread = flow - (flow * p).sum(axis=-1, keepdims=True)
    return [256.0 * _sharpness(node) * p * spread]


# ------------------------------------------------------------------ moved values


def _numbers(node: Any, x: Array, out: tuple[int, ...]) -> Array:
    """For every output element the number of the input's element it is; -1 for none."""
    numbers = np.arange(x[0].size).reshape(aligned(x.shape[1:]))
    if isinstance(node, int8.PadInt8):
        widths = tuple(zip(node.before, node.after, strict=True))
        return np.pad(numbers, widths, constant_values=-1)
    if isinstance(node, int8.RearrangeInt8):
        return numbers.reshape(-1)[interpreter_int8.rearranged(node)].reshape(out)
    if isinstance(node, int8.ResizeNearestInt8):
        return numbers[node.rows][:, node.columns]
    y, z, c = (
        slice(begin, begin + (size - 1) * stride + 1, stride)
        for begin, size, stride in zip(node.begin, aligned(out), node.strides, strict=True)
    )
    return numbers[y, z, c]


def _move_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    numbers = _numbers(node, inputs[0], out.shape[1:]).reshape(-1)
    found = np.zeros((len(flow), inputs[0][0].size))
    flat = flow.reshape(len(flow), -1)
    real = numbers >= 0
    for row, values in zip(found, flat, strict=True):
        np.add.at(row, numbers[real], values[real])
    return [found]


def _bilinear_smooth(node: Any, inputs: list[Array]) -> Array:
    x = _hwc(inputs[0])
    (y0, y1, fy), (x0, x1, fx) = node.rows.T, node.columns.T
    fy, fx = fy[:, None, None] / 1024.0, fx[:, None] / 1024.0
    rows = x[:, y0] * (1 - fy) + x[:, y1] * fy
    return np.asarray(rows[:, :, x0] * (1 - fx) + rows[:, :, x1] * fx)


def _bilinear_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    flow, found = _hwc(flow), np.zeros(_hwc(inputs[0]).shape)
    (y0, y1, fy), (x0, x1, fx) = node.rows.T, node.columns.T
    for row, along_y in ((y0, 1 - fy / 1024.0), (y1, fy / 1024.0)):
        for column, along_x in ((x0, 1 - fx / 1024.0), (x1, fx / 1024.0)):
            part = flow * along_y[:, None, None] * along_x[:, None]
            at: Any = (slice(None), row[:, None], column)
            np.add.at(found, at, part)
    return [found]


def _concat_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    sizes = [_hwc(x).shape[node.axis + 1] for x in inputs]
    return np.split(_hwc(flow), np.cumsum(sizes)[:-1].tolist(), axis=node.axis + 1)


def _view_back(node: Any, inputs: list[Array], out: Array, flow: Array) -> list[Array]:
    return [flow]


_Smooth = Callable[[Any, list[Array]], Array]
_Back = Callable[[Any, list[Array], Array, Array], list[Array]]
_BOTH: dict[type[Node], tuple[_Smooth | None, _Back]] = {
    int8.Conv2DInt8: (_conv_smooth, _conv_back),
    int8.DepthwiseConv2DInt8: (_conv_smooth, _conv_back),
    int8.DenseInt8: (_dense_smooth, _dense_back),
    int8.AveragePool2DInt8: (_average_smooth, _average_back),
    int8.MaxPool2DInt8: (_max_smooth, _max_back),
    int8.MeanInt8: (_mean_smooth, _mean_back),
    int8.AddInt8: (_add_smooth, _add_back),
    int8.SubInt8: (_add_smooth, _add_back),
    int8.MulInt8: (_mul_smooth, _mul_back),
    int8.MinimumInt8: (_pick_smooth, _pick_back),
    int8.MaximumInt8: (_pick_smooth, _pick_back),
    int8.LookupInt8: (_lookup_smooth, _lookup_back),
    int8.SoftmaxInt8: (_softmax_smooth, _softmax_back),
    int8.PadInt8: (None, _move_back),
    int8.ResizeNearestInt8: (None, _move_back),
    int8.StridedSliceInt8: (None, _move_back),
    int8.RearrangeInt8: (None, _move_back),
    int8.ResizeBilinearInt8: (_bilinear_smooth, _bilinear_back),
    int8.ConcatInt8: (None, _concat_back),
    int8.ScoresInt8: (None, _view_back),
    Reshape: (None, _view_back),
}
_BACK: dict[str, _Back] = {kind.op: back for kind, (_, back) in _BOTH.items()}
