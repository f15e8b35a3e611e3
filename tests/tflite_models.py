"""Writes ``.tflite`` files of any quantisation, without a converter and without TensorFlow.

In: tensors and operators as plain data. Out: the flatbuffer's bytes. The pinned TensorFlow
converter writes neither int4 weights nor odd scales and zero points; these tests need both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite


@dataclass
class T:
    """A tensor: quantised with ``scale`` and ``zero`` (numbers, or one per channel of ``axis``),
    constant when ``data`` is given (int4 as int8 values in -8..7)."""

    shape: tuple[int, ...]
    scale: float | Sequence[float] | None = None
    zero: int | Sequence[int] = 0
    type: str = "INT8"
    data: npt.NDArray[Any] | None = None
    axis: int = 0
    name: str = ""


@dataclass
class Op:
    """An operator (``CUSTOM NAME`` for one of others): ``options`` are the fields of the schema's
    table ``table``."""

    code: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    table: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    version: int = 1


def constant(values: npt.NDArray[Any], scale: Any = None, zero: Any = 0, **more: Any) -> T:
    """A constant tensor of the values' own type."""
    kind = more.pop("type", values.dtype.name.upper())
    return T(values.shape, scale, zero, kind, values, **more)


def pack_int4(values: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Two values to a byte, the first in the low half."""
    flat = np.append(values.reshape(-1), np.zeros(values.size % 2, np.int8)).astype(np.uint8) & 15
    return (flat[0::2] | flat[1::2] << 4).astype(np.uint8)


def write(
    tensors: Sequence[T], operators: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int],
    *, subgraphs: int = 1, version: int = 3, fields: tuple[str, ...] = ("old", "new"),
    initial: dict[str, T] | None = None,
) -> bytes:  # fmt: skip
    """The bytes of a model with one subgraph (or that many equal ones). ``initial``: another one,
    which assigns these constants to resource variables of these names, for CALL_ONCE.

    ``fields``: where operator codes are written: the field of one byte that old files have, the
    newer one, or both.

    A tensor that stands twice in ``tensors`` is one table in the file, which both share.
    """
    b = flatbuffers.Builder(1 << 12)
    first_values = initial or {}
    seen = {id(t): t for t in (*tensors, *first_values.values())}
    empty, held = _buffer(b, None), {key: _buffer(b, t) for key, t in seen.items()}
    buffers = [empty, *(held[id(t)] for t in (*tensors, *first_values.values()))]
    assigning = [
        step for i, name in enumerate(first_values)
        for step in (
            Op("VAR_HANDLE", [], [2 * i], "VarHandleOptions", {"SharedName": name}),
            Op("ASSIGN_VARIABLE", [2 * i, 2 * i + 1], [], "AssignVariableOptions"),
        )
    ]  # fmt: skip
    codes = sorted({(op.code, op.version) for op in (*operators, *assigning)})
    made: list[int] = []
    first: dict[int, int] = {}
    for i, t in enumerate(tensors):
        made.append(made[first[id(t)]] if id(t) in first else _tensor(b, t, i))
        first.setdefault(id(t), i)
    steps = [_operator(b, op, codes.index((op.code, op.version))) for op in operators]
    tables = [_code(b, *code, fields) for code in codes]
    lists = (
        _offsets(b, made), _ints(b, inputs), _ints(b, outputs), _offsets(b, steps),
        b.CreateString("main"),
    )  # fmt: skip
    tflite.SubGraphStart(b)
    for add, value in zip(
        (tflite.SubGraphAddTensors, tflite.SubGraphAddInputs, tflite.SubGraphAddOutputs,
         tflite.SubGraphAddOperators, tflite.SubGraphAddName), lists, strict=True,
    ):  # fmt: skip
        add(b, value)
    graphs = [tflite.SubGraphEnd(b)] * subgraphs
    if first_values:
        held_at = len(tensors)
        listed = [
            made_ for i, value in enumerate(first_values.values())
            for made_ in (_tensor(b, T((), type="RESOURCE"), -1), _tensor(b, value, held_at + i))
        ]  # fmt: skip
        steps = [_operator(b, op, codes.index((op.code, op.version))) for op in assigning]
        parts = _offsets(b, listed), _offsets(b, steps)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, parts[0])
        tflite.SubGraphAddOperators(b, parts[1])
        graphs.append(tflite.SubGraphEnd(b))
    vectors = _offsets(b, tables), _offsets(b, graphs), _offsets(b, buffers)
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, version)
    tflite.ModelAddOperatorCodes(b, vectors[0])
    tflite.ModelAddSubgraphs(b, vectors[1])
    tflite.ModelAddBuffers(b, vectors[2])
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def _offsets(b: flatbuffers.Builder, items: Sequence[int]) -> int:
    b.StartVector(4, len(items), 4)
    for item in reversed(items):
        b.PrependUOffsetTRelative(item)
    return b.EndVector()


def _ints(b: flatbuffers.Builder, items: Sequence[int]) -> int:
    return b.CreateNumpyVector(np.asarray(items, np.int32))


def _buffer(b: flatbuffers.Builder, tensor: T | None) -> int:
    data = None
    if tensor is not None and tensor.data is not None:
        values = pack_int4(tensor.data) if tensor.type == "INT4" else tensor.data
        raw = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        b.StartVector(1, raw.size, 16)
        b.head -= raw.size
        b.Bytes[b.head : b.head + raw.size] = raw.tobytes()
        data = b.EndVector()
    tflite.BufferStart(b)
    if data is not None:
        tflite.BufferAddData(b, data)
    return tflite.BufferEnd(b)


def _tensor(b: flatbuffers.Builder, tensor: T, index: int) -> int:
    name, shape = b.CreateString(tensor.name or f"t{index}"), _ints(b, tensor.shape)
    quantization = None
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        zeros = np.broadcast_to(np.asarray(tensor.zero, np.int64), scales.shape)
        parts = b.CreateNumpyVector(scales), b.CreateNumpyVector(np.ascontiguousarray(zeros))
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, parts[0])
        tflite.QuantizationParametersAddZeroPoint(b, parts[1])
        tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
        quantization = tflite.QuantizationParametersEnd(b)
    tflite.TensorStart(b)
    tflite.TensorAddName(b, name)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, getattr(tflite.TensorType, tensor.type))
    tflite.TensorAddBuffer(b, index + 1)
    if quantization is not None:
        tflite.TensorAddQuantization(b, quantization)
    return tflite.TensorEnd(b)


def _operator(b: flatbuffers.Builder, op: Op, code: int) -> int:
    lists = _ints(b, op.inputs), _ints(b, op.outputs)
    options = None
    if op.table:
        given = {key: _ints(b, value) if isinstance(value, list) else
                 b.CreateString(value) if isinstance(value, str) else value
                 for key, value in op.options.items()}  # fmt: skip
        getattr(tflite, f"{op.table}Start")(b)
        for key, value in given.items():
            getattr(tflite, f"{op.table}Add{key}")(b, value)
        options = getattr(tflite, f"{op.table}End")(b)
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, code)
    tflite.OperatorAddInputs(b, lists[0])
    tflite.OperatorAddOutputs(b, lists[1])
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, op.table))
        tflite.OperatorAddBuiltinOptions(b, options)
    return tflite.OperatorEnd(b)


def _code(b: flatbuffers.Builder, code: str, version: int, fields: tuple[str, ...]) -> int:
    code, _, custom = code.partition(" ")
    number, name = getattr(tflite.BuiltinOperator, code), b.CreateString(custom)
    tflite.OperatorCodeStart(b)
    if "old" in fields:
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
    if "new" in fields:
        tflite.OperatorCodeAddBuiltinCode(b, number)
    tflite.OperatorCodeAddVersion(b, version)
    if custom:
        tflite.OperatorCodeAddCustomCode(b, name)
    return tflite.OperatorCodeEnd(b)


def two_and_two() -> bytes:
    """An int8 map and a uint8 vector in; a map, and a float vector of both out."""
    tensors = [
        T((1, 3, 4, 2), 0.1, 3, name="map"), T((1, 6), 0.05, 120, "UINT8", name="vector"),
        T((1, 6), 0.05, -8), T((1, 3, 4, 2), 0.2, -5, name="half"), T((1, 24), 0.2, -5),
        constant(np.arange(-72, 72, dtype=np.int8).reshape(6, 24), 0.01), T((1, 6), 0.1, 2),
        T((1, 6), 0.12, 1), T((1, 6), type="FLOAT32", name="sum"),
        constant(np.array([1, 24], np.int32)),
    ]  # fmt: skip
    ops = [
        Op("QUANTIZE", [1], [2]),
        Op("RELU", [0], [3]),
        Op("RESHAPE", [3, 9], [4]),
        Op("FULLY_CONNECTED", [4, 5], [6], "FullyConnectedOptions", {"FusedActivationFunction": 0}),
        Op("ADD", [6, 2], [7], "AddOptions"),
        Op("DEQUANTIZE", [7], [8]),
    ]
    return write(tensors, ops, [0, 1], [8, 3])
