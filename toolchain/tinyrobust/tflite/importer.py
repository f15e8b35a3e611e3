"""Stage ``convert``: any fully quantised int8 ``.tflite`` file as a Graph, without TensorFlow.

In: a file. Out: a Graph of family ``tflite`` that computes what TensorFlow Lite's reference
kernels compute, or one ConvertError that lists everything in the file that is not supported.

A file with one image in and one vector out is a classifier. The device takes uint8: ``x = q + 128``
of the model's int8 input. Where the file's input is uint8 it is that uint8; where it is float32,
the QUANTIZE behind it is left to the host, which finds scale and zero point in the Graph's input
tensor. The same at the output: the scores are the int8 values before a DEQUANTIZE, and a uint8
output minus 128. Any other file has named inputs and outputs, as they are: int8, int16 or int32,
with what is said above for uint8 and float32.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph import Graph, Tensor, int8
from tinyrobust.graph.base import NO_TASK, Node, Port, aligned
from tinyrobust.graph.verify import MAX_PORTS
from tinyrobust.tflite import variables
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
from tinyrobust.tflite.variables import Variables

SUFFIX = ".tflite"
MAX_CONSTANT_BYTES = MAX_FILE_BYTES  # of all nodes: operators may share what is in the file once
MAX_SCORES = 1 << 16
WIDE_TYPES = ("INT8", "INT16", "INT32")
_SUPPORTED = (*OPERATORS, *variables.OPERATORS, "DEQUANTIZE")  # the latter before an output


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
    try:
        return Graph(
            name=re.sub(r"[^A-Za-z0-9_.-]+", "-", name, flags=re.ASCII)[:60] or "model",
            task=NO_TASK,
            labels=tuple(str(i) for i in range(walk.classes)),
            tensors=tuple(walk.tensors),
            nodes=tuple(walk.nodes),
            made_from=hashlib.sha256(data).hexdigest(),
            family="tflite",
            outputs=tuple(walk.outputs),
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
    empty: set[int] = field(default_factory=set)  # tensors without elements that were named
    problems: list[Problem] = field(default_factory=list)
    constant_bytes: int = 0
    classes: int = 0
    outputs: list[Port] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.variables = Variables(self.file)

    def run(self) -> None:
        """Fill ``tensors`` and ``nodes``; raises ConvertError with all problems."""
        self.names = _names(self.file.tensors)
        skipped = self._enter()
        leaving = [self._leaving(index) for index in self.file.outputs]
        for operator in self.file.operators:
            if operator.index not in skipped and operator not in leaving:
                self._operator(operator)
        self._assign()
        self._leave(leaving)
        if self.problems:
            raise refusal(self.where, self.file, self.problems, _SUPPORTED)

    def _variable(self, operator: FileOperator) -> None:
        """An operator of variables. Raises Unsupported."""
        found = self.variables.take(operator, self.names)
        if found is not None:
            state, tensor = found
            self.nodes.append(state)
            self.tensors.append(tensor)

    def _assign(self) -> None:
        """What variables are assigned, among the nodes."""
        try:
            self.tensors += self.variables.assigned(self.nodes, {t.name: t for t in self.tensors})
        except (Unsupported, ValueError) as error:
            self._problem(None, str(error))

    def _problem(self, operator: FileOperator | None, reason: str) -> None:
        self.problems.append(Problem(operator, reason))

    def _check_edges(self) -> None:
        for what, indices in (("input", self.file.inputs), ("output", self.file.outputs)):
            if not 1 <= len({*indices}) <= MAX_PORTS or len({*indices}) != len(indices):
                raise ConvertError(
                    f"{self.where} has {len(indices)} {what}s, {len({*indices})} different ones; "
                    f"need 1 to {MAX_PORTS}, each once",
                    "split the model, or join its tensors with CONCATENATION",
                )
            for index in indices:
                if self.file.tensors[index].constant:
                    name = quote(self.file.tensors[index])
                    raise ConvertError(f"{self.where}: its {what} {name} is a constant", "")

    @property
    def _classifies(self) -> bool:
        """True for one image in and one vector out, which is what class scores look like."""
        (source, *others), (out, *more) = (
            [self.file.tensors[i] for i in indices]
            for indices in (self.file.inputs, self.file.outputs)
        )
        vector = sum(n != 1 for n in out.shape) <= 1
        kinds = {"FLOAT32", "INT8", "UINT8"}
        return vector and not others and not more and {source.type, out.type} <= kinds

    def _enter(self) -> set[int]:
        """The input nodes; the operators that they stand for."""
        self._check_edges()
        skipped: set[int] = set()
        for index in self.file.inputs:
            try:
                skipped |= self._entry(self.file.tensors[index])
            except Unsupported as error:
                self._problem(None, str(error))
        return skipped

    def _entry(self, source: FileTensor) -> set[int]:
        """The node of one input; the operators that it stands for. Raises Unsupported."""
        readers = [op for op in self.file.operators if source.index in op.inputs]
        skipped: set[int] = set()
        entry = source
        if source.type == "FLOAT32":
            quantizers = [op for op in readers if op.code == "QUANTIZE" and len(op.outputs) == 1]
            if len(readers) != 1 or not quantizers:
                raise Unsupported(
                    f"input {quote(source)} is FLOAT32 and read by "
                    f"{', '.join(op.code for op in readers) or 'nothing'}: the model is not fully "
                    "quantised (need one QUANTIZE there)",
                )
            skipped.add(quantizers[0].index)
            self.made.add(source.index)
            entry = self.file.tensors[quantizers[0].outputs[0]]
        elif source.type == "UINT8":
            entry = _as_int8(source)
        if entry.type not in WIDE_TYPES:
            raise Unsupported(f"input {quote(entry)} is {entry.type}; need {', '.join(WIDE_TYPES)}")
        byte = entry.type == "INT8" and (len(self.file.inputs) == 1 or source.type == "UINT8")
        shape = graph_shape(entry)
        tensor = graph_tensor(self.names[entry.index], aligned(shape) if byte else shape, entry)
        name = "input" if self._classifies else self._port_name(source)
        self.tensors.append(tensor)
        node = int8.InputInt8 if byte else int8.InputRaw
        self.nodes.append(node(name, (), tensor.name))
        self.made.add(entry.index)
        return skipped

    def _port_name(self, tensor: FileTensor) -> str:
        """What users call an input or output: the file's name for it, made safe and unique."""
        name = re.sub(r"[^A-Za-z0-9_.:/-]+", "_", tensor.name, flags=re.ASCII)[-60:] or "tensor"
        edges = (*self.file.inputs, *self.file.outputs)
        same = [i for i in edges if self.file.tensors[i].name == tensor.name]
        return name if len(same) == 1 and tensor.name == name else f"{name}:{tensor.index}"

    def _leaving(self, index: int) -> FileOperator | None:
        """The DEQUANTIZE or QUANTIZE to uint8 that makes an output of the model, if one does."""
        out = self.file.tensors[index]
        for operator in self.file.operators:
            if index in operator.outputs and out.type in ("FLOAT32", "UINT8"):
                wanted = "DEQUANTIZE" if out.type == "FLOAT32" else "QUANTIZE"
                single = len(operator.inputs) == len(operator.outputs) == 1
                return operator if operator.code == wanted and single else None
        return None

    def _leave(self, leaving: list[FileOperator | None]) -> None:
        """The outputs; of a classifier the scores node. Before them what a QUANTIZE to uint8
        changes."""
        for index, operator in zip(self.file.outputs, leaving, strict=True):
            try:
                name, last = self._left(self.file.tensors[index], operator)
                if not self._classifies:
                    port = self._port_name(self.file.tensors[index])
                    self.outputs.append(Port(port, name))
                    continue
                self.classes = last.size
                scores = graph_tensor("scores", (last.size,), last)
            except (Unsupported, ValueError, OverflowError) as error:
                self._problem(operator, str(error))
                continue
            self.tensors.append(scores)
            self.nodes.append(int8.ScoresInt8("scores", (name,), scores.name))

    def _left(self, out: FileTensor, operator: FileOperator | None) -> tuple[str, FileTensor]:
        """The Graph's tensor that leaves as ``out``, and the file's. Raises Unsupported."""
        last = self.file.tensors[operator.inputs[0]] if operator is not None else out
        if last.type not in WIDE_TYPES:
            raise Unsupported(f"output {quote(last)} is {last.type}; need {', '.join(WIDE_TYPES)}")
        if last.size > MAX_SCORES and self._classifies:
            raise Unsupported(f"output {quote(last)} has {last.size:,} elements")
        if last.index not in self.made:
            raise Unsupported(f"nothing makes output {quote(last)}")
        name = self.names[last.index]
        if out.type == "UINT8" and operator is not None:
            name = self._requantize(last, _as_int8(out), f"output_{out.index}")
            last = _as_int8(out)
        return name, last

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
            known = not self._check(operator)
            self._check_order(operator)
            if operator.code in variables.OPERATORS:
                self._variable(operator)
                self.made.update(operator.outputs)
                return
            file = self._with_int8_input() if operator.code == "QUANTIZE" else self.file
            if not known and not self._is_identity(file, operator):
                self._build(file, operator)
        except (Unsupported, ValueError, OverflowError) as error:
            self._problem(operator, str(error))
        self.made.update(operator.outputs)

    def _check(self, operator: FileOperator) -> bool:
        """What holds for any operator before it is looked at; False where its fault is known."""
        if operator.code not in (*OPERATORS, *variables.OPERATORS):
            raise Unsupported("this operator is not supported")
        if foreign(operator.code, kind := str(operator.options["kind"])):
            raise Unsupported(f"carries {kind}, the options of another operator")
        tensors = [self.file.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        for tensor in tensors:
            if tensor.size == 0 and tensor.type not in ("INT32", "INT64"):
                if tensor.index in self.empty:
                    return False  # its maker was refused for it
                self.empty.add(tensor.index)
                raise Unsupported(f"{quote(tensor)} has no elements: its shape is {tensor.shape}")
        return True

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
        """The file with uint8 inputs as the int8 that the Graph has."""
        tensors = list(self.file.tensors)
        for entry in self.file.inputs:
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
