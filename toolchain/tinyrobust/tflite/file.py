"""A ``.tflite`` file as plain data.

In: the file's bytes. Out: a File: operators with their options, tensors with their constants,
inputs and outputs, all indices checked; ConvertError for anything else. The bytes are checked
(``buffer``) before the ``tflite`` package's generated accessors read them; no TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import ConvertError
from tinyrobust.tflite import buffer, options
from tinyrobust.tflite.sparse import Level, Sparsity, densify

# What no microcontroller's model reaches; they bound the work that a hostile file can ask for,
# where many tensors may share one vector.
MAX_FILE_BYTES = 32 << 20
MAX_OPERATORS = 2_000
MAX_TENSORS = 10_000
MAX_RANK = 8
MAX_ELEMENTS = 1 << 24
MAX_SUBGRAPHS = 64
MAX_LISTED = 64  # inputs or outputs of one operator
MAX_SCALES = 1 << 20  # of all tensors together
_HINT = "the file is damaged; make or download it again"
_LIMIT = "this reader takes networks for microcontrollers; use a smaller model"

# TensorType -> numpy type of a constant's buffer. INT4 is packed two to a byte.
_DTYPES = {"FLOAT32": "<f4", "INT32": "<i4", "UINT8": "u1", "INT64": "<i8", "INT8": "i1"}


@dataclass(frozen=True, eq=False)
class FileTensor:
    """``shape`` as in the file; ``scales`` and ``zero_points`` empty when not quantised; ``raw``:
    the constant's bytes, empty for what is computed."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int
    raw: bytes | memoryview
    dynamic: bool

    @property
    def constant(self) -> bool:
        """True when the file holds the values."""
        return len(self.raw) > 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @cached_property
    def values(self) -> npt.NDArray[Any]:
        """The constant's values in its shape; packed int4 as int8, low half of a byte first."""
        if self.type == "INT4":
            pairs = np.frombuffer(self.raw, np.uint8)
            halves = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[: self.size]
            return ((halves ^ 8).astype(np.int8) - 8).reshape(self.shape)
        return np.frombuffer(self.raw, np.dtype(_DTYPES[self.type])).reshape(self.shape)


