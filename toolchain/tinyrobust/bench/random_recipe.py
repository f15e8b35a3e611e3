"""A recipe's network with random weights, to know what it takes before it is trained.

In: a Recipe. Out: a verified Graph with the layers that ``convert`` would give it: of family
``fixed`` where everything is ternary, else of family ``tflite``, as ``convert --to tflite`` makes
of integer, binary and float weights. The scores mean nothing.
"""

from __future__ import annotations

import dataclasses

from tinyrobust import tasks
from tinyrobust.bench.random_network import _Int8, _quantised, _same, _Ternary
from tinyrobust.graph import int8
from tinyrobust.graph.nodes import Graph, Tensor
from tinyrobust.recipes import Conv, Depthwise, Recipe, Residual

ZEROS = 0.45  # of random trits; trained networks of the zoo have 44 to 51 % of zeros
_TERNARY = ("ternary", "stochastic_ternary")


def family(recipe: Recipe) -> str:
    """``fixed`` or ``tflite``: what the trained recipe becomes."""
    network = recipe.network
    parts = [*network.blocks, network.head]
    weights = [part.weights or network.weights for part in parts]
    activations = [part.activation or network.activation for part in parts]
    ternary = all(w.quantizer in _TERNARY for w in weights)
    fixed = all(a.bits is not None for a in activations) and network.head.normalise
    return "fixed" if ternary and fixed and network.input_bits == 7 else "tflite"


def random_recipe(recipe: Recipe) -> Graph:
    """See the module; raises TaskError for an unknown task."""
    task = tasks.get(recipe.task)
    builder = _Fixed if family(recipe) == "fixed" else _Tflite
    made = builder(recipe.name, task.input_shape, recipe)
    x = made.x
    for number, block in enumerate(recipe.network.blocks, 1):
        made.at = number - 1
        x = made.block(number, block, x)
    made.at = -1
    graph = made.finish(x, len(task.labels))
    return dataclasses.replace(graph, task=recipe.task, labels=tuple(task.labels))


def _size(block: Conv | Depthwise | Residual) -> tuple[int, int]:
    size = block.kernel_size
    return (size, size) if isinstance(size, int) else size


class _Fixed(_Ternary):
    """The ternary form; activations of 4 or 7 bits as their block says."""

    def __init__(self, name: str, shape: tuple[int, int, int], recipe: Recipe) -> None:
        super().__init__(name, shape, ZEROS)
        self.recipe, self.at = recipe, 0

    @property
    def codes(self) -> int:
        """The largest activation of the block that is being built."""
        network = self.recipe.network
        part = network.head if self.at < 0 else network.blocks[self.at]
        return (1 << ((part.activation or network.activation).bits or 7)) - 1

    def block(self, number: int, block: Conv | Depthwise | Residual, x: Tensor) -> Tensor:
        size, stride = _size(block), block.stride
        if isinstance(block, Depthwise):
            return self.requantize(
                f"dw{number}_quant", self.sums(f"dw{number}", x, 0, size, stride)
            )
        if isinstance(block, Conv):
            return self.conv(f"conv{number}", x, block.filters, kernel=size, stride=stride)
        name = f"res{number}"
        y = self.conv(f"{name}_conv1", x, block.filters, kernel=size, stride=stride)
        acc = self.sums(f"{name}_conv2", y, block.filters, size, 1)
        if _shortcut(block, x):
            x = self.sums(f"{name}_shortcut", x, block.filters, (1, 1), stride)
        return self.requantize(f"{name}_quant", acc, x)


class _Tflite(_Int8):
    """The int8 form."""

    def __init__(self, name: str, shape: tuple[int, int, int], recipe: Recipe) -> None:
        super().__init__(name, shape)
        self.at = 0

    def block(self, number: int, block: Conv | Depthwise | Residual, x: Tensor) -> Tensor:
        size, stride = _size(block), block.stride
        if isinstance(block, Depthwise):
            return self._depthwise(f"dw{number}", x, size, stride)
        if isinstance(block, Conv):
            return self.conv(f"conv{number}", x, block.filters, kernel=size, stride=stride)
        name = f"res{number}"
        y = self.conv(f"{name}_conv1", x, block.filters, kernel=size, stride=stride)
        y = self.conv(f"{name}_conv2", y, block.filters, kernel=size, zero=-4)
        if _shortcut(block, x):
            x = self.conv(
                f"{name}_shortcut", x, block.filters, kernel=(1, 1), stride=stride, zero=3
            )
        return self._sum(name, y, x)

    def _depthwise(self, name: str, x: Tensor, size: tuple[int, int], stride: int) -> Tensor:
        rows, top, bottom = _same(x.shape[0], size[0], stride)
        columns, left, right = _same(x.shape[1], size[1], stride)
        values = self._scaled((*size, x.shape[2]), 2, x, -128)
        node = int8.DepthwiseConv2DInt8(
            name, (x.name,), f"{name}_q", **values, strides=(stride, stride),
            pads=(top, bottom, left, right),
        )  # fmt: skip
        return self.add(node, self._made(name, (rows, columns, x.shape[2])))

    def _sum(self, name: str, y: Tensor, x: Tensor) -> Tensor:
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


def _shortcut(block: Residual, x: Tensor) -> bool:
    """Whether the block has a convolution beside it, as ``train.layers`` decides."""
    changes = block.stride != 1 or x.shape[2] != block.filters
    return changes or block.shortcut == "conv"
