"""What goes into a network and comes out of it: samples, which are bytes, and named tensors.

In: a Graph, and arrays by the names of its inputs; or what an engine gave. Out: samples as every
engine (interpreter, library, board) takes them, and arrays by the names of its outputs.

A *sample* is what a device is sent for one run: the bytes of all inputs end to end, uint8. Where
the network has one input, of uint8, it has the input's shape: an image. A *result* is one run's
outputs end to end, every element as int32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import GraphError
from tinyrobust.graph.base import Tensor
from tinyrobust.graph.int8 import InputRaw
from tinyrobust.graph.nodes import Graph

Samples = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
_DTYPES: dict[str, np.dtype[Any]] = {
    "u8": np.dtype("u1"), "i8": np.dtype("i1"), "i16": np.dtype("<i2"), "i32": np.dtype("<i4"),
}  # fmt: skip
_OFFSET = 128  # of the uint8 that an InputInt8 takes, over its int8


def _raw(graph: Graph, name: str) -> bool:
    return isinstance(graph.node[name], InputRaw)


def input_type(graph: Graph, name: str) -> str:
    """How input ``name`` is sent: ``u8`` with an offset of 128 over its int8, or its own type."""
    return graph.tensor[graph.node[name].output].storage if _raw(graph, name) else "u8"


def input_bytes(graph: Graph) -> int:
    """Bytes of one sample."""
    return sum(_bytes(graph, port.name) for port in graph.inputs)


def _bytes(graph: Graph, name: str) -> int:
    itemsize = _DTYPES[input_type(graph, name)].itemsize
    return graph.tensor[graph.node[name].output].size * itemsize


def sample_shape(graph: Graph) -> tuple[int, ...]:
    """The shape of one sample."""
    first, *more = graph.inputs
    if not more and not _raw(graph, first.name):
        return graph.tensor[first.tensor].shape
    return (input_bytes(graph),)


def check_samples(graph: Graph, samples: Array) -> None:
    """Raise GraphError unless ``samples`` is uint8 (N, *sample_shape)."""
    shape = sample_shape(graph)
    if samples.dtype != np.uint8 or samples.shape[1:] != shape:
        raise GraphError(
            f"'{graph.name}' takes uint8 images (N, {', '.join(map(str, shape))}), "
            f"got {samples.dtype} {samples.shape}",
            "check the task of the model",
        )


def split(graph: Graph, samples: Samples) -> dict[str, Array]:
    """What each input node reads, (N, *shape) in its own type, by the tensor that it makes."""
    flat = samples.reshape(len(samples), input_bytes(graph))
    found, at = {}, 0
    for port in graph.inputs:
        count, kind = _bytes(graph, port.name), _DTYPES[input_type(graph, port.name)]
        part = np.ascontiguousarray(flat[:, at : at + count]).view(kind)
        found[port.tensor] = part.reshape(len(samples), *graph.tensor[port.tensor].shape)
        at += count
    return found


def pack(graph: Graph, values: Mapping[str, Array]) -> Samples:
    """Samples of N runs from arrays (N, *shape) by the inputs' names.

    Integers are the tensor's own; real numbers are quantised with its scale and zero point. Raises
    GraphError for another name, shape or type, and for an integer outside the tensor's range.
    """
    names = [port.name for port in graph.inputs]
    if set(values) != set(names):
        raise GraphError(
            f"'{graph.name}' takes {', '.join(names)}; got {', '.join(values) or 'nothing'}",
            "give each input by its name, once",
        )
    parts = []
    for port in graph.inputs:
        tensor = graph.tensor[port.tensor]
        integers = _integers(np.asarray(values[port.name]), tensor, port.name)
        if not _raw(graph, port.name) and graph.family == "tflite":
            integers = integers + _OFFSET
        kind = _DTYPES[input_type(graph, port.name)]
        parts.append(
            np.ascontiguousarray(integers.reshape(len(integers), tensor.size).astype(kind))
        )
    lengths = {len(part) for part in parts}
    if len(lengths) != 1:
        raise GraphError(f"inputs of {sorted(lengths)} runs", "give the same number of each")
    samples = np.concatenate([part.view(np.uint8) for part in parts], axis=1)
    return samples.reshape(len(samples), *sample_shape(graph))


def _integers(values: Array, tensor: Tensor, name: str) -> npt.NDArray[np.int64]:
    if values.ndim < 1 or values[:1].size != min(len(values), 1) * tensor.size:
        raise GraphError(
            f"input '{name}' has shape {values.shape}", f"it takes (N, {tensor.shape})"
        )
    if np.issubdtype(values.dtype, np.floating):
        values = quantise(values, tensor, name)
    elif not np.issubdtype(values.dtype, np.integer):
        raise GraphError(f"input '{name}' holds {values.dtype}", "give integers or real numbers")
    integers = values.astype(np.int64)
    low, high = (0, 255) if tensor.scale is None and tensor.lo >= 0 else (tensor.lo, tensor.hi)
    if integers.size and not (low <= integers.min() and integers.max() <= high):
        raise GraphError(
            f"input '{name}' has values {integers.min()}..{integers.max()}, it takes {low}..{high}"
        )
    return integers


def quantise(values: Array, tensor: Tensor, name: str) -> npt.NDArray[np.int64]:
    """TensorFlow Lite's QUANTIZE on the host, in float32 as there: ``round(x / scale) + zero``,
    halves away from zero, clamped. Raises GraphError where there is no scale."""
    if tensor.scale is None or not math.isfinite(tensor.scale):
        raise GraphError(f"input '{name}' has no scale for real numbers", "give its integers")
    if not np.isfinite(values).all():
        raise GraphError(f"input '{name}' has values that are no numbers")
    scaled = (values.astype(np.float32) / np.float32(tensor.scale)).astype(np.float64)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    return np.clip(rounded + tensor.zero_point, tensor.lo, tensor.hi).astype(np.int64)


def result_type(graph: Graph, tensor: str) -> str:
    """How an output lies in a device's memory: a classifier's scores are ``i32``."""
    return "i32" if graph.classifier else graph.tensor[tensor].storage


def unpack(graph: Graph, results: Array) -> dict[str, npt.NDArray[np.int32]]:
    """Results (N, all elements) as int32 (N, *shape) by the outputs' names."""
    found, at = {}, 0
    for port in graph.results:
        tensor = graph.tensor[port.tensor]
        part = results[:, at : at + tensor.size]
        found[port.name] = part.reshape(len(results), *tensor.shape).astype(np.int32)
        at += tensor.size
    return found


def real(tensor: Tensor, integers: Array) -> npt.NDArray[np.float64]:
    """The real values of a tensor's integers."""
    scale = 2.0**-tensor.frac_bits if tensor.scale is None else tensor.scale
    return (integers.astype(np.float64) - tensor.zero_point) * scale


def random_samples(graph: Graph, count: int, seed: int) -> Samples:
    """Seeded samples over the whole range of every input."""
    rng = np.random.default_rng(seed)
    shape = (count, *sample_shape(graph))
    return rng.integers(0, 256, shape, dtype=np.uint8)
