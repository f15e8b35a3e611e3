"""Networks of the published shapes with random weights, to count what kernels take.

In: a specification, ``resnet8:50`` (ternary, percent of zeros) or ``resnet8-int8``; ``ds-cnn``
likewise. Out: a verified Graph, the same for the same specification. Sums and activations spread as
a trained network's do, so no proof about ranges fails that would hold there; the scores mean
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import GraphError
from tinyrobust.graph import int8
from tinyrobust.graph.nodes import (
    INT32,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Requantize,
    Tensor,
)
from tinyrobust.graph.verify import accumulator_range, requantize_range

SEED = 8
_SHIFT = 10
_CODES = 127


def random_network(specification: str) -> Graph:
    """See the module. Raises GraphError for an unknown specification."""
    found = re.fullmatch(r"(resnet8|ds-cnn)(?:-int8|:(\d+(?:\.\d+)?))", specification)
    zeros = float(found[2] or 0) if found else 0.0
    if found is None or zeros >= 100:
        raise GraphError(
            f"no random network '{specification}'",
            "resnet8:ZEROS (percent, such as resnet8:50), resnet8-int8; ds-cnn likewise",
        )
    shape, network = _NETWORKS[found[1]]
    if found[2]:
        return network(_Ternary(specification, shape, zeros / 100))
    return network(_Int8(specification, shape))


def model_name(specification: str) -> str:
    """What builds and reports call it."""
    return "random-" + specification.replace(":", "-")


def by_model_name(name: str) -> Graph | None:
    """The inverse of ``model_name``; None for a name that it does not give."""
    kind, _, rest = name.partition("-")
    if kind != "random":
        return None
    return random_network(re.sub(r"-(\d)", r":\1", rest))


def _resnet8(b: _Ternary | _Int8) -> Graph:
    """MLPerf Tiny's image classification network (12.50 M multiply-accumulates)."""
    x = b.conv("conv1", b.x, 16)
    for block, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 2):
        y = b.conv(f"res{block}_conv1", x, channels, stride=stride)
        x = b.residual(f"res{block}", y, x, channels, stride)
    return b.finish(x, 10)


def _ds_cnn(b: _Ternary | _Int8) -> Graph:
    """MLPerf Tiny's keyword spotting network (2.66 M multiply-accumulates)."""
    x = b.conv("conv1", b.x, 64, kernel=(10, 4), stride=2)
    for block in range(1, 5):
        x = b.depthwise(f"depthwise{block}", x)
        x = b.conv(f"pointwise{block}", x, 64, kernel=(1, 1))
    return b.finish(x, 12)


_NETWORKS: dict[str, tuple[tuple[int, int, int], Callable[..., Graph]]] = {
    "resnet8": ((32, 32, 3), _resnet8),
    "ds-cnn": ((49, 10, 1), _ds_cnn),
}


