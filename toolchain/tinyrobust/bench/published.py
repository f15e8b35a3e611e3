"""What int8 takes on the same shapes: figures to stand beside ours, never measured by us now.

In: a Graph. Out: the References that were made on a network of the same shape.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tinyrobust.graph.int8 import Conv2DInt8, DenseInt8, DepthwiseConv2DInt8
from tinyrobust.graph.nodes import Conv2D, Dense, DepthwiseConv2D, Graph, Node

# (kind, kernel height and width, stride, input channels, output channels, output pixels)
Shape = tuple[str, int, int, int, int, int, int]


@dataclass(frozen=True)
class Figures:
    """Per inference; ``m4_cycles``: estimated, of the Cortex-M4 model (``virtual/cycles.py``)."""

    instructions: int
    m4_cycles: int | None = None


@dataclass(frozen=True)
class Reference:
    """One source: ``how`` its figures came about; in all, and by layer name where known.

    ``measured_cycles`` are core cycles on hardware (time times clock). The total also holds what
    no layer of ours matches: residual adds, pooling, the dense layer.
    """

    name: str
    how: str
    instructions: int | None = None
    m4_cycles: int | None = None
    measured_cycles: int | None = None
    layers: dict[str, Figures] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


# CMSIS-NN's int8 kernels on the layers of the MLPerf Tiny networks, compiled by GCC 12.2 -O3 for
# Cortex-M7 and counted with QEMU -icount and Unicorn, which agree within 0.3 %; the cycles are
# those of the same Cortex-M4 model.
_COUNTED = "counted earlier, not run here: GCC 12.2 -O3, Cortex-M7; its M4-model cycles estimated"
# How often the network has the layer, and what it takes once.
_Layers = dict[Shape, tuple[int, Figures]]
_RESNET8: _Layers = {
    ("conv", 3, 3, 1, 3, 16, 1024): (1, Figures(2_152_000, 2_720_000)),
    ("conv", 3, 3, 1, 16, 16, 1024): (2, Figures(5_505_000, 6_770_000)),
    ("conv", 3, 3, 2, 16, 32, 256): (1, Figures(2_524_000, 3_070_000)),
    ("conv", 3, 3, 1, 32, 32, 256): (1, Figures(4_547_000, 5_490_000)),
    ("conv", 3, 3, 2, 32, 64, 64): (1, Figures(2_190_000, 2_630_000)),
    ("conv", 3, 3, 1, 64, 64, 64): (1, Figures(4_157_000, 4_980_000)),
    ("conv", 1, 1, 2, 16, 32, 256): (1, Figures(557_000)),
    ("conv", 1, 1, 2, 32, 64, 64): (1, Figures(416_000)),
}
_DS_CNN: _Layers = {
    ("conv", 10, 4, 2, 1, 64, 125): (1, Figures(1_120_000)),
    ("depthwise", 3, 3, 1, 64, 64, 125): (4, Figures(594_000)),
    ("conv", 1, 1, 1, 64, 64, 125): (4, Figures(1_051_000)),
}

_MLPERF = "{ms} ms at {mhz} MHz measured on that board, published MLPerf Tiny result; not run here"


def _board(name: str, ms: float, mhz: int) -> Reference:
    cycles = round(ms * mhz * 1000)
    return Reference(name, _MLPERF.format(ms=ms, mhz=mhz), measured_cycles=cycles)


_RESNET8_BOARDS = (
    _board("X-CUBE-AI 9.0 int8, STM32L4R5 (Cortex-M4)", 165.1, 120),
    _board("Plumerai int8, STM32L4R5 (Cortex-M4)", 167.8, 120),
    _board("microTVM + CMSIS-NN int8, STM32L4R5 (Cortex-M4)", 389.6, 120),
    _board("X-CUBE-AI 9.0 int8, STM32H7A3 (Cortex-M7)", 40.8, 280),
    _board("Plumerai int8, STM32F746 (Cortex-M7)", 62.9, 216),
)
_DS_CNN_BOARDS = (
    _board("X-CUBE-AI 9.0 int8, STM32L4R5 (Cortex-M4)", 43.2, 120),
    _board("Plumerai int8, STM32L4R5 (Cortex-M4)", 47.8, 120),
    _board("microTVM + CMSIS-NN int8, STM32L4R5 (Cortex-M4)", 99.8, 120),
    _board("X-CUBE-AI 9.0 int8, STM32H7A3 (Cortex-M7)", 11.3, 280),
    _board("Plumerai int8, STM32F746 (Cortex-M7)", 17.8, 216),
)


_NETWORKS = {
    "resnet8": (_RESNET8, (10, 64), Figures(29_940_000, 36_600_000), _RESNET8_BOARDS),
    "ds-cnn": (_DS_CNN, (12, 64), Figures(7_760_000, 9_500_000), _DS_CNN_BOARDS),
}


def network(graph: Graph) -> str | None:
    """``resnet8`` or ``ds-cnn`` (MLPerf Tiny's) when the Graph has that shape."""
    shapes = Counter(found for n in graph.nodes if (found := _shape(graph, n)))
    dense = [n.weights.shape for n in graph.nodes if isinstance(n, Dense | DenseInt8)]
    for name, (layers, weights, _, _) in _NETWORKS.items():
        if dense == [weights] and shapes == _times(layers):
            return name
    return None


def references(graph: Graph) -> tuple[Reference, ...]:
    """The int8 figures for a Graph with the shape of ResNet8 or DS-CNN; none for any other."""
    name = network(graph)
    if name is None:
        return ()
    layers, _, total, boards = _NETWORKS[name]
    known = {n.name: layers[found][1] for n in graph.nodes if (found := _shape(graph, n))}
    counted = Reference(
        "CMSIS-NN int8", _COUNTED, total.instructions, total.m4_cycles, layers=known
    )
    return (counted, *boards)


def _times(layers: _Layers) -> Counter[Shape]:
    return Counter({shape: times for shape, (times, _) in layers.items()})


def _shape(graph: Graph, node: Node) -> Shape | None:
    if isinstance(node, DepthwiseConv2DInt8):
        (kernel_h, kernel_w, out_c), kind = node.weights.shape, "depthwise"
        in_c = out_c
    elif isinstance(node, DepthwiseConv2D):
        (out_c, kernel_h, kernel_w), kind = node.weights.shape, "depthwise"
        in_c = out_c
    elif isinstance(node, Conv2D | Conv2DInt8):
        (out_c, kernel_h, kernel_w, in_c), kind = node.weights.shape, "conv"
    else:
        return None
    shape = graph.tensor[node.output].shape
    stride = node.strides[0] if node.strides[0] == node.strides[1] else 0
    return kind, kernel_h, kernel_w, stride, in_c, out_c, shape[0] * shape[1]
