"""From the nodes of a QONNX file to an integer Graph of family ``fixed``.

In: an ONNX model (a path or a ModelProto) whose weights and activations pass Quant or BipolarQuant
nodes. Out: a Graph. Weights are ternary or binary times one scale per tensor or output channel;
activations unsigned, 1 to 8 bits, of any scale. Scales, biases and batch normalisations between a
layer's exact sums and the next Quant become that Quant's Requantize (``convert/formats.py``).

The network's input is its first Quant's codes: unsigned ``b`` bits are the upper ``b`` bits of the
device's byte, ``real = scale * (byte >> (8 - b))``. Where a Quant rounds to even, the Graph rounds
halves up: a difference on exact ties alone. An average whose Quant keeps its scale is a pooling
node; any other is a depthwise convolution with ones, so that the mean is never rounded before its
Quant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import artefact
from tinyrobust.convert import formats
from tinyrobust.convert.formats import Branch
from tinyrobust.convert.qonnx import constants
from tinyrobust.convert.qonnx.attributes import (
    attribute,
    fold,
    name_of,
    printable,
    same_pads,
    window,
)
from tinyrobust.convert.qonnx.values import (
    Activation,
    Linear,
    Mean,
    Part,
    Raw,
    Real,
    Value,
    as_linear,
)
from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Pool2D,
    Reshape,
    Tensor,
    Ternary,
)
from tinyrobust.graph.rules import windows
from tinyrobust.graph.verify import accumulator_range

EXTRA_HINT = "pip install 'tinyrobust[qonnx]'"
CHANNELS_LAST = "qonnx.custom_op.channels_last"
_INTEGER_FORMS = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
    "ConvInteger", "MatMulInteger",
)  # fmt: skip
_QUANTISE = "put a quantiser (Brevitas: QuantIdentity or QuantReLU, unsigned) behind it"
_MAX_MEAN = 256  # pixels of a mean whose ties the pooling kernels round to even


def convert(
    model: Any, *, name: str = "", task: str = "custom", labels: tuple[str, ...] = ()
) -> Graph:
    """The Graph of ``model``, a path or an ``onnx.ModelProto``.

    ``labels``: "0", "1", ... without. Raises ConvertError naming the node that cannot be converted
    and why, or that the extra ``qonnx`` is not installed.
    """
    proto, content = load(model)
    found = name or (Path(model).stem if isinstance(model, str | Path) else proto.graph.name)
    return _Reader(proto).run(_clean(found or "network"), task, labels, artefact.sha256(content))


def load(model: Any) -> tuple[Any, bytes]:
    """The ModelProto of ``model`` and its bytes. Raises ConvertError for what is no ONNX file."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConvertError(
            f"reading ONNX needs the qonnx extra: {error.name} is not installed", EXTRA_HINT
        ) from error
    model = getattr(model, "model", model)  # qonnx's ModelWrapper
    if isinstance(model, onnx.ModelProto):
        return model, model.SerializeToString()
    path = Path(model)
    try:
        content = path.read_bytes()
        proto = onnx.load_model_from_string(content)
    except OSError as error:
        raise ConvertError(f"{path} cannot be read: {error.strerror}", "check the path") from error
    except (DecodeError, ValueError) as error:
        raise ConvertError(f"{path} is no ONNX file: {error}", "export it again") from error
    if any(isinstance(text, bytes) for text in _texts(proto.graph)):
        raise ConvertError(f"{path} is no ONNX file: a name is not UTF-8", "export it again")
    if not proto.graph.node:
        raise ConvertError(f"{path} holds no network", "export it again")
    return proto, content


def _texts(graph: Any) -> Iterator[Any]:
    """Every name of ``graph``; protobuf gives one that is not UTF-8 as bytes."""
    for part in (*graph.initializer, *graph.input, *graph.output, *graph.node):
        yield part.name
    for node in graph.node:
        yield from (node.op_type, node.domain, *node.input, *node.output)
        yield from (a.name for a in node.attribute)


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.:/+-]", "_", name)[:90] or "_"