def _same(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Windows, and TensorFlow's SAME padding: the odd zero goes behind."""
    count = -(-size // stride)
    pad = max((count - 1) * stride + kernel - size, 0)
    return count, pad // 2, pad - pad // 2


class _Base:
    def __init__(self, specification: str, first: Node, x: Tensor) -> None:
        self.rng = np.random.default_rng([SEED, *specification.encode()])
        self.tensors = [x]
        self.nodes = [first]
        self.x = x
        self.name = specification

    def graph(self, family: str, classes: int) -> Graph:
        labels = tuple(f"class{i}" for i in range(classes))
        nodes, tensors = tuple(self.nodes), tuple(self.tensors)
        return Graph(self.name, "random", labels, tensors, nodes, family=family)

    def add(self, node: Node, tensor: Tensor) -> Tensor:
        self.nodes.append(node)
        self.tensors.append(tensor)
        return tensor


class _Ternary(_Base):
    """Family ``fixed``: trits, 7-bit activations."""

    @property
    def codes(self) -> int:
        """The largest activation."""
        return _CODES

    def __init__(self, specification: str, shape: tuple[int, int, int], zeros: float) -> None:
        super().__init__(specification, Input("image", (), "q"), Tensor("q", shape, 0, _CODES, 7))
        self.zeros = zeros

    def trits(self, *shape: int) -> npt.NDArray[np.int8]:
        signs = self.rng.choice(np.array([-1, 1], np.int8), size=shape)
        return np.where(self.rng.random(shape) < self.zeros, 0, signs).astype(np.int8)

    def sums(
        self, name: str, x: Tensor, channels: int, kernel: tuple[int, int], stride: int
    ) -> Tensor:
        """Of a convolution; depthwise when ``channels`` is 0."""
        rows, top, bottom = _same(x.shape[0], kernel[0], stride)
        columns, left, right = _same(x.shape[1], kernel[1], stride)
        kind = Conv2D if channels else DepthwiseConv2D
        weights = self.trits(channels or x.shape[2], *kernel, *([x.shape[2]] if channels else []))
        low, high = accumulator_range(weights, x)
        return self.add(
            kind(name, (x.name,), f"{name}_acc", weights, (stride, stride),
                 (top, bottom, left, right)),
            Tensor(f"{name}_acc", (rows, columns, len(weights)), int(low.min()),
                   int(high.max()), 7),
        )  # fmt: skip

    def requantize(self, name: str, *branches: Tensor, scores: bool = False) -> Tensor:
        """Multipliers with which typical sums fill the codes."""
        channels = branches[0].shape[-1]
        wanted = self.codes << _SHIFT
        multipliers, ranges = [], []
        for branch in branches:
            spread = 4.0 * np.sqrt(max(branch.hi, -branch.lo, 1))
            m = wanted / spread * 65536 * self.rng.uniform(0.2, 1.0, channels) / len(branches)
            limit = 2**29 * 65536 // max(branch.hi, -branch.lo, 1)
            multipliers.append(np.clip(m, 1, min(limit, INT32[1])))
            ranges.append((np.full(channels, branch.lo), np.full(channels, branch.hi)))
        bias = self.rng.integers(-wanted // 4, wanted // 2, channels).astype(np.int32)
        node = Requantize(
            name, tuple(b.name for b in branches), f"{name}_q", np.array(multipliers, np.int32),
            bias, 0 if scores else _SHIFT, 0, self.codes, scores,
        )  # fmt: skip
        low, high = requantize_range(node, ranges)
        reach = (int(low.min()), int(high.max())) if scores else (0, self.codes)
        return self.add(node, Tensor(f"{name}_q", branches[0].shape, *reach, 12 if scores else 7))

    def conv(
        self, name: str, x: Tensor, channels: int, *, kernel: tuple[int, int] = (3, 3),
        stride: int = 1,
    ) -> Tensor:  # fmt: skip
        return self.requantize(f"{name}_quant", self.sums(name, x, channels, kernel, stride))

    def depthwise(self, name: str, x: Tensor) -> Tensor:
        return self.requantize(f"{name}_quant", self.sums(name, x, 0, (3, 3), 1))

    def residual(self, name: str, y: Tensor, x: Tensor, channels: int, stride: int) -> Tensor:
        acc = self.sums(f"{name}_conv2", y, channels, (3, 3), 1)
        if stride > 1:
            x = self.sums(f"{name}_shortcut", x, channels, (1, 1), stride)
        return self.requantize(f"{name}_quant", acc, x)

    def finish(self, x: Tensor, classes: int) -> Graph:
        mean = self.add(
            GlobalAveragePool("pool", (x.name,), "mean", x.shape[0] * x.shape[1] // 2, True),
            Tensor("mean", (x.shape[2],), 0, self.codes, 7),
        )
        weights = self.trits(classes, mean.size)
        low, high = accumulator_range(weights, mean)
        acc = self.add(
            Dense("dense", (mean.name,), "dense_acc", weights),
            Tensor("dense_acc", (classes,), int(low.min()), int(high.max()), 7),
        )
        self.requantize("scores", acc, scores=True)
        return self.graph("fixed", classes)


def _quantised(multiplier: float) -> tuple[int, int]:
    """TensorFlow Lite's QuantizeMultiplier: ``m * 2**(shift - 31)``, m in 2**30..2**31-1."""
    mantissa, shift = np.frexp(multiplier)
    m = round(float(mantissa) * 2**31)
    return (m // 2, int(shift) + 1) if m == 2**31 else (m, int(shift))


class _Int8(_Base):
    """Family ``tflite``: weights and activations of 8 bits, per-channel scales, fused ReLU."""

    def __init__(self, specification: str, shape: tuple[int, int, int]) -> None:
        x = Tensor("q", shape, -128, 127, 0, 1 / 128, 0)
        super().__init__(specification, int8.InputInt8("image", (), "q"), x)

    def _made(self, name: str, shape: tuple[int, ...], zero: int = -128) -> Tensor:
        return Tensor(f"{name}_q", shape, -128, 127, 0, 0.02, zero)

    def _scaled(self, shape: tuple[int, ...], axis: int, x: Tensor, zero: int) -> dict[str, Any]:
        """Weights whose largest is 127 in every channel, and multipliers that fill int8."""
        channels = shape[axis]
        weights = np.moveaxis(self.rng.normal(0, 1, shape), axis, 0).reshape(channels, -1)
        weights *= 127 / np.abs(weights).max(axis=1, keepdims=True)
        codes = np.round(weights).astype(np.int8)
        # Activations are spread evenly over about half of their codes.
        spread = 40 * np.sqrt((codes.astype(np.float64) ** 2).sum(axis=1)) + 1
        found = [_quantised(float(m)) for m in 60 / spread * self.rng.uniform(0.5, 1, channels)]
        kept = tuple(n for i, n in enumerate(shape) if i != axis)
        return {
            "weights": np.ascontiguousarray(
                np.moveaxis(codes.reshape(channels, *kept), 0, axis)),
            "bias": np.round(self.rng.normal(0, 0.5, channels) * spread).astype(np.int32),
            "multipliers": np.array([m for m, _ in found], np.int32),
            "shifts": np.array([s for _, s in found], np.int32),
            "input_zero": x.zero_point, "output_zero": zero, "lo": max(zero, -128),
        }  # fmt: skip

    def conv(
        self, name: str, x: Tensor, channels: int, *, kernel: tuple[int, int] = (3, 3),
        stride: int = 1, zero: int = -128,
    ) -> Tensor:  # fmt: skip
        """With ReLU when the output's zero is -128."""
        rows, top, bottom = _same(x.shape[0], kernel[0], stride)
        columns, left, right = _same(x.shape[1], kernel[1], stride)
        values = self._scaled((channels, *kernel, x.shape[2]), 0, x, zero)
        node = int8.Conv2DInt8(
            name, (x.name,), f"{name}_q", **{**values, "lo": -128}, strides=(stride, stride),
            pads=(top, bottom, left, right),
        )  # fmt: skip
        return self.add(node, self._made(name, (rows, columns, channels), zero))

    def depthwise(self, name: str, x: Tensor) -> Tensor:
        values = self._scaled((3, 3, x.shape[2]), 2, x, -128)
        node = int8.DepthwiseConv2DInt8(name, (x.name,), f"{name}_q", **values, pads=(1, 1, 1, 1))
        return self.add(node, self._made(name, x.shape))

    def residual(self, name: str, y: Tensor, x: Tensor, channels: int, stride: int) -> Tensor:
        y = self.conv(f"{name}_conv2", y, channels, zero=-4)
        if stride > 1:
            x = self.conv(f"{name}_shortcut", x, channels, kernel=(1, 1), stride=stride, zero=3)
        a, b, out = 0.021, 0.019, 0.025
        twice = 2 * max(a, b)
        found = [_quantised(m) for m in (a / twice, b / twice, twice / (2**20 * out))]
        node = int8.AddInt8(
            f"{name}_add", (y.name, x.name), f"{name}_q",
            input_zeros=(y.zero_point, x.zero_point), output_zero=-128,
            multipliers=(found[0][0], found[1][0], found[2][0]),
            shifts=(found[0][1], found[1][1], found[2][1]),
        )  # fmt: skip
        return self.add(node, self._made(name, y.shape))

    def finish(self, x: Tensor, classes: int) -> Graph:
        size = (x.shape[0], x.shape[1])
        pool = int8.AveragePool2DInt8("pool", (x.name,), "pool_q", size, size)
        mean = self.add(pool, self._made("pool", (1, 1, x.shape[2])))
        values = self._scaled((classes, mean.size), 0, mean, 5)
        dense = int8.DenseInt8("dense", (mean.name,), "dense_q", **{**values, "lo": -128})
        out = self.add(dense, self._made("dense", (1, 1, classes), 5))
        self.add(
            int8.ScoresInt8("scores", (out.name,), "scores"),
            Tensor("scores", (classes,), -128, 127, 0),
        )
        return self.graph("tflite", classes)
