"""Attributes of ONNX nodes, and nodes of constants alone.

In: a NodeProto. Out: its name, attributes, windows in two dimensions, or a constant's value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrobust.convert.qonnx import constants
from tinyrobust.errors import ConvertError

_ARITHMETIC: dict[str, Any] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
}  # fmt: skip


def printable(text: str) -> str:
    """A text of the file for a message of one line."""
    return "".join(c if c.isprintable() else "?" for c in text[:100])


def name_of(node: Any) -> str:
    """The node's name, or its first output's; "" without either."""
    return printable(node.name or next(iter(node.output), ""))


def attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    found = next((a for a in node.attribute if a.name == name), None)
    value = default if found is None else helper.get_attribute_value(found)
    return value.decode() if isinstance(value, bytes) else value


def window(where: str, node: Any, shape: Any) -> tuple[Any, Any, Any]:
    """Kernel, strides and pads (top, bottom, left, right), all of two dimensions."""
    size = tuple(int(n) for n in shape)
    one = len(size) == 1
    strides = tuple(attribute(node, "strides", (1,) * len(size)))
    pads = tuple(attribute(node, "pads", (0,) * (2 * len(size))))
    if any(d != 1 for d in attribute(node, "dilations", ())):
        raise ConvertError(f"{where} is dilated", "use dilation 1")
    if one:
        return (1, *size), (1, *strides), (0, 0, *pads)
    return size, strides, (pads[0], pads[2], pads[1], pads[3])


def same_pads(
    node: Any, image: Any, size: Any, strides: Any, pads: Any
) -> tuple[int, int, int, int]:
    """Explicit pads of a convolution with ``auto_pad``."""
    kind = attribute(node, "auto_pad", "NOTSET")
    if kind not in ("SAME_UPPER", "SAME_LOWER"):
        return pads if kind == "NOTSET" else (0, 0, 0, 0)
    out: list[int] = []
    for n, k, s in zip(image, size, strides, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        less, more = total // 2, total - total // 2
        out += [less, more] if kind == "SAME_UPPER" else [more, less]
    return out[0], out[1], out[2], out[3]


def fold(where: str, node: Any, inputs: list[Any]) -> Any:
    """A node of constants alone."""
    from onnx import numpy_helper

    op = node.op_type
    if op == "Constant":
        value = attribute(node, "value", None)
        if value is None:
            raise ConvertError(f"{where} has no tensor", "export again")
        return numpy_helper.to_array(value)
    if op in ("Quant", "IntQuant"):
        x, scale, zero, bits = inputs
        return constants.quantize(
            where, x, scale, zero, int(np.ravel(bits)[0]),
            signed=bool(attribute(node, "signed", 1)), narrow=bool(attribute(node, "narrow", 1)),
            mode=str(attribute(node, "rounding_mode", "ROUND")).upper(),
        )  # fmt: skip
    if op == "BipolarQuant":
        return np.where(inputs[0] >= 0, 1, -1).astype(inputs[0].dtype) * inputs[1]
    if op == "Transpose":
        return np.transpose(inputs[0], attribute(node, "perm", None))
    if op == "Reshape":
        return inputs[0].reshape([int(n) for n in inputs[1]])
    if op in _ARITHMETIC:
        return _ARITHMETIC[op](*inputs)
    if op in ("Identity", "Dropout"):
        return inputs[0]
    raise ConvertError(
        f"{where} computes a constant", "fold constants (qonnx-cleanup) and try again"
    )
