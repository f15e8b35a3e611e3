"""Synthetic Graphs for tests: seeded, verified, of every shape the Graph allows."""

from __future__ import annotations

import numpy as np

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
    Tensor,
)
from tinyrobust.graph.verify import accumulator_range, requantize_range, windows


class Builder:
    """Adds nodes one by one and works out shapes and ranges."""

    def __init__(self, seed: int, shape: tuple[int, int, int], zeros: float = 0.5) -> None:
        self.rng = np.random.default_rng(seed)
        self.zeros = zeros
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.x = self._add(Input("input", (), "q"), Tensor("q", shape, 0, 127, 7))

    def _add(self, node: Node, tensor: Tensor) -> Tensor:
        self.nodes.append(node)
        self.tensors.append(tensor)
        self.x = tensor
        return tensor

    def trits(self, *shape: int) -> np.ndarray:
        signs = self.rng.choice(np.array([-1, 1], np.int8), size=shape)
        return np.where(self.rng.random(shape) < self.zeros, 0, signs).astype(np.int8)

    def conv(
        self,
        channels: int,
        kernel: int | tuple[int, int] = 3,
        stride: int = 1,
        same: bool = True,
        source: Tensor | None = None,
        pads: tuple[int, int, int, int] | None = None,
    ) -> Tensor:
        x = source or self.x
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        if pads is None:
            pads = (0, 0, 0, 0)
            if same:  # TensorFlow's SAME: the odd zero goes below and to the right
                rows = max((-(-x.shape[0] // stride) - 1) * stride + kh - x.shape[0], 0)
                columns = max((-(-x.shape[1] // stride) - 1) * stride + kw - x.shape[1], 0)
                pads = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
        weights = self.trits(channels, kh, kw, x.shape[2])
        shape = (windows(x.shape[0], kh, stride, pads[0], pads[1]),
                 windows(x.shape[1], kw, stride, pads[2], pads[3]), channels)  # fmt: skip
        low, high = accumulator_range(weights, x)
        name = f"conv{len(self.nodes)}"
        return self._add(
            Conv2D(name, (x.name,), f"{name}_acc", weights, (stride, stride), pads),
            Tensor(f"{name}_acc", shape, int(low.min()), int(high.max()), x.frac_bits),
        )

    def depthwise(self, kernel: int | tuple[int, int] = 3, stride: int = 1) -> Tensor:
        """Every channel by itself, padded as TensorFlow's SAME."""
        x = self.x
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        rows = max((-(-x.shape[0] // stride) - 1) * stride + kh - x.shape[0], 0)
        columns = max((-(-x.shape[1] // stride) - 1) * stride + kw - x.shape[1], 0)
        pads = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
        weights = self.trits(x.shape[2], kh, kw)
        shape = (windows(x.shape[0], kh, stride, pads[0], pads[1]),
                 windows(x.shape[1], kw, stride, pads[2], pads[3]), x.shape[2])  # fmt: skip
        low, high = accumulator_range(weights, x)
        name = f"depthwise{len(self.nodes)}"
        return self._add(
            DepthwiseConv2D(name, (x.name,), f"{name}_acc", weights, (stride, stride), pads),
            Tensor(f"{name}_acc", shape, int(low.min()), int(high.max()), x.frac_bits),
        )

    def dense(self, units: int) -> Tensor:
        x = self.x
        weights = self.trits(units, x.size)
        low, high = accumulator_range(weights, x)
        name = f"dense{len(self.nodes)}"
        return self._add(
            Dense(name, (x.name,), f"{name}_acc", weights),
            Tensor(f"{name}_acc", (units,), int(low.min()), int(high.max()), x.frac_bits),
        )

    def requantize(
        self, *branches: Tensor, bits: int = 7, shift: int = 10, scores: bool = False
    ) -> Tensor:
        """Random multipliers that spread typical sums over the output's codes."""
        sources = branches or (self.x,)
        channels = sources[0].shape[-1]
        target = (1 << bits) << shift
        multipliers, ranges = [], []
        for source in sources:
            spread = max(4.0 * np.sqrt(max(source.hi, -source.lo, 1)), 1.0)
            m = target / spread * 65536 * self.rng.uniform(0.2, 1.0, channels) / len(sources)
            m *= self.rng.choice([-1, 1], channels)
            limit = 2**29 * 65536 // max(source.hi, -source.lo, 1)
            multipliers.append(np.clip(m, -min(limit, 2**31 - 1), min(limit, 2**31 - 1)))
            ranges.append((np.full(channels, source.lo), np.full(channels, source.hi)))
        m32 = np.array(multipliers).astype(np.int32)
        bias = self.rng.integers(-target // 4, target // 2, channels).astype(np.int32)
        name = f"requantize{len(self.nodes)}"
        node = Requantize(
            name, tuple(s.name for s in sources), f"{name}_q", m32, bias,
            0 if scores else shift, 0, (1 << bits) - 1, scores,
        )  # fmt: skip
        if not scores:
            return self._add(node, Tensor(f"{name}_q", sources[0].shape, 0, (1 << bits) - 1, 6))
        low, high = requantize_range(node, ranges)
        return self._add(
            node, Tensor(f"{name}_q", sources[0].shape, int(low.min()), int(high.max()), 12)
        )

    def pool(
        self, kind: str = "max", size: int = 2, stride: int | None = None,
        half_up: bool = False, half_even: bool = False,
    ) -> Tensor:  # fmt: skip
        x, stride = self.x, stride or size
        shape = (windows(x.shape[0], size, stride), windows(x.shape[1], size, stride), x.shape[2])
        name = f"pool{len(self.nodes)}"
        node = Pool2D(name, (x.name,), f"{name}_q", kind, (size, size), (stride, stride),
                      size * size // 2 if half_up or half_even else 0, half_even)  # fmt: skip
        return self._add(node, Tensor(f"{name}_q", shape, x.lo, x.hi, x.frac_bits))

    def average(self, half_up: bool = False, half_even: bool = False) -> Tensor:
        x = self.x
        rounding = x.shape[0] * x.shape[1] // 2 if half_up or half_even else 0
        node = GlobalAveragePool("average", (x.name,), "average_q", rounding, half_even)
        return self._add(node, Tensor("average_q", (x.shape[2],), x.lo, x.hi, x.frac_bits))

    def flatten(self) -> Tensor:
        x = self.x
        node = Reshape("flatten", (x.name,), "flat")
        return self._add(node, Tensor("flat", (x.size,), x.lo, x.hi, x.frac_bits))

    def graph(self, name: str, task: str = "synthetic") -> Graph:
        labels = tuple(f"class{i}" for i in range(self.x.size))
        return Graph(name, task, labels, tuple(self.tensors), tuple(self.nodes))


def tiny_graph(seed: int = 0) -> Graph:
    """8x8x3, one convolution, pooling, four classes: runs in microseconds."""
    b = Builder(seed, (8, 8, 3))
    b.conv(8)
    b.requantize()
    b.pool()
    b.conv(8, stride=2)
    b.requantize()
    b.average()
    b.dense(4)
    b.requantize(scores=True)
    return b.graph("tiny")


def random_graph(seed: int) -> Graph:
    """Odd shapes, strides, pads, bits, residuals, pools: whatever the seed says."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(5, 14)), int(rng.integers(5, 14)), int(rng.integers(1, 6)))
    b = Builder(seed + 1, shape, zeros=float(rng.uniform(0, 0.9)))
    bits = int(rng.choice([4, 7]))
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.choice(["conv", "residual", "shortcut", "pool"])
        shift = int(rng.integers(0, 13))
        if kind == "conv" or min(b.x.shape[:2]) < 3:
            kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
            b.conv(int(rng.integers(1, 20)), kernel, int(rng.integers(1, 3)))
            b.requantize(bits=bits, shift=shift)
        elif kind == "residual":
            identity = b.x
            acc = b.conv(identity.shape[2])
            b.requantize(acc, identity, bits=bits, shift=shift)
        elif kind == "shortcut":
            source, channels = b.x, int(rng.integers(2, 18))
            first = b.conv(channels, 3, 2)
            second = b.conv(channels, 1, 2, source=source)
            b.requantize(first, second, bits=bits, shift=shift)
        else:
            size = int(rng.integers(2, 4))
            b.pool(str(rng.choice(["max", "average"])), size, int(rng.integers(1, size + 1)))
    if rng.random() < 0.5:
        b.average(half_up=bool(rng.random() < 0.5), half_even=bool(rng.random() < 0.5))
    else:
        b.flatten()
    if rng.random() < 0.3:
        b.dense(int(rng.integers(3, 20)))
        b.requantize(bits=bits)
    b.dense(int(rng.integers(2, 12)))
    b.requantize(scores=True)
    return b.graph(f"random{seed}")


def separable_graph(seed: int) -> Graph:
    """Depthwise and 1x1 convolutions in turn, of all shapes."""
    rng = np.random.default_rng([3, seed])
    shape = (int(rng.integers(5, 15)), int(rng.integers(4, 19)), int(rng.integers(1, 6)))
    b = Builder(seed, shape, zeros=float(rng.uniform(0.1, 0.8)))
    bits = int(rng.choice([4, 7, 7, 8]))
    b.conv(int(rng.integers(2, 24)))
    b.requantize(bits=bits)
    for _ in range(int(rng.integers(2, 5))):
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6))) if rng.random() < 0.4 else 3
        source = b.x
        first = b.depthwise(kernel, int(rng.integers(1, 3)) if min(b.x.shape[:2]) > 4 else 1)
        if first.shape == source.shape and rng.random() < 0.5:
            b.requantize(first, source, bits=bits, shift=int(rng.choice([16, 12])))
        else:
            b.requantize(bits=bits, shift=int(rng.choice([16, 7])))
        b.conv(int(rng.integers(2, 24)), 1)
        b.requantize(bits=bits)
    if rng.random() < 0.5:  # a branch whose sums stay in memory
        source = b.x
        wide = b.depthwise(3)
        b.requantize(wide, b.conv(source.shape[2], 3, source=source), bits=bits)
    if min(b.x.shape[:2]) > 2:
        b.pool("average", int(rng.integers(2, 4)) if min(b.x.shape[:2]) > 3 else 2,
               half_up=bool(seed % 3 == 1), half_even=bool(seed % 3 == 2))  # fmt: skip
    b.average()
    b.dense(5)
    b.requantize(scores=True)
    return b.graph(f"separable{seed}")


def resnet8_graph(seed: int = 0, zeros: float = 0.5, size: int = 32) -> Graph:
    """The shape of MLPerf Tiny's ResNet8 with random trits: 12.5 M MACs at ``size`` 32."""
    b = Builder(seed, (size, size, 3), zeros)
    b.conv(16)
    b.requantize()
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        source = b.x
        b.conv(channels, 3, stride)
        b.requantize()
        acc = b.conv(channels)
        second = source if stride == 1 else b.conv(channels, 1, stride, source=source)
        b.requantize(acc, second)
    b.average(half_even=True)
    b.dense(10)
    b.requantize(scores=True)
    return b.graph("resnet8")
