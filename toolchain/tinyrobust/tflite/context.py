"""What a converter of one TensorFlow Lite operator sees, and how it refuses.

In: a parsed file and one of its operators. Out: a Context with checked access to tensors and
options; Unsupported where something is not what can be converted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyrobust.graph.base import INT8, INT16, INT32, Tensor
from tinyrobust.tflite import arithmetic
from tinyrobust.tflite.file import File, FileOperator, FileTensor

MAX_AXES = 3  # beside the batch of 1
MAX_NAME = 60  # characters of a tensor's name in messages
MAX_CONSTANT = 64  # elements of a list of axes, sizes, pads
RANGES = {"INT8": INT8, "INT16": INT16, "INT32": INT32}
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


class Unsupported(Exception):
    """Why an operator cannot be converted; collected, and listed for the user all at once."""


def graph_shape(tensor: FileTensor) -> tuple[int, ...]:
    """The tensor's shape without a batch of 1; axes beyond three are one with the first. Raises
    Unsupported."""
    if tensor.dynamic:
        raise Unsupported(f"{quote(tensor)} has a shape that changes: {tensor.shape}")
    shape = tensor.shape[1:] if len(tensor.shape) > 1 and tensor.shape[0] == 1 else tensor.shape
    extra = len(shape) - MAX_AXES
    if extra > 0:
        shape = (math.prod(shape[: extra + 1]), *shape[extra + 1 :])
    return shape or (1,)


def plain(tensor: FileTensor) -> bool:
    """True when the axes of the Graph's tensor are the file's, but for ones in front."""
    return math.prod(tensor.shape[:-MAX_AXES]) == 1


def axis_of(axis: int, rank: int) -> int:
    """``axis`` counted from the front. Raises Unsupported."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def graph_tensor(name: str, shape: tuple[int, ...], like: FileTensor) -> Tensor:
    """The Graph's tensor of ``shape`` with the scale of ``like``."""
    scale, zero_point = scale_of(like)
    low, high = RANGES.get(like.type, INT8)
    return Tensor(name, shape, low, high, 0, scale, zero_point)


def quote(tensor: FileTensor) -> str:
    """The tensor's name as errors print it."""
    name = "".join(c if c.isprintable() else "?" for c in tensor.name)
    long = len(name) > MAX_NAME  # fused operators have the names of all that went into them
    return f"'{name[: MAX_NAME // 2]}...{name[-MAX_NAME // 2 :]}'" if long else f"'{name}'"