@dataclass
class _Reader:
    proto: Any
    values: dict[str, Value] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def run(self, name: str, task: str, labels: tuple[str, ...], made_from: str) -> Graph:
        from onnx import numpy_helper

        graph = self.proto.graph
        for initializer in graph.initializer:
            if initializer.data_location == initializer.EXTERNAL:
                raise ConvertError(
                    f"'{printable(initializer.name)}' is in another file than the model",
                    "export with the weights in one file",
                )
            try:
                self.values[initializer.name] = numpy_helper.to_array(initializer)
            except (TypeError, ValueError) as error:
                raise ConvertError(
                    f"'{printable(initializer.name)}' is malformed: {printable(str(error))}",
                    "export again",
                ) from error
        self._inputs(graph)
        for node in graph.node:
            self._node(node)
        if len(graph.output) != 1:
            raise ConvertError(
                f"the network has {len(graph.output)} outputs", "one output is converted"
            )
        self._scores(graph.output[0].name)
        size = self.tensors[-1].size
        labels = labels or tuple(str(i) for i in range(size))
        if len(labels) != size:
            raise ConvertError(
                f"the network has {size} outputs, task '{task}' has {len(labels)} classes",
                "give the task that it was trained for",
            )
        try:
            return Graph(name, task, labels, tuple(self.tensors), tuple(self.nodes), made_from)
        except GraphError as error:
            raise ConvertError(f"the model makes no Graph: {error.message}", error.hint) from error

    def _node(self, node: Any) -> None:
        where = f"node '{name_of(node)}' ({printable(node.op_type)})"
        if not node.output:
            raise ConvertError(f"{where} makes nothing", "export the model again")
        inputs = [self.values.get(i) if i else None for i in node.input]
        handler = _HANDLERS.get(node.op_type)
        if node.op_type in _INTEGER_FORMS:
            raise ConvertError(
                f"{where} is of onnxruntime's int8 form, which is not read: it rounds every "
                "rescaling in float32, which the device's integers do not",
                "export QONNX (Brevitas), or the int8 network as a .tflite file",
            )
        if handler is None:
            raise ConvertError(
                f"{where} is an operation that cannot be converted",
                f"supported: {', '.join(sorted(_HANDLERS))}",
            )
        if any(i and value is None for i, value in zip(node.input, inputs, strict=True)):
            missing = next(i for i in node.input if i and i not in self.values)
            raise ConvertError(
                f"{where} reads '{printable(missing)}', which nothing makes", "export again"
            )
        constant = inputs and all(i is None or isinstance(i, np.ndarray) for i in inputs)
        try:
            made = fold(where, node, inputs) if constant else handler(self, where, node, inputs)
            self.values[node.output[0]] = made
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A file may hold anything: too few inputs, constants of other shapes, odd attributes.
            raise ConvertError(f"{where} is malformed: {printable(str(error))}",
                               "export the model again") from error  # fmt: skip

    def _inputs(self, graph: Any) -> None:
        inputs = [i for i in graph.input if i.name not in self.values]
        if len(inputs) != 1:
            raise ConvertError(f"the network has {len(inputs)} inputs", "one input is converted")
        dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        if len(dims) not in (2, 3, 4) or min(dims[1:]) < 1:
            raise ConvertError(
                f"input '{printable(inputs[0].name)}' has shape {dims}",
                "export with a fixed shape (1, C, H, W), (1, C, W) or (1, F)",
            )
        last = self._reader_of(graph, inputs[0].name).domain == CHANNELS_LAST
        axes = {2: "nf", 3: "nwc" if last else "ncw", 4: "nhwc" if last else "nchw"}[len(dims)]
        size = dict(zip(axes, dims, strict=True))
        shape = (size.get("h", 1), size.get("w", 1), size.get("c", size.get("f", 1)))
        self.values[inputs[0].name] = Raw(shape, axes)

    def _reader_of(self, graph: Any, tensor: str) -> Any:
        """The first node behind ``tensor`` that is no quantiser."""
        for node in graph.node:
            if tensor in node.input:
                if node.op_type in ("Quant", "IntQuant", "Identity"):
                    return self._reader_of(graph, node.output[0])
                return node
        raise ConvertError(f"nothing reads '{printable(tensor)}'", "export the model again")

    def unique(self, wanted: str) -> str:
        name = wanted = _clean(wanted)
        count = 1
        while name in self.names:
            count += 1
            name = f"{wanted}_{count}"
        self.names.add(name)
        return name

    def add(self, node: Node, tensor: Tensor) -> Tensor:
        self.nodes.append(node)
        self.tensors.append(tensor)
        return tensor

    # Quantisers

    def quant(self, where: str, node: Any, inputs: list[Value]) -> Value:
        x, scale, zero, bits = inputs
        if not all(isinstance(i, np.ndarray) for i in (scale, zero, bits)):
            raise ConvertError(f"{where} has a scale that is computed", "export constant scales")
        if np.unique(scale).size != 1:
            raise ConvertError(
                f"{where} has {np.unique(scale).size} scales for one activation",
                "quantise activations per tensor",
            )
        if np.any(zero):
            raise ConvertError(f"{where} has zero point {np.ravel(zero)[0]:g}", "use zero point 0")
        width, step = int(np.ravel(bits)[0]), float(np.ravel(scale)[0])
        signed, narrow = bool(attribute(node, "signed", 1)), bool(attribute(node, "narrow", 1))
        if not np.isfinite(step) or step <= 0:
            raise ConvertError(f"{where} has scale {step}", "train again")
        relu = isinstance(x, Linear) and x.relu
        hi = (1 << (width - signed)) - 1 if 1 <= width <= 64 else 0
        if not 1 <= hi <= 255 or width != np.ravel(bits)[0] or (narrow and not signed):
            kind = "narrow " * narrow + ("signed" if signed else "unsigned")
            raise ConvertError(
                f"{where} has {np.ravel(bits)[0]:g} {kind} bits", "use 1 to 8 unsigned bits"
            )
        if signed and not (relu or isinstance(x, Activation | Mean)):
            raise ConvertError(f"{where} gives signed activations", _QUANTISE)
        if isinstance(x, Raw):
            return self._input(node, x, width, step)
        mode = str(attribute(node, "rounding_mode", "ROUND")).upper()
        if mode not in ("ROUND", "HALF_EVEN", "HALF_UP", "FLOOR", "DOWN", "ROUND_TO_ZERO"):
            raise ConvertError(f"{where} rounds by {mode}", "use ROUND or FLOOR")
        floors = mode in ("FLOOR", "DOWN", "ROUND_TO_ZERO")
        return self._quantised(name_of(node), self._whole(x), step, hi, floors)

    def _input(self, node: Any, raw: Raw, bits: int, step: float) -> Activation:
        name = self.unique("image" if raw.axes != "nf" else "features")
        shift = 8 - bits
        tensor = self.add(
            Input(name, (), name, shift), Tensor(name, raw.shape, 0, 255 >> shift, frac_bits(step))
        )
        made = Activation(tensor, step, raw.axes)
        return self._flat(made, "flat") if raw.axes == "nf" else made

    def _whole(self, value: Value) -> Value:
        return as_linear(value) if isinstance(value, Activation) else value

    def _quantised(
        self, wanted: str, value: Linear | Mean, step: float, hi: int, floors: bool
    ) -> Activation:
        if isinstance(value, Mean):
            source = value.source
            if source.scale == step and hi >= source.tensor.hi and not floors:
                made = self._pooled(value, wanted)
                for step_later in value.later:
                    made = step_later(made)
                return made
            value = self._ones(value)
        name, frac = self.unique(wanted), frac_bits(step)
        # In units of 2**-frac instead of the Quant's own step, which may be no power of two.
        unit = 2.0**-frac / step
        bias = value.bias * unit - (0.5 * 2.0**-frac if floors else 0.0)
        tensor = self._requantize(name, value, unit, bias, frac, hi)
        made = Activation(tensor, step, value.axes)
        for later in value.later:
            made = later(made)
        return made

    def _requantize(
        self, name: str, value: Linear, unit: float, bias: Real, frac: int | None, hi: int = 127
    ) -> Tensor:
        parts = value.parts
        if len(parts) > 2:
            raise ConvertError(
                f"'{name}' adds {len(parts)} sums, two at most can be added", _QUANTISE
            )
        if len({p.tensor.shape for p in parts}) != 1:
            shapes = " and ".join(str(p.tensor.shape) for p in parts)
            raise ConvertError(f"'{name}' adds {shapes}", "add tensors of one shape")
        branches = [
            Branch(p.tensor, p.lo, p.hi, name, p.scale * unit * 2.0**p.tensor.frac_bits,
                   bias if i == 0 else np.zeros_like(bias))
            for i, p in enumerate(parts)
        ]  # fmt: skip
        chosen = formats.choose(name, name, branches, out_frac=frac, hi=hi)
        shape = parts[0].tensor.shape
        out_frac = chosen.sum_frac if frac is None else frac
        return self.add(chosen.node, Tensor(name, shape, chosen.lo, chosen.hi, out_frac))

    # Layers

    def _source(self, where: str, value: Value) -> Activation:
        if isinstance(value, Activation):
            return value
        kind = "the input" if isinstance(value, Raw) else "a value"
        raise ConvertError(f"{where} reads {kind} that is not quantised", _QUANTISE)

    def conv(self, where: str, node: Any, inputs: list[Value]) -> Value:
        source, weights = self._source(where, inputs[0]), _weights(where, inputs[1])
        last = node.domain == CHANNELS_LAST
        axes = {(3, True): "nwc", (3, False): "ncw", (4, True): "nhwc", (4, False): "nchw"}
        if source.axes != axes.get((weights.ndim, last)):
            raise ConvertError(
                f"{where} reads axes {source.axes}, expects "
                f"{axes.get((weights.ndim, last), 'one or two dimensions')}", "export again",
            )  # fmt: skip
        size, strides, pads = window(
            where, node, weights.shape[1:-1] if last else weights.shape[2:]
        )
        # To (OC, KH, KW, IC / groups).
        kernel = weights if last else np.moveaxis(weights, 1, -1)
        kernel = kernel[:, None] if weights.ndim == 3 else kernel
        groups, (height, width, depth) = attribute(node, "group", 1), source.tensor.shape
        trits, scale = constants.trits(where, kernel)
        name = self.unique(name_of(node))
        pads = same_pads(node, (height, width), size, strides, pads)
        made: Ternary
        if groups == 1:
            made = Conv2D(name, (source.tensor.name,), name, trits, strides, pads)
        elif groups == depth == len(weights):
            made = DepthwiseConv2D(name, (source.tensor.name,), name, trits[..., 0], strides, pads)
        else:
            raise ConvertError(
                f"{where} has {groups} groups for {depth} channels and {len(weights)} outputs",
                "use one group, or a depthwise convolution of as many outputs as channels",
            )
        out = (windows(height, size[0], strides[0], pads[0], pads[1]),
               windows(width, size[1], strides[1], pads[2], pads[3]), len(weights))  # fmt: skip
        return self._sums(where, made, source, out, scale, inputs[2:], source.axes)

    def _sums(
        self, where: str, node: Ternary, source: Activation, shape: tuple[int, ...], scale: Real,
        bias: list[Value], axes: str,
    ) -> Linear:  # fmt: skip
        lo, hi = accumulator_range(node.weights, source.tensor)
        tensor = Tensor(node.name, shape, int(lo.min()), int(hi.max()), source.tensor.frac_bits)
        self.add(node, tensor)
        made = Linear((Part(tensor, lo, hi, scale * source.scale),), np.zeros(shape[-1]), axes)
        given = [b for b in bias if b is not None]
        return made.shifted(self._per_channel(where, made, given[0], -1)) if given else made

    def gemm(self, where: str, node: Any, inputs: list[Value]) -> Value:
        if attribute(node, "transA", 0):
            raise ConvertError(f"{where} transposes its input", "export again")
        given = _weights(where, inputs[1])
        weights = given if attribute(node, "transB", 0) else given.T
        weights = weights * np.asarray(attribute(node, "alpha", 1.0), weights.dtype)
        bias = [b * attribute(node, "beta", 1.0) for b in inputs[2:] if b is not None]
        return self._dense(where, node, inputs[0], weights, bias)

    def matmul(self, where: str, node: Any, inputs: list[Value]) -> Value:
        if not isinstance(inputs[1], np.ndarray) or inputs[1].ndim != 2:
            raise ConvertError(f"{where} is no product with constant weights", "use a Linear layer")
        return self._dense(where, node, inputs[0], inputs[1].T, [])

    def _dense(self, where: str, node: Any, value: Value, weights: Any, bias: list[Value]) -> Value:
        source = self._source(where, value)
        if source.axes != "nf" or source.tensor.size != weights.shape[1]:
            raise ConvertError(
                f"{where} multiplies axes {source.axes} of {source.tensor.size} elements by "
                f"weights of {weights.shape[1]}", "flatten before a Linear layer",
            )  # fmt: skip
        trits, scale = constants.trits(where, weights)
        if source.order is not None:
            trits = trits[:, source.order]
        name = self.unique(name_of(node))
        made = Dense(name, (source.tensor.name,), name, np.ascontiguousarray(trits))
        return self._sums(where, made, source, (len(trits),), scale, bias, "nf")

    # Between a layer and its quantiser

    def _linear(self, where: str, value: Value) -> Linear:
        if isinstance(value, Mean):
            value = self._ones(value)
        if isinstance(value, Raw):
            raise ConvertError(f"{where} reads the input that is not quantised", _QUANTISE)
        value = self._whole(value)
        if value.relu or value.later:
            raise ConvertError(f"{where} comes between a layer and its quantiser", _QUANTISE)
        return value

    def _per_channel(self, where: str, value: Any, given: Value, axis: int | None = None) -> Real:
        """``given`` for every channel; with ``axis`` -1 it is a vector of the channels."""
        if not isinstance(given, np.ndarray):
            raise ConvertError(f"{where} computes with two activations", "use constants")
        constant = np.asarray(given, np.float64)
        channels = value.channels
        if constant.size == 1:
            return np.full(channels, float(constant.ravel()[0]))
        if axis == -1 and constant.shape == (channels,):
            return constant
        at = max(value.axes.find("c"), value.axes.find("f"))
        shape = (1,) * (len(value.axes) - constant.ndim) + constant.shape
        want = [1] * len(value.axes)
        want[at] = channels
        if list(shape) != want:
            raise ConvertError(
                f"{where} has a constant of shape {constant.shape} for axes {value.axes}",
                "use one value, or one per channel",
            )
        return constant.ravel()

    def batch_norm(self, where: str, node: Any, inputs: list[Value]) -> Value:
        value = self._linear(where, inputs[0])
        gamma, beta, mean, variance = (self._per_channel(where, value, i, -1) for i in inputs[1:])
        gain = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        bad = np.flatnonzero(~np.isfinite(gain * mean + beta))
        if bad.size:
            raise ConvertError(f"{where} channel {bad[0]} is not finite", "train again")
        return value.scaled(gain).shifted(beta - mean * gain)

    def relu(self, where: str, node: Any, inputs: list[Value]) -> Value:
        value = inputs[0]
        if isinstance(value, Activation | Mean):  # unsigned already
            return value
        if isinstance(value, Linear) and value.relu:
            return value
        return replace(self._linear(where, value), relu=True)

    def arithmetic(self, where: str, node: Any, inputs: list[Value]) -> Value:
        op, (a, b) = node.op_type, inputs
        if op in ("Add", "Mul") and isinstance(a, np.ndarray):
            a, b = b, a
        if isinstance(b, np.ndarray) and not isinstance(a, np.ndarray):
            if isinstance(a, Activation) and a.order is not None and b.size != 1:
                raise ConvertError(f"{where} comes behind a flatten", "move it in front of it")
            value = self._linear(where, a)
            constant = self._per_channel(where, value, b)
            if op in ("Add", "Sub"):
                return value.shifted(constant if op == "Add" else -constant)
            return value.scaled(constant if op == "Mul" else 1.0 / constant)
        if op != "Add" or isinstance(a, np.ndarray):
            raise ConvertError(f"{where} computes with two activations", "supported: Add")
        first, second = self._linear(where, a), self._linear(where, b)
        if first.axes != second.axes:
            raise ConvertError(
                f"{where} adds axes {first.axes} and {second.axes}", "add tensors of one layout"
            )
        return Linear(first.parts + second.parts, first.bias + second.bias, first.axes)

    # Pooling and shapes

    def pool(self, where: str, node: Any, inputs: list[Value]) -> Value:
        size, strides, pads = window(where, node, attribute(node, "kernel_shape", (1, 1)))
        if any(pads) or attribute(node, "ceil_mode", 0):
            raise ConvertError(f"{where} is padded", "use windows that lie inside the image")
        name = name_of(node)
        if node.op_type == "AveragePool":
            return Mean(name, (source := self._source(where, inputs[0])), size, strides, False,
                        source.axes)  # fmt: skip

        def largest(source: Activation) -> Activation:
            made, (height, width, depth) = self.unique(name), source.tensor.shape
            shape = (
                windows(height, size[0], strides[0]),
                windows(width, size[1], strides[1]),
                depth,
            )
            pooled = Pool2D(made, (source.tensor.name,), made, "max", size, strides)
            return replace(source, tensor=self.add(
                pooled, replace(source.tensor, name=made, shape=shape)))  # fmt: skip

        return self._commuting(where, inputs[0], largest)

    def _commuting(
        self, where: str, value: Value, step: Callable[[Activation], Activation]
    ) -> Value:
        """``step`` now, or behind the quantiser that is still to come."""
        if isinstance(value, Activation):
            return step(value)
        if isinstance(value, Linear | Mean):
            return replace(value, later=(*value.later, step))
        raise ConvertError(f"{where} reads the input that is not quantised", _QUANTISE)

    def global_average(self, where: str, node: Any, inputs: list[Value]) -> Value:
        source = self._source(where, inputs[0])
        axes = source.axes
        if node.op_type == "ReduceMean":
            given = inputs[1] if len(inputs) > 1 else attribute(node, "axes", ())
            over = "".join(sorted(axes[int(a) % len(axes)] for a in np.ravel(given)))
            if over != "".join(a for a in "hw" if a in axes):
                raise ConvertError(f"{where} is a mean over {over or 'nothing'}", "use h and w")
            if not attribute(node, "keepdims", 1):
                axes = "nf"
        if "c" not in source.axes:
            raise ConvertError(f"{where} reads axes {axes}", "average images")
        return Mean(
            name_of(node),
            source,
            (source.tensor.shape[0], source.tensor.shape[1]),
            (1, 1),
            True,
            axes,
        )

    def _pooled(self, mean: Mean, name: str) -> Activation:
        """A mean that keeps its scale: rounded to the nearest, exact ties to even where the
        number of pixels is a power of two."""
        source = mean.source.tensor
        pixels = mean.size[0] * mean.size[1]
        even = 1 < pixels <= _MAX_MEAN and pixels & (pixels - 1) == 0
        made, half = self.unique(name), pixels // 2
        if mean.whole:
            node: Node = GlobalAveragePool(made, (source.name,), made, half, even)
            shape: tuple[int, ...] = (source.shape[2],)
        else:
            node = Pool2D(
                made, (source.name,), made, "average", mean.size, mean.strides, half, even
            )
            shape = self._windows(mean)
        return Activation(
            self.add(node, replace(source, name=made, shape=shape)), mean.source.scale, mean.axes
        )

    def _windows(self, mean: Mean) -> tuple[int, ...]:
        height, width, depth = mean.source.tensor.shape
        rows, columns = (
            windows(n, k, s)
            for n, k, s in zip((height, width), mean.size, mean.strides, strict=True)
        )
        return rows, columns, depth

    def _ones(self, mean: Mean) -> Linear:
        """A mean as exact sums: a depthwise convolution with ones."""
        source, shape = mean.source, self._windows(mean)
        name = self.unique(mean.name)
        node = DepthwiseConv2D(
            name,
            (source.tensor.name,),
            name,
            np.ones((shape[2], *mean.size), np.int8),
            mean.strides,
        )
        pixels = mean.size[0] * mean.size[1]
        made = self._sums(name, node, source, shape, np.full(shape[2], 1 / pixels), [], mean.axes)
        later = mean.later
        if mean.axes == "nf":  # the sums have axes of one pixel, the ONNX tensor has none
            later = (lambda a: self._flat(a, f"{name}_flat"), *later)
        return replace(made, later=later)

    def flatten(self, where: str, node: Any, inputs: list[Value]) -> Value:
        value = inputs[0]
        if isinstance(value, Raw):
            raise ConvertError(f"{where} reads the input that is not quantised", _QUANTISE)
        if node.op_type == "Flatten":
            fine = attribute(node, "axis", 1) == 1
        else:
            target = [int(n) for n in np.ravel(inputs[1])]
            fine = len(target) == 2 and target[0] in (0, 1, -1)
        if not fine:
            raise ConvertError(f"{where} reshapes to something else than features", "flatten")
        if value.axes == "nf":
            return value
        name, axes = name_of(node), value.axes
        made = self._commuting(where, value, lambda a: self._flat(replace(a, axes=axes), name))
        return made if isinstance(made, Activation) else replace(made, axes="nf")

    def _flat(self, value: Activation, wanted: str) -> Activation:
        tensor = value.tensor
        if len(tensor.shape) == 1:
            return replace(value, axes="nf")
        name = self.unique(wanted)
        flat = self.add(
            Reshape(name, (tensor.name,), name), replace(tensor, name=name, shape=(tensor.size,))
        )
        ours = [a for a in "hwc" if a in value.axes]
        sizes = dict(zip("hwc", tensor.shape, strict=True))
        theirs = [a for a in value.axes if a != "n"]
        order = None
        if theirs != ours and "f" not in theirs:
            index = np.arange(tensor.size).reshape([sizes[a] for a in theirs])
            order = index.transpose([theirs.index(a) for a in ours]).ravel()
        return Activation(flat, value.scale, "nf", order)

    def transpose(self, where: str, node: Any, inputs: list[Value]) -> Value:
        value = inputs[0]
        order = attribute(node, "perm", tuple(reversed(range(len(value.axes)))))
        if order[0] != 0 or value.axes == "nf":
            raise ConvertError(f"{where} moves the batch", "keep the batch as first axis")
        return replace(value, axes="".join(value.axes[i] for i in order))

    def same(self, where: str, node: Any, inputs: list[Value]) -> Value:
        return inputs[0]

    def constant(self, where: str, node: Any, inputs: list[Value]) -> Value:
        if inputs:
            raise ConvertError(f"{where} is computed from activations", "export again")
        return fold(where, node, inputs)

    def _scores(self, name: str) -> None:
        value = self.values.get(name)
        if isinstance(value, Mean):
            value = self._ones(value)
        if isinstance(value, Activation):
            value = as_linear(value)
        if (
            not isinstance(value, Linear) or value.relu or value.later
            or len(value.parts) != 1 or len(value.parts[0].tensor.shape) != 1
        ):  # fmt: skip
            raise ConvertError(
                f"output '{printable(name)}' is not the scores of one layer",
                "end in a Linear layer, with or without batch normalisation",
            )
        self._requantize(self.unique("scores"), value, 1.0, value.bias, None)


