"""How a tensor's elements lie in memory: the layouts that kernels read and write.

In: a tensor, its element type and a layout. Out: the elements that its buffer holds, padding and
borders counted. ``hwc`` is dense, channels last. ``planar4`` (``firmware/runtime/planar.hpp``) is
for u8 and i16 tensors of three axes. A ``LayoutChange`` is the step that writes one from the
other; it is no node of the Graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tinyrobust.graph.nodes import Graph, Node, Tensor
from tinyrobust.kernels import planar
from tinyrobust.kernels.layers import ELEMENT_BYTES, Layer

Ints = npt.NDArray[np.int32]
HWC = "hwc"
PLANAR4 = "planar4"


@dataclass(frozen=True)
class LayoutChange(Node):
    """The integers of tensor ``inputs[0]`` once more, in the layout that the step writes."""

    op: ClassVar[str] = "layout"


def stored_count(tensor: Tensor, type_: str, layout: str) -> int:
    """Elements of ``type_`` that ``tensor`` takes in ``layout``. Raises ValueError when the layout
    does not hold such a tensor."""
    if layout == HWC:
        return tensor.size
    if not can_hold(tensor, type_, layout):
        raise ValueError(f"{tensor.name} {tensor.shape} {type_} cannot be {layout}")
    return planar.count(tensor.shape, type_)


def stored_bytes(tensor: Tensor, type_: str, layout: str) -> int:
    """Bytes that ``tensor`` takes in ``layout``."""
    return stored_count(tensor, type_, layout) * ELEMENT_BYTES[type_]


def dense(values: npt.NDArray[Any], shape: Sequence[int], type_: str, layout: str) -> Ints:
    """The integers of a tensor of ``shape``, int32, from the elements that a device stores."""
    if layout == HWC:
        return values.reshape(tuple(shape)).astype(np.int32)
    stored = values.ravel().astype({"u8": np.uint8, "i16": np.int16}[type_])
    return planar.unpack(stored, tuple(shape)).astype(np.int32)


def can_hold(tensor: Tensor, type_: str, layout: str) -> bool:
    """True when ``layout`` exists for ``tensor``."""
    return layout == HWC or (type_ in ("u8", "i16") and len(tensor.shape) == 3)


def copy_name(tensor: str, layout: str) -> str:
    """Name of the copy of ``tensor`` that a layout change writes."""
    return f"{tensor}@{layout}"


def change(graph: Graph, tensor: str, layout: str) -> Layer:
    """The layer that writes ``tensor`` once more in ``layout``."""
    name = copy_name(tensor, layout)
    return Layer(LayoutChange(name, (tensor,), name), None, tensor, "", 0, name)
