"""Synthetic Graphs of family ``tflite``: seeded, verified, every operation with every option."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import INT8, INT32, Node, Reshape, Tensor, aligned
from tinyrobust.graph.nodes import Graph
from tinyrobust.graph.verify import windows

Shape = tuple[int, ...]
Pair = tuple[int, int]


def multiplier(real: float) -> Pair:
    """(multiplier, shift) of a positive factor, as TensorFlow Lite's QuantizeMultiplier."""
    fraction, shift = math.frexp(real)
    m = round(fraction * (1 << 31))
    return (m // 2, shift + 1) if m == 1 << 31 else (m, shift)


class Int8Builder:
    """Adds nodes one by one and works out shapes; ``x`` is the last tensor. ``reach`` is the
    longest axis of random tensors; ``saturated``: whether there are channels whose rescale leaves
    int32."""

    saturated = True

    def __init__(self, seed: int, shape: tuple[int, int, int], reach: int = 9) -> None:
        self.reach = reach
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.x = self.add(int8.InputInt8, (), shape)

    def add(self, make: Any, sources: tuple[Tensor, ...], shape: Shape, **fields: Any) -> Tensor:
        name = f"{make.op}{len(self.nodes)}"
        scores = make is int8.ScoresInt8
        scale = None if scores else 0.05
        self.x = Tensor(f"{name}_q", tuple(int(n) for n in shape), *INT8, 0, scale)
        self.nodes.append(make(name, tuple(s.name for s in sources), self.x.name, **fields))
        self.tensors.append(self.x)
        return self.x

    # Sources of any shape and parameters of any kind.

    def some(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def zero(self) -> int:
        if self.rng.random() < 0.2:
            return int(self.rng.choice([-128, 127, self.some(-128, 127)]))
        return self.some(-20, 20)

    def clamp(self) -> dict[str, int]:
        if self.rng.random() < 0.75:
            return {"lo": -128, "hi": 127}
        lo = self.some(-128, 100)
        return {"lo": lo, "hi": self.some(lo, 127)}

    def fresh(self) -> Tensor:
        """Many different values, 1 to 3 axes: a part of the input, permuted."""
        image = self.tensors[0]
        flat = self.view(image, (image.size,))
        shape = [self.some(1, self.reach) for _ in range(self.some(1, 3))]
        while math.prod(shape) > image.size:
            shape.pop()
        part = self.add(int8.StridedSliceInt8, (flat,), (math.prod(shape),))
        table = self.rng.permutation(256).astype(np.uint8).view(np.int8)
        return self.view(self.add(int8.LookupInt8, (part,), part.shape, table=table), tuple(shape))

    def view(self, source: Tensor, shape: Shape) -> Tensor:
        return self.add(Reshape, (source,), shape)

    def weighted(self, weights: np.ndarray, taps: int, bits: int) -> dict[str, Any]:
        """Weights and a requantisation that spreads typical sums over the codes."""
        channels = weights.shape[-1] if weights.ndim == 3 else len(weights)
        typical = 75.0 * float(weights.std() + 1) * math.sqrt(taps)
        reals = 100.0 / typical * self.rng.uniform(0.2, 1.5, channels)
        if self.rng.random() < 0.3:
            reals[:] = reals[0]
        if abs(int(weights.min())) <= 2 and self.rng.random() < 0.5:
            reals *= 16  # shifts to the left
        pairs = [multiplier(float(r)) for r in reals]
        if self.rng.random() < 0.1:
            kind = self.rng.random()
            pairs[0] = (0, 0) if kind < 0.5 else ((1 << 31) - 1, -31)
            if self.saturated and kind < 0.25:
                pairs[0] = ((1 << 30) + 12345, 20)
        return {
            "weights": weights,
            "bias": self.rng.integers(-int(typical), int(typical) + 1, channels).astype(np.int32),
            "multipliers": np.array([m for m, _ in pairs], np.int32),
            "shifts": np.array([s for _, s in pairs], np.int32),
            "input_zero": self.zero(),
            "output_zero": self.zero(),
            "weight_bits": bits,
            **self.clamp(),
        }

    def int8_weights(self, *shape: int) -> tuple[np.ndarray, int]:
        bits = 4 if self.rng.random() < 0.3 else 8
        limit = 1 << (bits - 1)
        if self.rng.random() < 0.15:
            limit = 2  # then a shift may be to the left
        return self.rng.integers(-limit, limit, shape).astype(np.int8), bits

    def windowed(self, source: Tensor, dilated: bool) -> tuple[Pair, dict[str, Any], Pair]:
        """(window, its fields, rows and columns of the output)."""
        height, width, _ = aligned(source.shape)
        size, strides, dilations, pads, out = [], [], [], [], []
        for n in (height, width):
            kernel, stride = self.some(1, 5), self.some(1, 3)
            dilation = self.some(1, 3) if dilated and self.rng.random() < 0.4 else 1
            extent = (kernel - 1) * dilation + 1
            before = self.some(0, extent - 1) if self.rng.random() < 0.7 else 0
            after = self.some(0, extent - 1) if self.rng.random() < 0.7 else 0
            if not dilated:  # a pool's window holds an element
                before, after = min(before, kernel - 1), min(after, kernel - 1)
            if n + before + after < extent:
                kernel, dilation, extent, before, after = 1, 1, 1, 0, 0
            size.append(kernel)
            strides.append(stride)
            dilations.append(dilation)
            pads += [before, after]
            out.append(windows(n, extent, stride, before, after))
        fields: dict[str, Any] = {"strides": tuple(strides), "pads": tuple(pads)}
        if dilated:
            fields["dilations"] = tuple(dilations)
        return (size[0], size[1]), fields, (out[0], out[1])

    # One method per operation; each adds a node with random options to random sources.

    def conv(self, source: Tensor) -> Tensor:
        size, fields, out = self.windowed(source, dilated=True)
        channels = self.some(1, self.reach)
        weights, bits = self.int8_weights(channels, *size, aligned(source.shape)[2])
        fields |= self.weighted(weights, weights[0].size, bits)
        return self.add(int8.Conv2DInt8, (source,), (*out, channels), **fields)

    def depthwise(self, source: Tensor) -> Tensor:
        size, fields, out = self.windowed(source, dilated=True)
        times = self.some(1, 3)
        channels = aligned(source.shape)[2] * times
        weights, _ = self.int8_weights(*size, channels)
        fields |= self.weighted(weights, math.prod(size), 8)
        return self.add(int8.DepthwiseConv2DInt8, (source,), (*out, channels),
                        depth_multiplier=times, **fields)  # fmt: skip

    def dense(self, source: Tensor) -> Tensor:
        inputs = int(self.rng.choice([source.size, source.shape[-1]]))
        outputs = self.some(1, self.reach + 3)
        weights, bits = self.int8_weights(outputs, inputs)
        rows = source.size // inputs
        return self.add(int8.DenseInt8, (source,), (rows, outputs) if rows > 1 else (outputs,),
                        **self.weighted(weights, inputs, bits))  # fmt: skip

    def pool(self, source: Tensor) -> Tensor:
        size, fields, out = self.windowed(source, dilated=False)
        kind = int8.AveragePool2DInt8 if self.rng.random() < 0.5 else int8.MaxPool2DInt8
        return self.add(kind, (source,), (*out, aligned(source.shape)[2]), size=size,
                        **fields, **self.clamp())  # fmt: skip

    def mean(self, source: Tensor) -> Tensor:
        axes = tuple(int(n) for n in self.rng.integers(0, 2, 3))
        shape = aligned(source.shape)
        kept = tuple(n for n, reduced in zip(shape, axes, strict=True) if not reduced) or (1,)
        n = math.prod(shape) // math.prod(kept)
        m, shift = multiplier(float(self.rng.uniform(0.3, 1.9)) / n)
        return self.add(int8.MeanInt8, (source,), kept, axes=axes, multiplier=m, shift=shift,
                        input_zero=self.zero(), output_zero=self.zero())  # fmt: skip

    def binary(self, source: Tensor, other: Tensor) -> Tensor:
        kind = self.rng.choice([int8.AddInt8, int8.SubInt8, int8.MulInt8, int8.MinimumInt8,
                                int8.MaximumInt8])  # fmt: skip
        fields: dict[str, Any] = {}
        sources = [source, other]
        shape = aligned(source.shape)
        if aligned(other.shape) != shape or self.rng.random() < 0.5:
            # the other operand: a constant, the same size or broadcast, or a part of a tensor
            part = tuple(n if self.rng.random() < 0.5 else 1 for n in shape)
            if self.rng.random() < 0.5 or math.prod(part) > other.size:
                part = part[int(self.rng.integers(0, 3)) :]
                fields["constant"] = self.rng.integers(-128, 128, part).astype(np.int8)
                fields["constant_first"] = bool(self.rng.random() < 0.5)
                sources = [source]
            else:
                flat = self.view(other, (other.size,))
                some = self.add(int8.StridedSliceInt8, (flat,), (math.prod(part),))
                sources = [source, self.view(some, part)]
                if self.rng.random() < 0.5:
                    sources.reverse()
        if kind in (int8.AddInt8, int8.SubInt8):
            first, second = (float(s) for s in self.rng.uniform(0.3, 1.0, 2))
            out = (first + second) * float(self.rng.uniform(0.4, 1.0))
            most = 2 * max(first, second)
            reals = (first / most, second / most, most / (out * (1 << 20)))
            pairs = [multiplier(r) for r in reals]
            fields |= {"multipliers": tuple(m for m, _ in pairs),
                       "shifts": tuple(s for _, s in pairs)}  # fmt: skip
        if kind is int8.MulInt8:
            m, shift = multiplier(
                float(self.rng.choice([0.01, 0.02, 1.3]) * self.rng.uniform(0.5, 1))
            )
            fields |= {"multiplier": m, "shift": shift}
        if not issubclass(kind, (int8.MinimumInt8, int8.MaximumInt8)):
            fields |= {"input_zeros": (self.zero(), self.zero()), "output_zero": self.zero()}
            fields |= self.clamp()
        return self.add(kind, tuple(sources), shape, **fields)

    def pad(self, source: Tensor) -> Tensor:
        before, after = (tuple(int(n) for n in self.rng.integers(0, 3, 3)) for _ in range(2))
        shape = [n + a + b for n, a, b in zip(aligned(source.shape), before, after, strict=True)]
        return self.add(int8.PadInt8, (source,), tuple(shape), before=before, after=after,
                        value=self.zero())  # fmt: skip

    def concat(self, source: Tensor) -> Tensor:
        axis, shape = self.some(0, 2), aligned(source.shape)
        parts = [source]
        for _ in range(self.some(0, 3)):
            keep = [n if i != axis else self.some(1, n) for i, n in enumerate(shape)]
            parts.append(self.add(int8.StridedSliceInt8, (source,), tuple(keep)))
        parts = [parts[i] for i in self.rng.permutation(len(parts))]
        whole = [*shape]
        whole[axis] = sum(aligned(p.shape)[axis] for p in parts)
        return self.add(int8.ConcatInt8, tuple(parts), tuple(whole), axis=axis)

    def slice(self, source: Tensor) -> Tensor:
        begin, strides, shape = [], [], []
        for n in aligned(source.shape):
            begin.append(self.some(0, n - 1) if self.rng.random() < 0.6 else 0)
            strides.append(self.some(1, 3) if self.rng.random() < 0.6 else 1)
            most = (n - 1 - begin[-1]) // strides[-1] + 1
            shape.append(self.some(1, most) if self.rng.random() < 0.5 else most)
        return self.add(int8.StridedSliceInt8, (source,), tuple(shape), begin=tuple(begin),
                        strides=tuple(strides))  # fmt: skip

    def resize(self, source: Tensor) -> Tensor:
        height, width, channels = aligned(source.shape)
        rows = np.sort(self.rng.integers(0, height, self.some(1, 2 * height))).astype(np.int32)
        columns = np.sort(self.rng.integers(0, width, self.some(1, 2 * width))).astype(np.int32)
        return self.add(int8.ResizeNearestInt8, (source,), (len(rows), len(columns), channels),
                        rows=rows, columns=columns)  # fmt: skip

    def bilinear(self, source: Tensor) -> Tensor:
        height, width, channels = aligned(source.shape)
        fields = {}
        for name, n in (("rows", height), ("columns", width)):
            first = np.sort(self.rng.integers(0, n, self.some(1, 2 * n)))
            second = np.minimum(first + self.rng.integers(0, 2, len(first)), n - 1)
            weight = self.rng.integers(0, 1025, len(first))
            weight[first == second] += self.rng.integers(-512, 512)
            fields[name] = np.stack([first, second, weight], axis=1).astype(np.int32)
        shape = (len(fields["rows"]), len(fields["columns"]), channels)
        return self.add(int8.ResizeBilinearInt8, (source,), shape, **fields)

    def rearrange(self, source: Tensor) -> Tensor:
        """The axes of the source, some cut in two, in any order; some turned, repeated or cut."""
        axes = []
        step = source.size
        for n in source.shape:
            step //= n
            parts = [k for k in range(1, n + 1) if n % k == 0]
            inner = int(self.rng.choice(parts))
            axes += [(n // inner, step * inner), (inner, step)]
        begin, found = 0, []
        for size, move in axes:
            if self.rng.random() < 0.2:
                begin, move = begin + (size - 1) * move, -move
            found.append((self.some(1, size) if self.rng.random() < 0.2 else size, move))
        if len(found) < 6 and self.rng.random() < 0.5:
            found.append((self.some(1, 3), 0))
        if self.rng.random() < 0.7:  # else long runs of what lies together
            found = [found[i] for i in self.rng.permutation(len(found))]
        found = [(1, 0)] * (6 - len(found)) + found
        return self.add(int8.RearrangeInt8, (source,), (math.prod(n for n, _ in found),),
                        sizes=tuple(n for n, _ in found), steps=tuple(m for _, m in found),
                        begin=begin)  # fmt: skip

    def lookup(self, source: Tensor) -> Tensor:
        table = self.rng.integers(-128, 128, 256).astype(np.int8)
        return self.add(int8.LookupInt8, (source,), source.shape, table=table)

    def softmax(self, source: Tensor) -> Tensor:
        beta = float(self.rng.choice([0.003, 0.02, 0.05, 0.3]))
        table = np.floor(np.exp(-beta * np.arange(256)) * (1 << 31)).clip(0, INT32[1])
        table[table < self.rng.choice([0, 1 << 12, 1 << 16])] = 0
        return self.add(int8.SoftmaxInt8, (source,), source.shape,
                        exponentials=table.astype(np.int32))  # fmt: skip

    def scores(self) -> None:
        """Finish with the scores of the last tensor."""
        source = self.x
        self.add(int8.ScoresInt8, (source,), (source.size,))

    def graph(self, name: str, task: str = "synthetic") -> Graph:
        labels = tuple(f"class{i}" for i in range(self.x.size))
        return Graph(name, task, labels, tuple(self.tensors), tuple(self.nodes), family="tflite")


def random_int8_graph(seed: int, operations: int = 60, reach: int = 9) -> Graph:
    """Every operation several times, on tensors of every rank, some of them read once only.

    ``reach``: the longest axis; with 24, most layers take thousands of instructions.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(reach - 4, reach + 5, 2))
    b = Int8Builder(seed, (height, width, reach * 2 // 3), reach)
    pool = [b.x]
    unary: list[Callable[[Tensor], Tensor]] = [
        b.conv, b.depthwise, b.dense, b.pool, b.pool, b.mean, b.pad, b.concat, b.slice, b.resize,
        b.lookup, b.softmax,
    ]  # fmt: skip
    # A new operation goes here: what is drawn for the others stays what kernels were fitted to.
    later: list[Callable[[Tensor], Tensor]] = [b.rearrange, b.bilinear]
    for i in range(operations):
        at = int(rng.integers(len(pool)))
        source = pool[at] if rng.random() < 0.5 else b.fresh()
        if rng.random() < 0.5 and len(pool) > 3 and source is pool[at]:
            pool.pop(at)  # perhaps its last reader: it may be overwritten
        choice = i % (len(unary) + 4)
        if choice < len(unary):
            made = unary[choice](source)
        else:
            made = b.binary(source, pool[-1] if rng.random() < 0.5 else b.fresh())
        if made.size > 25 * reach * reach:  # keep it quick
            made = b.mean(b.slice(made)) if rng.random() < 0.5 else b.pool(b.slice(made))
        elif rng.random() < 0.2:
            made = b.view(made, (made.size,))
        pool.append(made)
    for i in range(operations // 8):
        made = later[i % len(later)](b.fresh())
        if made.size > 25 * reach * reach:
            b.pool(b.slice(made))
    if b.x.size > 50:
        b.add(int8.StridedSliceInt8, (b.view(b.x, (b.x.size,)),), (50,))
    b.scores()
    return b.graph(f"int8-random{seed}")


def without_scales(graph: Graph) -> Graph:
    """The same Graph with tensors that carry no scale: nothing on the device depends on it."""
    tensors = tuple(dataclasses.replace(t, scale=None) for t in graph.tensors)
    return dataclasses.replace(graph, tensors=tensors)