def _weights(where: str, value: Value) -> Any:
    if not isinstance(value, np.ndarray):
        raise ConvertError(f"{where} has weights that are computed", "use constant weights")
    return value


def frac_bits(step: float) -> int:
    """Fraction bits of the power of two next to ``step``."""
    return round(-float(np.log2(step)))


_HANDLERS: dict[str, Any] = {
    "Quant": _Reader.quant,
    "IntQuant": _Reader.quant,
    "BipolarQuant": _Reader.constant,
    "Constant": _Reader.constant,
    "Conv": _Reader.conv,
    "Gemm": _Reader.gemm,
    "MatMul": _Reader.matmul,
    "BatchNormalization": _Reader.batch_norm,
    "Relu": _Reader.relu,
    "Add": _Reader.arithmetic,
    "Sub": _Reader.arithmetic,
    "Mul": _Reader.arithmetic,
    "Div": _Reader.arithmetic,
    "MaxPool": _Reader.pool,
    "AveragePool": _Reader.pool,
    "GlobalAveragePool": _Reader.global_average,
    "ReduceMean": _Reader.global_average,
    "Flatten": _Reader.flatten,
    "Reshape": _Reader.flatten,
    "Transpose": _Reader.transpose,
    "Identity": _Reader.same,
    "Dropout": _Reader.same,
}
