"""The Graph's differentiable twin, for white-box attacks; numpy only.

In: a Graph, and float64 images (N, H, W, C) in 0..255. Out: float64 scores that equal the
interpreter's on every integer image, and straight-through gradients with respect to the image.

Rules of the gradient (Bengio et al. 2013, arXiv:1308.3432, straight-through estimator):

* floor and rounding have gradient 1, so ``x >> 1`` passes 1/2, a requantised branch passes
  ``m * 2**-16`` and the shift ``2**-s``;
* the clamp passes 1 where ``lo < t * 2**-s < hi`` and ``leak`` elsewhere, 0 if nothing is said
  (like relu, 0 at its corner); a leak shows an attack what lies behind a clamp that is shut;
* a maximum passes to the first largest element, an average ``1 / n`` to each.

Forward values are exact: sums in float32 or float64 as the interpreter proves them exact, every
other step in float64, where all integers involved are below 2**53. The backward pass works in
float32; its result is returned as float64. With ``smooth=True`` the forward pass leaves out all
floors, which gives the function of which ``gradient`` is the exact gradient; for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import GraphError
from tinyrobust.graph import interpreter
from tinyrobust.graph.batches import in_batches, patches
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Pool2D,
    Requantize,
    Reshape,
)
from tinyrobust.twin.losses import Loss, Pulled, cross_entropy

Real = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
BATCH = 8  # images at a time, so that a layer stays in the cache
_EXACT_FLOAT32 = 1 << 24


def last_use(graph: Graph) -> dict[str, int]:
    """By tensor the number of the last node that reads it; past all nodes for the scores."""
    found = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    return found | {graph.output.name: len(graph.nodes)}


class Twin:
    """Scores and gradients of ``graph``; see the module for the rules."""

    def __init__(self, graph: Graph, *, smooth: bool = False, leak: float = 0.0) -> None:
        self.graph = graph
        self.smooth = smooth
        self.leak = leak
        self._last_use = last_use(graph)
        self._matrix: dict[str, Array] = {}
        self._back: dict[str, Array] = {}  # the same weights as the backward pass reads them
        for node in graph.nodes:
            if isinstance(node, (Conv2D, Dense)):
                out = graph.tensor[node.output]
                small = max(-out.lo, out.hi) < _EXACT_FLOAT32 and not smooth
                flat = node.weights.reshape(len(node.weights), -1)
                self._matrix[node.name] = np.ascontiguousarray(
                    flat.T.astype(np.float32 if small else np.float64)
                )
            if isinstance(node, Conv2D):
                self._back[node.name] = _back_matrix(node, np.float64 if smooth else np.float32)

    @property
    def logit_scale(self) -> float:
        """Real value of one step of the scores."""
        return float(2.0**-self.graph.output.frac_bits)

    def scores(self, x: npt.ArrayLike) -> Real:
        """Scores (N, K) of images ``x`` (N, H, W, C), real numbers in 0..255.

        Equal to ``interpreter.run`` when ``x`` is integer. Raises GraphError on another shape.
        """
        images = self._images(x)
        out = np.zeros((len(images), self.graph.output.size))

        def work(where: slice) -> None:
            out[where] = self._forward(images[where], keep=False)[0]

        in_batches(len(images), BATCH, work)
        return out

    def gradient(self, x: npt.ArrayLike, d_scores: npt.ArrayLike) -> Real:
        """``d_scores`` (N, K) pulled back to the images: (N, H, W, C)."""
        images, weights = self._images(x), np.asarray(d_scores, np.float64)
        if weights.shape != (len(images), self.graph.output.size):
            raise GraphError(f"d_scores has shape {weights.shape}, need (N, classes)")
        out = np.zeros(images.shape)

        def work(where: slice) -> None:
            out[where] = self._backward(self._forward(images[where])[1], weights[where])

        in_batches(len(images), BATCH, work)
        return out

    def logits(self, x: npt.ArrayLike) -> Real:
        """The scores as real values, ``scores * 2**-frac_bits``."""
        return self.scores(x) * self.logit_scale

    def pull(self, x: npt.ArrayLike, loss: Loss) -> Pulled:
        """Logits, the loss (N,) and its gradient (N, H, W, C), in one pass."""
        images = self._images(x)
        made = Pulled.empty(images.shape, self.graph.output.size)

        def work(where: slice) -> None:
            scores, values = self._forward(images[where])
            made.logits[where] = scores * self.logit_scale
            made.loss[where], flow = loss(made.logits[where], where)
            made.gradient[where] = self._backward(values, flow * self.logit_scale)

        in_batches(len(images), BATCH, work)
        return made

    def jacobian(self, x: npt.ArrayLike) -> tuple[Real, Real]:
        """Logits (N, K) and the gradient of each of them, (N, K, H, W, C)."""
        images, classes = self._images(x), self.graph.output.size
        logits = np.zeros((len(images), classes))
        found = np.zeros((len(images), classes, *images.shape[1:]))

        def work(where: slice) -> None:
            scores, values = self._forward(images[where])
            logits[where] = scores * self.logit_scale
            for k in range(classes):
                flow = np.zeros(scores.shape)
                flow[:, k] = self.logit_scale
                found[where, k] = self._backward(values, flow)

        in_batches(len(images), BATCH, work)
        return logits, found

    def loss_and_gradient(
        self, x: npt.ArrayLike, labels: npt.ArrayLike, temperature: float = 1.0
    ) -> tuple[Real, Real]:
        """Cross entropy (N,) of ``logits / temperature`` and its gradient (N, H, W, C)."""
        images, truth = self._images(x), np.asarray(labels, np.int64)
        if truth.shape != (len(images),):
            raise GraphError(f"labels have shape {truth.shape}, need ({len(images)},)")
        made = self.pull(images, cross_entropy(truth, temperature))
        return made.loss, made.gradient

    def _images(self, x: npt.ArrayLike) -> Real:
        images = np.asarray(x, np.float64)
        if images.ndim != 4 or images.shape[1:] != self.graph.input.shape:
            raise GraphError(
                f"'{self.graph.name}' takes images (N, "
                f"{', '.join(map(str, self.graph.input.shape))}), got {images.shape}",
                "check the task of the model",
            )
        return images

    def _floor(self, x: Array) -> Array:
        return x if self.smooth else np.floor(x, out=x)

    def _forward(self, x: Real, *, keep: bool = True) -> tuple[Real, dict[str, Any]]:
        """Scores and all that the backward pass needs, by tensor or node name; without ``keep``
        each value goes when nothing reads it any more, which is kinder to the cache."""
        values: dict[str, Any] = {}
        for i, node in enumerate(self.graph.nodes):
            inputs = [values[name] for name in node.inputs] or [x]
            values[node.output] = self._do(node, inputs, values)
            if not keep:
                values = {name: values[name] for name in values if self._last_use.get(name, 0) > i}
        return np.asarray(values[self.graph.output.name], np.float64), values

    def _backward(self, values: dict[str, Any], d_scores: Real) -> Real:
        dtype = np.float64 if self.smooth else np.float32
        gradients: dict[str, Any] = {self.graph.output.name: d_scores.astype(dtype)}
        for node in reversed(self.graph.nodes):
            flow = gradients.pop(node.output, None)
            if flow is None:  # nothing downstream reads this tensor
                continue
            parts = self._undo(node, flow, values)
            if self.leak and isinstance(node, Requantize) and not node.scores:
                parts = self._leaking(node, flow, parts)
            if isinstance(node, Input):
                return np.asarray(parts[0], np.float64)
            for name, part in zip(node.inputs, parts, strict=True):
                gradients[name] = gradients[name] + part if name in gradients else part
        raise GraphError(
            f"'{self.graph.name}' has no input that its scores depend on",
            "convert a network whose scores depend on its input",
        )

    def _leaking(self, node: Requantize, flow: Array, parts: list[Array]) -> list[Array]:
        """``parts``, which the clamp has let through, and ``leak`` of what it has not."""
        open_clamp = {f"{node.name}/passes": np.ones(flow.shape, bool)}
        every = self._undo(node, flow, open_clamp)
        return [a + self.leak * (b - a) for a, b in zip(parts, every, strict=True)]

    def _do(self, node: Node, inputs: list[Array], values: dict[str, Any]) -> Array:
        return _FORWARD[type(node)](self, node, inputs, values)

    def _undo(self, node: Node, flow: Array, values: dict[str, Any]) -> list[Array]:
        return _BACKWARD[type(node)](self, node, flow, values)


def _input(twin: Twin, node: Input, inputs: list[Array], values: dict[str, Any]) -> Array:
    return twin._floor(inputs[0] * 2.0**-node.shift)


def _input_back(twin: Twin, node: Input, flow: Array, values: dict[str, Any]) -> list[Array]:
    return [flow * 2.0**-node.shift]


def _padded(x: Array, node: Conv2D | DepthwiseConv2D, dtype: Any) -> Array:
    top, bottom, left, right = node.pads
    out = np.zeros(
        (len(x), x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]), dtype
    )
    out[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return out


def _conv(twin: Twin, node: Conv2D, inputs: list[Array], values: dict[str, Any]) -> Array:
    matrix = twin._matrix[node.name]
    height, width, channels = twin.graph.tensor[node.output].shape
    flat = patches(inputs[0], node.weights.shape[1:3], node.strides, node.pads, (height, width),
                   matrix.dtype)  # fmt: skip
    return (flat @ matrix).reshape(-1, height, width, channels)


def _back_matrix(node: Conv2D, dtype: Any) -> Array:
    """Stride 1: taps turned round, (KH x KW x OC, IC); else side by side, (OC, KH x KW x IC)."""
    weights = node.weights.astype(dtype)
    if node.strides == (1, 1):
        turned = weights[:, ::-1, ::-1].transpose(1, 2, 0, 3)
        return np.ascontiguousarray(turned.reshape(-1, weights.shape[3]))
    return np.ascontiguousarray(weights.reshape(len(weights), -1))


def _conv_back(twin: Twin, node: Conv2D, flow: Array, values: dict[str, Any]) -> list[Array]:
    _, kh, kw, ic = node.weights.shape
    source = twin.graph.tensor[node.inputs[0]].shape
    top, bottom, left, right = node.pads
    matrix = twin._back[node.name]
    around = kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right
    if node.strides == (1, 1) and min(around) >= 0:
        flat = patches(flow, (kh, kw), (1, 1), around, source[:2], matrix.dtype)
        return [(flat @ matrix).reshape(len(flow), *source)]
    n, height, width, oc = flow.shape
    rows, columns = node.strides
    if node.strides == (1, 1):  # pads wider than the kernel: its taps one by one
        matrix = node.weights.reshape(oc, -1).astype(matrix.dtype)
    parts = (flow.reshape(-1, oc) @ matrix).reshape(n, height, width, kh, kw, ic)
    out = np.zeros((n, source[0] + top + bottom, source[1] + left + right, ic), flow.dtype)
    for i in range(kh):
        for j in range(kw):
            out[
                :,
                i : i + (height - 1) * rows + 1 : rows,
                j : j + (width - 1) * columns + 1 : columns,
            ] += parts[:, :, :, i, j]
    return [out[:, top : top + source[0], left : left + source[1]]]


def _taps(node: DepthwiseConv2D, shape: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """For every tap the part of the padded input (N, H, W, C) that outputs of (height, width)
    ``shape`` read there, and its weight per channel."""
    (height, width), (rows, columns) = shape[:2], node.strides
    for i in range(node.weights.shape[1]):
        for j in range(node.weights.shape[2]):
            place = (
                slice(None),
                slice(i, i + (height - 1) * rows + 1, rows),
                slice(j, j + (width - 1) * columns + 1, columns),
            )
            yield place, node.weights[:, i, j]


def _depthwise(
    twin: Twin, node: DepthwiseConv2D, inputs: list[Array], values: dict[str, Any]
) -> Array:
    shape = twin.graph.tensor[node.output].shape
    padded = _padded(inputs[0], node, np.float64)
    out = np.zeros((len(padded), *shape))
    for place, weights in _taps(node, shape):
        out += padded[place] * weights
    return out


def _depthwise_back(
    twin: Twin, node: DepthwiseConv2D, flow: Array, values: dict[str, Any]
) -> list[Array]:
    height, width, channels = twin.graph.tensor[node.inputs[0]].shape
    top, bottom, left, right = node.pads
    out = np.zeros((len(flow), height + top + bottom, width + left + right, channels), flow.dtype)
    for place, weights in _taps(node, flow.shape[1:]):
        out[place] += flow * weights.astype(flow.dtype)
    return [out[:, top : top + height, left : left + width]]


def _dense(twin: Twin, node: Dense, inputs: list[Array], values: dict[str, Any]) -> Array:
    matrix = twin._matrix[node.name]
    return inputs[0].astype(matrix.dtype) @ matrix


def _dense_back(twin: Twin, node: Dense, flow: Array, values: dict[str, Any]) -> list[Array]:
    return [flow @ twin._matrix[node.name].T.astype(flow.dtype)]


def _requantize(twin: Twin, node: Requantize, inputs: list[Array], values: dict[str, Any]) -> Array:
    shape = inputs[0].shape
    # Channels are few: factors repeated along a row make numpy's inner loops long.
    repeat = shape[-2] if len(shape) == 4 else 1
    t: Any = np.tile(node.bias.astype(np.float64), repeat)
    for multipliers, acc in zip(node.multipliers, inputs, strict=True):
        factors = np.tile(multipliers * 2.0**-16, repeat)
        t = t + twin._floor(acc.reshape(-1, repeat * shape[-1]) * factors)
    if node.scores:
        return np.asarray(t.reshape(shape))
    step = 2.0**-node.shift
    low, high = node.lo * 2.0**node.shift, node.hi * 2.0**node.shift
    values[f"{node.name}/passes"] = ((t > low) & (t < high)).reshape(shape)
    t += 0.0 if twin.smooth else float((1 << node.shift) >> 1)
    t *= step
    out = np.empty(t.shape, np.float64 if twin.smooth else np.float32)
    np.clip(twin._floor(t), node.lo, node.hi, out=out, casting="unsafe")
    return out.reshape(shape)


def _requantize_back(
    twin: Twin, node: Requantize, flow: Array, values: dict[str, Any]
) -> list[Array]:
    shape = flow.shape
    if not node.scores:
        flow = flow * values[f"{node.name}/passes"]
    repeat = shape[-2] if len(shape) == 4 else 1
    flow = flow.reshape(-1, repeat * shape[-1])
    factor = 2.0 ** -(16 + node.shift)
    parts = (flow * np.tile((m * factor).astype(flow.dtype), repeat) for m in node.multipliers)
    return [part.reshape(shape) for part in parts]


def _windows(x: Array, node: Pool2D) -> Array:
    view = np.lib.stride_tricks.sliding_window_view(x, node.size, (1, 2))  # type: ignore[call-overload]
    view = view[:, :: node.strides[0], :: node.strides[1]]
    return np.asarray(view.reshape(*view.shape[:4], node.size[0] * node.size[1]))


def _pool(twin: Twin, node: Pool2D, inputs: list[Array], values: dict[str, Any]) -> Array:
    windows = _windows(inputs[0], node)
    if node.kind == "max":
        return np.asarray(windows.max(axis=-1))
    total, n = windows.sum(axis=-1), node.size[0] * node.size[1]
    return total / n if twin.smooth else interpreter.mean(total, node, n)


def _pool_back(twin: Twin, node: Pool2D, flow: Array, values: dict[str, Any]) -> list[Array]:
    source = values[node.inputs[0]]
    (kh, kw), (rows, columns) = node.size, node.strides
    height, width = flow.shape[1:3]
    first = _windows(source, node).argmax(axis=-1) if node.kind == "max" else None
    out = np.zeros(source.shape, flow.dtype)
    for k in range(kh * kw):
        part = flow / (kh * kw) if first is None else flow * (first == k)
        i, j = divmod(k, kw)
        out[
            :,
            i : i + (height - 1) * rows + 1 : rows,
            j : j + (width - 1) * columns + 1 : columns,
        ] += part
    return [out]


def _average(
    twin: Twin, node: GlobalAveragePool, inputs: list[Array], values: dict[str, Any]
) -> Array:
    total = inputs[0].sum(axis=(1, 2), dtype=np.float64)
    n = inputs[0].shape[1] * inputs[0].shape[2]
    return total / n if twin.smooth else interpreter.mean(total, node, n)


def _average_back(
    twin: Twin, node: GlobalAveragePool, flow: Array, values: dict[str, Any]
) -> list[Array]:
    shape = values[node.inputs[0]].shape
    share = flow / (shape[1] * shape[2])
    return [np.broadcast_to(share[:, None, None, :], shape).astype(flow.dtype)]


def _reshape(twin: Twin, node: Reshape, inputs: list[Array], values: dict[str, Any]) -> Array:
    return inputs[0].reshape(len(inputs[0]), *twin.graph.tensor[node.output].shape)


def _reshape_back(twin: Twin, node: Reshape, flow: Array, values: dict[str, Any]) -> list[Array]:
    return [flow.reshape(len(flow), *twin.graph.tensor[node.inputs[0]].shape)]


_FORWARD: dict[type, Callable[..., Array]] = {
    Input: _input, Conv2D: _conv, DepthwiseConv2D: _depthwise, Dense: _dense,
    Requantize: _requantize, Pool2D: _pool, GlobalAveragePool: _average, Reshape: _reshape,
}  # fmt: skip
_BACKWARD: dict[type, Callable[..., list[Array]]] = {
    Input: _input_back, Conv2D: _conv_back, DepthwiseConv2D: _depthwise_back, Dense: _dense_back,
    Requantize: _requantize_back, Pool2D: _pool_back, GlobalAveragePool: _average_back,
    Reshape: _reshape_back,
}  # fmt: skip