@dataclass(frozen=True)
class Context:
    """One operator: its tensors; ``names``: what the Graph calls the tensor of an index;
    ``temporaries``: tensors that only the Graph has, appended to."""

    file: File
    operator: FileOperator
    names: Mapping[int, str]
    temporaries: list[Tensor]

    @property
    def node_name(self) -> str:
        """Unique: the operator's code and index."""
        return f"{self.operator.code.lower()}_{self.operator.index}"

    def tensor(self, position: int) -> FileTensor:
        """Input ``position``. Raises Unsupported when it is left out."""
        indices = self.operator.inputs
        if position >= len(indices) or indices[position] < 0:
            raise Unsupported(f"input {position} is missing")
        return self.file.tensors[indices[position]]

    def optional(self, position: int) -> FileTensor | None:
        """Input ``position`` or None."""
        indices = self.operator.inputs
        there = position < len(indices) and indices[position] >= 0
        return self.file.tensors[indices[position]] if there else None

    def output(self, position: int = 0) -> FileTensor:
        """Output ``position``."""
        if position >= len(self.operator.outputs):
            raise Unsupported(f"output {position} is missing")
        return self.file.tensors[self.operator.outputs[position]]

    def arity(self, inputs: tuple[int, ...], outputs: int = 1) -> None:
        """Raise Unsupported unless the operator has one of these numbers of inputs."""
        counts = len(self.operator.inputs), len(self.operator.outputs)
        if counts[0] not in inputs or counts[1] != outputs:
            raise Unsupported(f"has {counts[0]} inputs and {counts[1]} outputs")

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the operator; ``default`` when the file has no options table."""
        found = self.operator.options.get(name, default)
        if found is None:
            raise Unsupported(f"has no {name}: its options are {self.operator.options['kind']}")
        return found

    def expect(self, shape: tuple[int, ...], position: int = 0) -> None:
        """Raise Unsupported unless output ``position`` has the shape that the operator makes.

        TensorFlow Lite computes shapes and ignores those of the file; here they are used, so they
        have to be the same, but for ones in front, which move nothing.
        """
        out = self.output(position)
        if _without_ones(out.shape) != _without_ones(shape):
            raise Unsupported(f"makes shape {tuple(shape)}, but {quote(out)} has {out.shape}")

    def edges(self, *tensors: FileTensor) -> dict[str, Any]:
        """name, inputs and output of a node that reads ``tensors``."""
        return {
            "name": self.node_name,
            "inputs": tuple(self.names[t.index] for t in tensors),
            "output": self.names[self.output().index],
        }

    def temporary(self, suffix: str, shape: tuple[int, ...]) -> str:
        """Name of a new tensor of ``shape``, quantised as the output."""
        made = graph_tensor(f"{self.names[self.output().index]}.{suffix}", shape, self.output())
        self.temporaries.append(made)
        return made.name

    def activation(self, default: int | None = None) -> tuple[int, int]:
        """The clamp of the fused activation."""
        code = self.option("FusedActivationFunction", default)
        if code not in ACTIVATIONS:
            raise Unsupported(f"has fused activation {code}; supported: {_listed(ACTIVATIONS)}")
        return arithmetic.activation_range(ACTIVATIONS[code], *scale_of(self.output()))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[next((i for i, n in enumerate(shape) if n != 1), len(shape)) :])


def _listed(names: Mapping[int, str]) -> str:
    return ", ".join(names.values())


def activations(*tensors: FileTensor) -> None:
    """Raise Unsupported unless these are int8 tensors that are computed, with one scale each."""
    for tensor in tensors:
        if tensor.constant:
            raise Unsupported(f"{quote(tensor)} is a constant where a computed tensor is needed")
        int8_values(tensor)


def int8_values(tensor: FileTensor) -> None:
    if tensor.type != "INT8":
        raise Unsupported(f"{quote(tensor)} is {tensor.type}; need INT8")
    scale_of(tensor)
    graph_shape(tensor)


def scale_of(tensor: FileTensor) -> tuple[float, int]:
    """(scale, zero point) of a tensor with one of each. Raises Unsupported."""
    if len(tensor.scales) != 1:
        found = f"{len(tensor.scales)} scales" if tensor.scales else "no scale"
        raise Unsupported(f"{quote(tensor)} has {found}; need one")
    zero = tensor.zero_points[0]
    low, high = RANGES.get(tensor.type, INT8)
    if not low <= zero <= high:
        name = tensor.type.lower() if tensor.type in RANGES else "int8"
        raise Unsupported(f"{quote(tensor)} has zero point {zero}, which is not {name}")
    if tensor.scales[0] <= 0:
        raise Unsupported(f"{quote(tensor)} has a scale of {tensor.scales[0]:g}; need more than 0")
    return tensor.scales[0], zero


def integers(tensor: FileTensor, size: int | None = None) -> list[int]:
    """A constant of int32 or int64 as a list. Raises Unsupported."""
    if not tensor.constant or tensor.type not in ("INT32", "INT64"):
        raise Unsupported(f"{quote(tensor)} must be a constant of INT32")
    if tensor.size > MAX_CONSTANT or (size is not None and tensor.size != size):
        raise Unsupported(f"{quote(tensor)} has {tensor.size} elements, need {size or 'a few'}")
    return [int(v) for v in tensor.values.reshape(-1)]


def position(axis: int, rank: int) -> int:
    """An axis of a tensor of ``rank`` among (y, x, c): 0, 1, 2; below 0 for the batch."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of {rank} axes")
    return (axis + rank if axis < 0 else axis) - rank + MAX_AXES


def same_quantisation(source: FileTensor, out: FileTensor) -> None:
    if scale_of(source) != scale_of(out):
        raise Unsupported(
            f"{quote(source)} has scale and zero point {scale_of(source)}, {quote(out)} "
            f"{scale_of(out)}; they must be equal"
        )


def triple(values: list[int], fill: int) -> tuple[int, int, int]:
    """The last three of ``values``, ``fill`` in front when there are fewer."""
    y, x, c = ([fill] * MAX_AXES + values)[-MAX_AXES:]
    return y, x, c
