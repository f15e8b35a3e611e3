"""Stage ``convert``: any fully quantised int8 ``.tflite`` file as a Graph, without TensorFlow.

In: a file. Out: a Graph of family ``tflite`` that computes what TensorFlow Lite's reference
kernels compute, or one ConvertError that lists everything in the file that is not supported.

The device takes uint8: ``x = q + 128`` of the model's int8 input. Where the file's input is uint8
it is that uint8; where it is float32, the QUANTIZE behind it is left to the host, which finds
scale and zero point in the Graph's input tensor. The same at the output: the scores are the int8
values before a DEQUANTIZE, and a uint8 output minus 128.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph import Graph, Tensor, int8
from tinyrobust.graph.base import NO_TASK, Node, aligned
from tinyrobust.tflite.arithmetic import requantize_table
from tinyrobust.tflite.buffer import IDENTIFIER
from tinyrobust.tflite.context import (
    Context,
    Unsupported,
    graph_shape,
    graph_tensor,
    quote,
    scale_of,
)
from tinyrobust.tflite.file import MAX_FILE_BYTES, File, FileOperator, FileTensor, parse
from tinyrobust.tflite.operators import OPERATORS
from tinyrobust.tflite.options import foreign
from tinyrobust.tflite.refusal import Problem, refusal
from tinyrobust.tflite.shapes import settle

SUFFIX = ".tflite"
MAX_CONSTANT_BYTES = MAX_FILE_BYTES  # of all nodes: operators may share what is in the file once
MAX_SCORES = 1 << 16
_SUPPORTED = (*OPERATORS, "DEQUANTIZE")  # the latter before an output


def holds_model(path: Path) -> bool:
    """True for a file that is a TensorFlow Lite model by its bytes, whatever it is called."""
    try:
        with path.open("rb") as stream:
            return stream.read(8)[4:] == IDENTIFIER
    except OSError:
        return False


def load(path: Path) -> Graph:
    """The Graph of the file at ``path``. Raises ConvertError."""
    return from_bytes(_read(path), name=path.stem, where=str(path))


def contents(path: Path) -> File:
    """What the file at ``path`` holds, also when no Graph can be made of it. Raises ConvertError
    where it cannot be read."""
    return parse(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConvertError(
                f"{path} is larger than {MAX_FILE_BYTES:,} bytes", "use a smaller model"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConvertError(f"no such file: {path}", "check the path") from error
    except OSError as error:
        raise ConvertError(f"cannot read {path}: {error.strerror}", "check the path") from error


def from_bytes(data: bytes, *, name: str, where: str = "the .tflite file") -> Graph:
    """``load`` for bytes in memory; the Graph is called ``name``, errors name ``where``."""
    file = settle(parse(data, where))
    walk = _Walk(file, where)
    with np.errstate(all="ignore"):  # float32 as in C; what overflows is refused
        walk.run()
    scores = walk.nodes[-1].output
    size = next(t.size for t in walk.tensors if t.name == scores)
    try:
        return Graph(
            name=re.sub(r"[^A-Za-z0-9_.-]+", "-", name, flags=re.ASCII)[:60] or "model",
            task=NO_TASK,
            labels=tuple(str(i) for i in range(size)),
            tensors=tuple(walk.tensors),
            nodes=tuple(walk.nodes),
            made_from=hashlib.sha256(data).hexdigest(),
            family="tflite",
        )
    except GraphError as error:
        raise ConvertError(f"{where}: {error.message}", "the model cannot be built") from error


@dataclass
class _Walk:
    """The operators of a file in order; what is not supported is collected in ``problems``."""

    file: File
    where: str
    names: dict[int, str] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    made: set[int] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    constant_bytes: int = 0

    def run(self) -> None:
        """Fill ``tensors`` and ``nodes``; raises ConvertError with all problems."""
        self.names = _names(self.file.tensors)
        skipped = self._enter()
        leave = self._leaving()
        for operator in self.file.operators:
            if operator.index not in skipped and operator is not leave:
                self._operator(operator)
        self._leave(leave)
        if self.problems:
            raise refusal(self.where, self.file, self.problems, _SUPPORTED)

    def _problem(self, operator: FileOperator | None, reason: str) -> None:
        self.problems.append(Problem(operator, reason))

    def _only(self, indices: tuple[int, ...], what: str) -> FileTensor:
        tensors = [self.file.tensors[i] for i in indices]
        if len(tensors) != 1:
            names = ", ".join(quote(t) for t in tensors)
            raise ConvertError(
                f"{self.where} has {len(tensors)} {what}s ({names}); exactly one is supported",
                "split the model, or join its tensors with CONCATENATION",
            )
        if tensors[0].constant:
            raise ConvertError(f"{self.where}: its {what} {quote(tensors[0])} is a constant", "")
        return tensors[0]

    def _enter(self) -> set[int]:
        """The input node; the operators that it stands for."""
        source = self._only(self.file.inputs, "input")
        readers = [op for op in self.file.operators if source.index in op.inputs]
        skipped: set[int] = set()
        entry = source
        if source.type == "FLOAT32":
            quantizers = [op for op in readers if op.code == "QUANTIZE" and len(op.outputs) == 1]
            if len(readers) != 1 or not quantizers:
                self._problem(
                    None,
                    f"input {quote(source)} is FLOAT32 and read by "
                    f"{', '.join(op.code for op in readers) or 'nothing'}: the model is not fully "
                    "quantised (need one QUANTIZE there)",
                )
                return skipped
            skipped.add(quantizers[0].index)
            self.made.add(source.index)
            entry = self.file.tensors[quantizers[0].outputs[0]]
        elif source.type == "UINT8":
            entry = _as_int8(source)
        try:
            if entry.type != "INT8":
                raise Unsupported(f"input {quote(entry)} is {entry.type}; need INT8")
            tensor = graph_tensor(self.names[entry.index], aligned(graph_shape(entry)), entry)
        except Unsupported as error:
            self._problem(None, str(error))
            return skipped
        self.tensors.append(tensor)
        self.nodes.append(int8.InputInt8("input", (), tensor.name))
        self.made.add(entry.index)
        return skipped

    def _leaving(self) -> FileOperator | None:
        """The DEQUANTIZE or QUANTIZE to uint8 that makes the model's output, if one does."""
        out = self._only(self.file.outputs, "output")
        for operator in self.file.operators:
            if out.index in operator.outputs and out.type in ("FLOAT32", "UINT8"):
                wanted = "DEQUANTIZE" if out.type == "FLOAT32" else "QUANTIZE"
                single = len(operator.inputs) == len(operator.outputs) == 1
                return operator if operator.code == wanted and single else None
        return None

    def _leave(self, operator: FileOperator | None) -> None:
        """The scores node; before it what a QUANTIZE to uint8 changes."""
        out = self.file.tensors[self.file.outputs[0]]
        last = self.file.tensors[operator.inputs[0]] if operator is not None else out
        try:
            if last.type != "INT8":
                raise Unsupported(f"output {quote(last)} is {last.type}; need INT8")
            if last.size > MAX_SCORES:
                raise Unsupported(f"output {quote(last)} has {last.size:,} elements")
            if last.index not in self.made:
                raise Unsupported(f"nothing makes output {quote(last)}")
            name = self.names[last.index]
            if out.type == "UINT8" and operator is not None:
                name = self._requantize(last, _as_int8(out), "output")
                last = _as_int8(out)
            scores = graph_tensor("scores", (last.size,), last)
        except (Unsupported, ValueError, OverflowError) as error:
            self._problem(operator, str(error))
            return
        self.tensors.append(scores)
        self.nodes.append(int8.ScoresInt8("scores", (name,), scores.name))

    def _requantize(self, source: FileTensor, out: FileTensor, name: str) -> str:
        """Name of ``source`` in the scale of ``out``: itself where nothing changes."""
        if scale_of(source) == scale_of(out):
            return self.names[source.index]
        tensor = graph_tensor(self.names[out.index], graph_shape(source), out)
        self.tensors.append(tensor)
        table = requantize_table(*scale_of(source), *scale_of(out))
        self.nodes.append(
            int8.LookupInt8(name, (self.names[source.index],), tensor.name, table=table)
        )
        return tensor.name

    def _operator(self, operator: FileOperator) -> None:
        try:
            self._check(operator)
            self._check_order(operator)
            file = self._with_int8_input() if operator.code == "QUANTIZE" else self.file
            if not self._is_identity(file, operator):
                self._build(file, operator)
        except (Unsupported, ValueError, OverflowError) as error:
            self._problem(operator, str(error))
        self.made.update(operator.outputs)

    def _check(self, operator: FileOperator) -> None:
        """What holds for any operator before it is looked at."""
        if operator.code not in OPERATORS:
            raise Unsupported("this operator is not supported")
        if foreign(operator.code, kind := str(operator.options["kind"])):
            raise Unsupported(f"carries {kind}, the options of another operator")
        tensors = [self.file.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        for tensor in tensors:
            if tensor.size == 0 and tensor.type not in ("INT32", "INT64"):
                raise Unsupported(f"{quote(tensor)} has no elements: its shape is {tensor.shape}")

    def _check_order(self, operator: FileOperator) -> None:
        tensors = self.file.tensors
        for index in operator.inputs:
            if index >= 0 and not tensors[index].constant and index not in self.made:
                raise Unsupported(f"{quote(tensors[index])} is not made before it is read")
        for index in operator.outputs:
            if index in self.made or tensors[index].constant:
                raise Unsupported(f"{quote(tensors[index])} is made a second time")

    def _build(self, file: File, operator: FileOperator) -> None:
        context = Context(file, operator, self.names, [])
        built = OPERATORS[operator.code](context)
        outputs = [file.tensors[i] for i in operator.outputs]
        new = [graph_tensor(self.names[t.index], graph_shape(t), t) for t in outputs]
        nodes = built if isinstance(built, list) else [built]
        self.constant_bytes += sum(a.nbytes for node in nodes for a in node.arrays.values())
        if self.constant_bytes > MAX_CONSTANT_BYTES:
            raise Unsupported(f"the constants so far take {self.constant_bytes:,} bytes")
        self.nodes += nodes
        self.tensors += [*context.temporaries, *new]

    def _with_int8_input(self) -> File:
        """The file with a uint8 input as the int8 that the Graph has."""
        entry = self.file.inputs[0]
        tensors = list(self.file.tensors)
        if tensors[entry].type == "UINT8":
            tensors[entry] = _as_int8(tensors[entry])
        return replace(self.file, tensors=tuple(tensors))

    def _is_identity(self, file: File, operator: FileOperator) -> bool:
        """A QUANTIZE that changes nothing: its output is another name of its input."""
        if operator.code != "QUANTIZE" or len(operator.inputs) != 1 or len(operator.outputs) != 1:
            return False
        source, out = file.tensors[operator.inputs[0]], file.tensors[operator.outputs[0]]
        if source.type != "INT8" or out.type != "INT8" or scale_of(source) != scale_of(out):
            return False
        if source.shape != out.shape:
            return False
        self.names[out.index] = self.names[source.index]
        return True


def _as_int8(tensor: FileTensor) -> FileTensor:
    """A uint8 tensor as the int8 one of the same real values: everything minus 128."""
    zeros = tuple(z - 128 for z in tensor.zero_points)
    return replace(tensor, type="INT8", zero_points=zeros)


def _names(tensors: tuple[FileTensor, ...]) -> dict[int, str]:
    """Names that are safe everywhere: the index makes them unique, the file's name says more."""
    return {
        t.index: f"{t.index}:" + re.sub(r"[^A-Za-z0-9_./-]+", "_", t.name, flags=re.ASCII)[-60:]
        for t in tensors
    }
