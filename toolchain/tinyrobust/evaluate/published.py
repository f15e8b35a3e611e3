"""What int8 takes on the same shapes: figures to stand beside ours, never measured by us now.

In: a Graph. Out: the CMSIS-NN figures when the Graph has the shape they were counted on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tinyrobust.graph.nodes import Conv2D, Dense, Graph

# Instructions of CMSIS-NN's int8 kernels on the layers of MLPerf Tiny's ResNet8, compiled by
# GCC 12.2 -O3 for Cortex-M7 and counted with QEMU -icount and Unicorn, which agree within 0.3 %.
# (kernel size, stride, input channels, output channels, output pixels) -> instructions
_RESNET8_CMSIS_NN = {
    (3, 1, 3, 16, 1024): 2_152_000,
    (3, 1, 16, 16, 1024): 5_505_000,
    (3, 2, 16, 32, 256): 2_524_000,
    (3, 1, 32, 32, 256): 4_547_000,
    (3, 2, 32, 64, 64): 2_190_000,
    (3, 1, 64, 64, 64): 4_157_000,
    (1, 2, 16, 32, 256): 557_000,
    (1, 2, 32, 64, 64): 416_000,
}
_RESNET8_COUNTS = Counter(dict.fromkeys(_RESNET8_CMSIS_NN, 1)) + Counter([(3, 1, 16, 16, 1024)])
_RESNET8_TOTAL = 29_940_000


@dataclass(frozen=True)
class Reference:
    """Published instructions per inference: in all, and by layer name where they are known.

    The total also holds the residual adds, pooling and the dense layer.
    """

    name: str
    how: str
    instructions: int
    layers: dict[str, int]


def reference(graph: Graph) -> Reference | None:
    """The int8 figures for a Graph with ResNet8's convolutions; None for any other."""
    shapes = {n.name: _shape(graph, n) for n in graph.nodes if isinstance(n, Conv2D)}
    dense = [n for n in graph.nodes if isinstance(n, Dense)]
    if Counter(shapes.values()) != _RESNET8_COUNTS or [n.weights.shape for n in dense] != [
        (10, 64)
    ]:
        return None
    return Reference(
        name="CMSIS-NN int8",
        how="published reference: GCC 12.2 -O3, Cortex-M7, counted earlier, not run here",
        instructions=_RESNET8_TOTAL,
        layers={name: _RESNET8_CMSIS_NN[shape] for name, shape in shapes.items()},
    )


def _shape(graph: Graph, node: Conv2D) -> tuple[int, int, int, int, int]:
    out_c, kernel_h, kernel_w, in_c = node.weights.shape
    height, width, _ = graph.tensor[node.output].shape
    if kernel_h != kernel_w or node.strides[0] != node.strides[1]:
        return (0, 0, 0, 0, 0)
    return (kernel_h, node.strides[0], in_c, out_c, height * width)
