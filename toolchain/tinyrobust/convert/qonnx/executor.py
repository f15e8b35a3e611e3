"""qonnx's own executor: the file's real values, by another reader than ours.

In: an ONNX model and the device's bytes. Out: the network's outputs in float32, and how many of
the Graph's differ from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.convert.qonnx.reader import EXTRA_HINT, load
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph, Input, interpreter


@dataclass(frozen=True)
class Compared:
    """The Graph beside qonnx's executor: images of the same class, and the largest difference of
    a score, in the executor's real units."""

    images: int
    same_class: int
    worst: float


def compare(model: Any, graph: Graph, images: npt.NDArray[np.uint8]) -> Compared:
    """Run uint8 ``images`` (N, H, W, C) through both. Raises ConvertError without the extra."""
    real = run(model, graph, images)
    mine = interpreter.run(graph, images) * 2.0**-graph.output.frac_bits
    same = int((real.argmax(1) == mine.argmax(1)).sum())
    return Compared(len(images), same, float(np.abs(real - mine).max()))


def run(model: Any, graph: Graph, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The executor's outputs (N, classes) for the device's bytes (N, H, W, C)."""
    try:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.util.cleanup import cleanup_model
    except ImportError as error:
        raise ConvertError(
            f"qonnx's executor needs the qonnx extra: {error.name} is not installed", EXTRA_HINT
        ) from error
    proto, content = load(model)
    wrapped = cleanup_model(ModelWrapper(content))
    name = wrapped.graph.input[0].name
    shape = [1, *wrapped.get_tensor_shape(name)[1:]]
    first = graph.nodes[0]
    assert isinstance(first, Input)
    values = (images >> first.shift).astype(np.float64) * input_scale(proto)
    last = values.shape[1:] if len(shape) == 4 else values.shape[2:]
    if len(shape) > 2 and shape[1:] != list(last):  # the file is channels first
        values = values.transpose(0, 3, 1, 2)
    out = wrapped.graph.output[0].name
    rows = [
        execute_onnx(wrapped, {name: v.reshape(shape).astype(np.float32)})[out].ravel()
        for v in values
    ]
    return np.stack(rows).astype(np.float64)


def input_scale(proto: Any) -> float:
    """The scale of the Quant that reads the network's input: ``real = scale * code``."""
    from onnx import numpy_helper

    known = {i.name: i for i in proto.graph.initializer}
    name = next(i.name for i in proto.graph.input if i.name not in known)
    node = next(n for n in proto.graph.node if name in n.input)
    while node.op_type not in ("Quant", "IntQuant"):  # what the reader let through: layout alone
        name = node.output[0]
        node = next(n for n in proto.graph.node if name in n.input)
    constants = {n.output[0]: n.attribute[0].t for n in proto.graph.node if n.op_type == "Constant"}
    tensor: Any = known.get(node.input[1], constants.get(node.input[1]))
    return float(np.ravel(numpy_helper.to_array(tensor))[0])