@dataclass(frozen=True)
class FileOperator:
    """``inputs`` and ``outputs`` index the tensors, -1 for an input left out."""

    index: int
    code: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class File:
    """The first subgraph of the model, which is what runs. ``others`` belong to other signatures,
    or to operators that name them: CALL_ONCE, and control flow, which is refused by name."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    others: tuple[File, ...] = ()


def parse(data: bytes, where: str) -> File:
    """Read ``data``; ``where`` names it in errors. Raises ConvertError."""
    if len(data) > MAX_FILE_BYTES:
        raise ConvertError(
            f"{where} is larger than {MAX_FILE_BYTES:,} bytes", "use a smaller model"
        )
    buffer.check(data, where)
    import tflite

    return _Reader(data, where, tflite).read()


@dataclass(frozen=True)
class _Reader:
    data: bytes
    where: str
    api: Any  # the tflite package

    def _need(self, condition: bool, what: str, hint: str = _HINT) -> None:
        if not condition:
            raise ConvertError(f"{self.where}: {what}", hint)

    def read(self) -> File:
        model = self.api.Model.GetRootAs(self.data, 0)
        self._need(
            model.Version() == 3,
            f"schema version {model.Version()}, not 3",
            "convert the model again with a TensorFlow of 2018 or later",
        )
        self._need(model.SubgraphsLength() >= 1, "it has no subgraph")
        count = model.SubgraphsLength()
        self._need(count <= MAX_SUBGRAPHS, f"{count} subgraphs, more than {MAX_SUBGRAPHS}", _LIMIT)
        first, *others = (self._subgraph(model, model.Subgraphs(i)) for i in range(count))
        return replace(first, others=tuple(others))

    def _subgraph(self, model: Any, graph: Any) -> File:
        for what, count, limit in (
            ("operators", graph.OperatorsLength(), MAX_OPERATORS),
            ("tensors", graph.TensorsLength(), MAX_TENSORS),
            ("inputs", graph.InputsLength(), MAX_LISTED),
            ("outputs", graph.OutputsLength(), MAX_LISTED),
        ):
            self._need(count <= limit, f"{count:,} {what}, more than {limit:,}", _LIMIT)
        tables = [graph.Tensors(i) for i in range(graph.TensorsLength())]
        found = (t.Quantization() for t in tables)
        scales = sum(q.ScaleLength() for q in found if q is not None)
        self._need(scales <= MAX_SCALES, f"{scales:,} scales, more than {MAX_SCALES:,}", _LIMIT)
        tensors = tuple(self._tensor(model, table, i) for i, table in enumerate(tables))
        operators = tuple(
            self._operator(model, graph.Operators(i), i, len(tensors))
            for i in range(graph.OperatorsLength())
        )
        inputs, outputs = (
            _ints(graph.Inputs, graph.InputsLength()),
            _ints(graph.Outputs, graph.OutputsLength()),
        )
        for index in (*inputs, *outputs):
            self._need(0 <= index < len(tensors), f"input or output is tensor {index}")
        return File(tensors, operators, inputs, outputs)

    def _tensor(self, model: Any, tensor: Any, index: int) -> FileTensor:
        raw_name = tensor.Name() or b""
        name = raw_name.decode("utf-8", "replace") or f"tensor {index}"
        where = f"tensor {index} '{_printable(name)}'"
        self._need(
            tensor.ShapeLength() <= MAX_RANK, f"{where} has {tensor.ShapeLength()} axes", _LIMIT
        )
        shape = _ints(tensor.Shape, tensor.ShapeLength())
        self._need(
            all(n >= 0 for n in shape) and math.prod(shape) <= MAX_ELEMENTS,
            f"{where} has shape {shape}",
            _LIMIT if all(n >= 0 for n in shape) else _HINT,
        )
        kind = _names(self.api.TensorType).get(tensor.Type(), f"type {tensor.Type()}")
        scales, zero_points, axis = self._quantization(tensor.Quantization(), shape, where)
        self._need(
            0 <= tensor.Buffer() < model.BuffersLength(),
            f"{where} uses buffer {tensor.Buffer()} of {model.BuffersLength()}",
        )
        raw = self._raw(model.Buffers(tensor.Buffer()), where)
        if len(raw) and tensor.Sparsity() is not None:
            raw = self._dense(tensor.Sparsity(), kind, shape, raw, where)
        if len(raw):
            self._check_constant(kind, shape, len(raw), where)
        signature = _ints(tensor.ShapeSignature, min(tensor.ShapeSignatureLength(), MAX_RANK))
        dynamic = any(n < 0 for n in signature[1:]) or any(n == 0 for n in shape)
        return FileTensor(index, name, shape, kind, scales, zero_points, axis, raw, dynamic)

    def _quantization(
        self, quantization: Any, shape: tuple[int, ...], where: str
    ) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        if quantization is None or not quantization.ScaleLength():
            return (), (), 0
        scales, zeros = quantization.ScaleLength(), quantization.ZeroPointLength()
        axis = quantization.QuantizedDimension()
        self._need(zeros in (0, 1, scales), f"{where} has {scales} scales and {zeros} zero points")
        values = np.asarray(quantization.ScaleAsNumpy(), np.float64)
        self._need(
            bool(np.all(np.isfinite(values) & (values >= 0))), f"{where} has a scale below 0"
        )  # a channel of zeros has a scale of 0 in some converters' files
        points = quantization.ZeroPointAsNumpy() if zeros else np.zeros(1, np.int64)
        return tuple(values.tolist()), tuple(int(z) for z in points), axis

    def _raw(self, buffer: Any, where: str) -> bytes | memoryview:
        self._need(
            buffer.Offset() <= 1 and buffer.Size() <= 1,
            f"{where} keeps its values outside the flatbuffer",
            "convert the model into a file of less than 2 GB, which holds its values",
        )
        if not buffer.DataLength():
            return b""
        return memoryview(buffer.DataAsNumpy())

    def _dense(
        self, sparsity: Any, kind: str, shape: tuple[int, ...], raw: bytes | memoryview, where: str
    ) -> bytes:
        """The bytes of a sparse constant with its zeros."""
        self._need(kind in _DTYPES, f"{where} is sparse and {kind}")
        size = np.dtype(_DTYPES[kind]).itemsize
        count = sparsity.DimMetadataLength()
        self._need(count <= 2 * MAX_RANK, f"{where} has {count} sparse axes")
        levels = []
        for i in range(count):
            level = sparsity.DimMetadata(i)
            lists = [
                self._indices(getattr(level, f"Array{name}")(),
                              getattr(level, f"Array{name}Type")())
                for name in ("Segments", "Indices")
            ]  # fmt: skip
            sparse = level.Format() == self.api.DimensionType.SPARSE_CSR
            self._need(
                not sparse or all(found is not None for found in lists),
                f"{where}: a sparse axis has no indices",
            )
            levels.append(Level(level.DenseSize(), *(lists if sparse else (None, None))))
        order, blocked = (self._vector(sparsity._tab, i, "<i4", 2 * MAX_RANK) for i in (0, 1))
        try:
            made = Sparsity(
                () if order is None else tuple(order.tolist()),
                () if blocked is None else tuple(blocked.tolist()), tuple(levels),
            )  # fmt: skip
            if len(raw) % size:
                raise ValueError(f"it has {len(raw)} bytes")
            values = np.frombuffer(raw, np.uint8).reshape(-1, size)
            return densify(made, values, shape, MAX_ELEMENTS).tobytes()
        except ValueError as error:
            self._need(False, f"{where} is sparse: {error}")
            raise

    def _indices(self, table: Any, kind: int) -> npt.NDArray[np.int64] | None:
        dtypes = {
            self.api.SparseIndexVector.Int32Vector: "<i4",
            self.api.SparseIndexVector.Uint16Vector: "<u2",
            self.api.SparseIndexVector.Uint8Vector: "u1",
        }
        if table is None or kind not in dtypes:
            return None
        return self._vector(table, 0, dtypes[kind], MAX_ELEMENTS)

    def _check_constant(self, kind: str, shape: tuple[int, ...], have: int, where: str) -> None:
        size = math.prod(shape)
        if kind == "INT4":
            need = (size + 1) // 2
        elif kind in _DTYPES:
            need = size * np.dtype(_DTYPES[kind]).itemsize
        else:
            return  # its operator will be refused by name
        self._need(have == need, f"{where} {kind} {shape} has {have:,} bytes, needs {need:,}")

    def _operator(self, model: Any, operator: Any, index: int, tensors: int) -> FileOperator:
        where = f"operator {index}"
        self._need(
            operator.OpcodeIndex() < model.OperatorCodesLength(),
            f"{where} uses operator code {operator.OpcodeIndex()} of {model.OperatorCodesLength()}",
        )
        code = model.OperatorCodes(operator.OpcodeIndex())
        number = self._number(code)
        name = _names(self.api.BuiltinOperator).get(number, f"operator code {number}")
        if name == "CUSTOM":
            name = f"CUSTOM {_printable((code.CustomCode() or b'').decode('utf-8', 'replace'))}"
        counts = operator.InputsLength(), operator.OutputsLength()
        self._need(max(counts) <= MAX_LISTED, f"{where} {name} has {max(counts):,} tensors", _LIMIT)
        inputs = _ints(operator.Inputs, counts[0])
        outputs = _ints(operator.Outputs, counts[1])
        for tensor in inputs:
            self._need(-1 <= tensor < tensors, f"{where} {name} reads tensor {tensor} of {tensors}")
        for tensor in outputs:
            self._need(0 <= tensor < tensors, f"{where} {name} makes tensor {tensor} of {tensors}")
        options = self._options(operator)
        return FileOperator(index, name, code.Version(), inputs, outputs, options)

    def _options(self, operator: Any) -> dict[str, Any]:
        """The scalars of the operator's options by the schema's names; ``kind`` names the table."""
        kind = _names(self.api.BuiltinOptions).get(operator.BuiltinOptionsType(), "NONE")
        table = operator.BuiltinOptions()
        if table is None:
            return {"kind": "NONE"}
        found = {"kind": kind, **options.read(self.api, kind, table)}
        if kind in options.VECTORS:
            number, key = options.VECTORS[kind]
            values = self._vector(table, number, "<i4", MAX_LISTED)
            found |= {} if values is None else {key: tuple(values.tolist())}
        return found

    def _number(self, code: Any) -> int:
        """The operator's number: the larger of two fields, as TensorFlow Lite takes it.

        Old files have only the first, of one byte; the package's ``BuiltinCode()`` gives that one
        for every number below 127, also where a file has only the second.
        """
        at = code._tab.Offset(10)
        newer = int(np.frombuffer(self.data, "<i4", 1, at + code._tab.Pos)[0]) if at else 0
        return max(int(code.DeprecatedBuiltinCode()), newer)

    def _vector(
        self, table: Any, number: int, dtype: str, limit: int
    ) -> npt.NDArray[np.int64] | None:
        """Field ``number`` of ``table``, a vector of ``dtype``; None when it is left out."""
        at = table.Offset(4 + 2 * number)
        if not at:
            return None
        size = np.dtype(dtype).itemsize
        try:
            position = at + table.Pos
            position += int(np.frombuffer(self.data, "<u4", 1, position)[0])
            count = int(np.frombuffer(self.data, "<u4", 1, position)[0])
            if count > limit or position + 4 + count * size > len(self.data):
                raise ValueError
            return np.frombuffer(self.data, dtype, count, position + 4).astype(np.int64)
        except ValueError:
            self._need(False, f"a vector at byte {at + table.Pos} leaves the file")
            raise


def _ints(get: Callable[[int], Any], count: int) -> tuple[int, ...]:
    return tuple(int(get(i)) for i in range(count))


def _names(enumeration: Any) -> dict[int, str]:
    """Value -> name of a generated enumeration."""
    return {v: k for k, v in _members(enumeration)}


def _members(enumeration: Any) -> Iterator[tuple[str, int]]:
    return ((k, v) for k, v in vars(enumeration).items() if isinstance(v, int))


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:100]
