"""Synthetic int8 networks as people build them: convolutions, depthwise ones, residuals, pools.

Unlike ``int8_graphs`` they are made of what the fast int8 kernels accept: wide layers, weights in
-127..127, shifts to the right; in every shape, padding and activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.int8_graphs import Int8Builder, multiplier
from tinyrobust.graph import int8
from tinyrobust.graph.base import Tensor
from tinyrobust.graph.nodes import Graph

Pair = tuple[int, int]


class NetworkBuilder(Int8Builder):
    """Layers with an activation by name: ``relu``, ``none``, or ``clamp`` to a part of int8."""

    saturated = False

    def finish(self, activation: str) -> dict[str, int]:
        if activation == "relu":
            return {"output_zero": -128, "lo": -128, "hi": 127}
        if activation == "none":
            return {"output_zero": self.some(-60, 60), "lo": -128, "hi": 127}
        lo = self.some(-128, 0)
        return {"output_zero": self.zero(), "lo": lo, "hi": self.some(lo + 20, 127)}

    def window(
        self, size: Pair, strides: Pair, pads: tuple[int, int, int, int] | None, dilations: Pair
    ) -> tuple[dict[str, Any], Pair]:
        """(fields, output rows and columns); without ``pads`` those of SAME."""
        found: list[int] = []
        out = []
        for i in (0, 1):
            n, extent = self.x.shape[i], (size[i] - 1) * dilations[i] + 1
            if pads is None:
                outputs = -(-n // strides[i])
                missing = max((outputs - 1) * strides[i] + extent - n, 0)
                found += [missing // 2, missing - missing // 2]
            else:
                found += pads[2 * i : 2 * i + 2]
                outputs = (n + pads[2 * i] + pads[2 * i + 1] - extent) // strides[i] + 1
            out.append(outputs)
        fields = {"strides": strides, "pads": tuple(found), "dilations": dilations}
        return fields, (out[0], out[1])

    def convolution(
        self, channels: int, size: Pair = (3, 3), strides: Pair = (1, 1),
        activation: str = "relu", *, pads: tuple[int, int, int, int] | None = None,
        dilations: Pair = (1, 1), source: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        self.x = source or self.x
        fields, out = self.window(size, strides, pads, dilations)
        weights = self.rng.integers(-127, 128, (channels, *size, self.x.shape[2])).astype(np.int8)
        fields |= self.weighted(weights, weights[0].size, 8) | self.finish(activation)
        return self.add(int8.Conv2DInt8, (self.x,), (*out, channels), **fields)

    def per_channel(
        self, size: Pair = (3, 3), strides: Pair = (1, 1), activation: str = "relu", *,
        pads: tuple[int, int, int, int] | None = None,
    ) -> Tensor:  # fmt: skip
        fields, out = self.window(size, strides, pads, (1, 1))
        channels = self.x.shape[2]
        weights = self.rng.integers(-127, 128, (*size, channels)).astype(np.int8)
        fields |= self.weighted(weights, size[0] * size[1], 8) | self.finish(activation)
        return self.add(int8.DepthwiseConv2DInt8, (self.x,), (*out, channels), **fields)

    def sum(self, first: Tensor, second: Tensor, activation: str = "relu") -> Tensor:
        scales = [float(s) for s in self.rng.uniform(0.3, 1.0, 3)]
        most = 2 * max(scales[:2])
        reals = (scales[0] / most, scales[1] / most, most / (scales[2] * (1 << 20)))
        pairs = [multiplier(r) for r in reals]
        return self.add(
            int8.AddInt8, (first, second), first.shape,
            multipliers=tuple(m for m, _ in pairs), shifts=tuple(s for _, s in pairs),
            input_zeros=(self.zero(), self.zero()), **self.finish(activation),
        )  # fmt: skip

    def average(self) -> Tensor:
        height, width, channels = self.x.shape
        return self.add(int8.AveragePool2DInt8, (self.x,), (1, 1, channels), size=(height, width),
                        strides=(height, width))  # fmt: skip

    def classes(self, n: int) -> Tensor:
        flat = self.view(self.x, (self.x.size,))
        weights = self.rng.integers(-127, 128, (n, flat.size)).astype(np.int8)
        fields = self.weighted(weights, flat.size, 8) | self.finish("none")
        return self.add(int8.DenseInt8, (flat,), (n,), **fields)


def network(seed: int) -> Graph:
    """Twelve layers of all kinds, then an average and classes; every eighth is depthwise only."""
    rng = np.random.default_rng([11, seed])
    if seed % 8 == 5:
        return _depthwise(seed, rng)
    side = int(rng.integers(5, 22))
    b = NetworkBuilder(seed, (side, side + int(rng.integers(-2, 4)), int(rng.choice([1, 3, 4, 8]))))
    for _ in range(12):
        _layer(b, rng)
    b.average()
    b.classes(int(rng.integers(2, 13)))
    b.scores()
    return b.graph(f"int8-network{seed}")


def _depthwise(seed: int, rng: np.random.Generator) -> Graph:
    """Twelve depthwise layers over the same pixels, from columns to images of several strips."""
    sides = [(25, 5), (8, 8), (30, 7), (12, 34), (27, 18), (13, 16), (40, 6), (6, 21)]
    height, width = sides[seed // 8 % len(sides)]
    b = NetworkBuilder(seed, (height, width, 4))
    source = b.convolution(int(rng.choice([16, 24, 32] if height * width > 200 else [32, 64])))
    for i in range(12):
        b.x = source
        size = [(3, 3), (3, 3), (3, 3), (2, 3), (3, 1), (5, 5)][i % 6]
        stride = (1, 1) if rng.random() < 0.6 else (2, 2)
        pads = tuple(int(rng.integers(0, n)) for n in (*size[:1] * 2, *size[1:] * 2))
        b.per_channel(size, stride, ("relu", "none", "relu", "clamp")[i % 4],
                      pads=None if rng.random() < 0.6 else pads)  # type: ignore[arg-type]  # fmt: skip
    b.average()
    b.classes(3)
    b.scores()
    return b.graph(f"int8-depthwise{seed}")


def _layer(b: NetworkBuilder, rng: np.random.Generator) -> None:
    height, width, channels = b.x.shape
    activation = str(rng.choice(["relu", "relu", "none", "clamp"]))
    strides = (1, 1) if min(height, width) < 6 else (int(rng.integers(1, 3)),) * 2
    wanted = int(rng.choice([4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 64]))
    if wanted * height * width > 6000:
        wanted = 8
    size = [(3, 3), (3, 3), (1, 1), (1, 1), (5, 5), (2, 3), (1, 4), (3, 1)][int(rng.integers(8))]
    pads = None
    if rng.random() < 0.3:
        pads = tuple(int(rng.integers(0, n)) for n in (*size[:1] * 2, *size[1:] * 2))
    kind = str(rng.choice(["conv", "conv", "conv", "depthwise", "residual", "dilated"]))
    if kind == "depthwise":
        some = [(3, 3), (3, 3), (2, 3), (1, 3), (3, 1)][int(rng.integers(5))]
        b.per_channel(some, strides, activation)
    elif kind == "residual":
        source = b.x
        second = b.convolution(channels, (3, 3), activation=activation)
        b.sum(source, second, str(rng.choice(["relu", "none"])))
    elif kind == "dilated" and min(height, width) > 4:
        b.convolution(wanted, (3, 3), (1, 1), activation, dilations=(2, 2))
    elif min(height, width) >= max(size):
        b.convolution(wanted, size, strides, activation, pads=pads)  # type: ignore[arg-type]
    else:
        b.convolution(wanted, (1, 1), (1, 1), activation)


def resnet8() -> Graph:
    """MLPerf Tiny's image classification network with random weights."""
    b = NetworkBuilder(1, (32, 32, 3))
    block = b.convolution(16)
    b.convolution(16)
    b.sum(block, b.convolution(16, activation="none"))
    for channels in (32, 64):
        block = b.x
        b.convolution(channels, (3, 3), (2, 2))
        main = b.convolution(channels, activation="none")
        short = b.convolution(channels, (1, 1), (2, 2), "none", source=block)
        b.sum(short, main)
    b.average()
    b.classes(10)
    b.scores()
    return b.graph("int8-resnet8")


def ds_cnn() -> Graph:
    """MLPerf Tiny's keyword spotting network with random weights."""
    b = NetworkBuilder(2, (49, 10, 1))
    b.convolution(64, (10, 4), (2, 2))
    for _ in range(4):
        b.per_channel()
        b.convolution(64, (1, 1))
    b.average()
    b.classes(12)
    b.scores()
    return b.graph("int8-ds-cnn")


def edge_biases(m: int, shift: int, rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    """Biases such that accumulators bias - 128 .. bias + 127 meet where the rounding changes: ties
    of either sign, where results cross the ends of int8, and the largest sums that are allowed."""
    limit = min(1 << 31, (1 << 15) << max(-shift - 1, 0)) - 400
    codes = rng.integers(-140, 140, n) + 0.5
    centres = np.clip(codes / (m * 2.0 ** (shift - 31)), -limit, limit).astype(np.int64)
    centres[:4] = (0, -1, limit, -limit)
    return centres.astype(np.int32)
