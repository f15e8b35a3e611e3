"""From hls4ml's model graph, after its ``optimize`` flow, to the integer Graph and its types.

In: a ModelGraph in which ternary weights are bare trits and their scales are folded into the
batch normalisation behind them. Out: the Graph, and for every hls4ml layer the precision with
which hls4ml computes the same integers.

Names: a Graph tensor has the name of the hls4ml layer whose output it is: ``conv1`` the exact
sums, ``conv1_act`` the activation, ``dense_bn`` the scores. An average pool, global or not, and an
activation of the same fraction bits become one node, the rounded mean: hls4ml computes it with
a pool result of MEAN_BITS more fraction bits (truncated), which the activation rounds. Over 2**n
pixels, n <= MEAN_BITS, that result is the exact mean, whose many ties go to even as QKeras rounds
them. Otherwise halves go up: floor(floor(x * 2**k) / 2**k + 1/2) = floor(x + 1/2) is exact.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.convert import formats
from tinyrobust.convert.formats import Branch
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

INPUT_BITS = 7
INPUT_SHIFT = 1
MEAN_BITS = 8
_ACTIVATION_MODE = ",RND,SAT"
_MEAN_MODE = ",RND_CONV,SAT"  # halves to even
_STYLE = "a ternary layer is followed by BatchNormalization, then QActivation(quantized_relu)"


@dataclass(frozen=True)
class Sums:
    """The exact sums of a ternary layer, not yet scaled."""

    tensor: Tensor
    lo: npt.NDArray[np.int64]
    hi: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scaled:
    """One or two branches that wait for their activation; ``adds`` are the additions between."""

    branches: tuple[Branch, ...]
    adds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mean:
    """An average, global or over windows of ``size``, that waits for its activation."""

    layer: str
    source: Tensor
    size: tuple[int, int] | None = None
    strides: tuple[int, int] = (1, 1)


Value = Tensor | Sums | Scaled | Mean


@dataclass
class Lowered:
    """The Graph, the precision of every hls4ml layer, and the bits of the multipliers."""

    graph: Graph
    precision: dict[str, dict[str, str]]
    significant_bits: dict[str, int]


def lower(model: Any, *, name: str, task: str, labels: tuple[str, ...], made_from: str) -> Lowered:
    """Lower an hls4ml ModelGraph that went through the ``optimize`` flow.

    Raises ConvertError naming the layer (and channel) that cannot be converted.
    """
    return _Lowering(model).run(name, task, labels, made_from)


def hls_config(lowered: Lowered) -> dict[str, Any]:
    """The hls4ml configuration with which any hls4ml back end computes the same integers."""
    return {
        "Model": {"Precision": {"default": "fixed<32,16>"}, "ReuseFactor": 1,
                  "Strategy": "Latency"},
        "LayerName": {
            layer: {"Precision": dict(types), "Trace": True}
            for layer, types in lowered.precision.items()
        },
    }  # fmt: skip


@dataclass
class _Lowering:
    model: Any
    values: dict[str, Value] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    precision: dict[str, dict[str, str]] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)

    def run(self, name: str, task: str, labels: tuple[str, ...], made_from: str) -> Lowered:
        layers = list(self.model.get_layers())
        uses = Counter(source for layer in layers for source in layer.inputs)
        for layer in layers:
            sources = [self.values[i] for i in layer.inputs if i in self.values]
            for source, given in zip(layer.inputs, sources, strict=False):
                if not isinstance(given, Tensor) and uses[source] > 1:
                    raise ConvertError(
                        f"the output of layer '{source}' is used {uses[source]} times before its "
                        "activation, which cannot be converted", _STYLE,
                    )  # fmt: skip
            handler = _HANDLERS.get(_kind(layer))
            if handler is None:
                raise ConvertError(
                    f"layer '{layer.name}' is a {_kind(layer)}, which cannot be converted",
                    f"supported: {', '.join(sorted(_HANDLERS))}",
                )
            self.values[layer.outputs[0]] = handler(self, layer, sources)
        self._scores(self.values[self.model.outputs[0]])
        try:
            graph = Graph(name, task, labels, tuple(self.tensors), tuple(self.nodes), made_from)
        except GraphError as error:  # a name or a size that no Graph may have
            raise ConvertError(f"the model makes no Graph: {error.message}", error.hint) from error
        return Lowered(graph, self.precision, self.bits)

    def add(self, node: Node, tensor: Tensor) -> Tensor:
        self.nodes.append(node)
        self.tensors.append(tensor)
        return tensor

    def input(self, layer: Any, sources: list[Value]) -> Value:
        shape = tuple(int(n) for n in layer.get_output_variable().shape)
        if len(shape) != 3:
            raise ConvertError(f"the input has shape {shape}", "images are (H, W, C)")
        self.precision[layer.name] = {"result": formats.unsigned(INPUT_BITS, INPUT_BITS)}
        return self.add(
            Input(layer.name, (), layer.name, INPUT_SHIFT),
            Tensor(layer.name, shape, 0, 255 >> INPUT_SHIFT, INPUT_BITS),
        )

    def conv(self, layer: Any, sources: list[Value]) -> Value:
        weights = _trits(layer).transpose(3, 0, 1, 2)
        get = layer.get_attr
        node = Conv2D(
            layer.name, (_tensor(layer, sources).name,), layer.name, np.ascontiguousarray(weights),
            (get("stride_height"), get("stride_width")),
            (get("pad_top"), get("pad_bottom"), get("pad_left"), get("pad_right")),
        )  # fmt: skip
        return self._sums(layer, node, _tensor(layer, sources))

    def depthwise(self, layer: Any, sources: list[Value]) -> Value:
        weights = _trits(layer)[:, :, :, 0].transpose(2, 0, 1)
        get = layer.get_attr
        node = DepthwiseConv2D(
            layer.name, (_tensor(layer, sources).name,), layer.name, np.ascontiguousarray(weights),
            (get("stride_height"), get("stride_width")),
            (get("pad_top"), get("pad_bottom"), get("pad_left"), get("pad_right")),
        )  # fmt: skip
        return self._sums(layer, node, _tensor(layer, sources))

    def dense(self, layer: Any, sources: list[Value]) -> Value:
        source = _tensor(layer, sources)
        weights = np.ascontiguousarray(_trits(layer).T)
        return self._sums(layer, Dense(layer.name, (source.name,), layer.name, weights), source)

    def _sums(self, layer: Any, node: Ternary, source: Tensor) -> Sums:
        if np.any(layer.weights["bias"].data):
            raise ConvertError(f"layer '{layer.name}' has a bias", _STYLE)
        lo, hi = accumulator_range(node.weights, source)
        shape = tuple(int(n) for n in layer.get_output_variable().shape)
        tensor = Tensor(layer.name, shape, int(lo.min()), int(hi.max()), source.frac_bits)
        kind = formats.signed(formats.sum_width(tensor.lo, tensor.hi), source.frac_bits)
        self.precision[layer.name] = {"result": kind, "accum": kind, "weight": "int<2>"}
        return Sums(self.add(node, tensor), lo, hi)

    def batch_norm(self, layer: Any, sources: list[Value]) -> Value:
        scale = np.asarray(layer.weights["scale"].data, np.float64).ravel()
        bias = np.asarray(layer.weights["bias"].data, np.float64).ravel()
        bad = np.flatnonzero(~(np.isfinite(scale) & np.isfinite(bias)))
        if bad.size:
            raise ConvertError(
                f"layer '{layer.name}' channel {bad[0]}: scale {scale[bad[0]]}, bias "
                f"{bias[bad[0]]} is not a number", "train again; the training diverged",
            )  # fmt: skip
        if type(layer).__name__.endswith("ApplyAlpha"):
            raise ConvertError(f"layer '{layer.inputs[0]}' has no BatchNormalization", _STYLE)
        source = sources[0]
        if isinstance(source, Sums):
            return Scaled((Branch(source.tensor, source.lo, source.hi, layer.name, scale, bias),))
        tensor = _tensor(layer, sources)
        lo, hi = _bounds(tensor)
        return Scaled((Branch(tensor, lo, hi, layer.name, scale, bias),))

    def merge(self, layer: Any, sources: list[Value]) -> Value:
        if layer.get_attr("op") != "add":
            raise ConvertError(
                f"layer '{layer.name}' merges by {layer.get_attr('op')}, which cannot be converted",
                "supported: Add",
            )
        branches: list[Branch] = []
        adds: list[str] = []
        for source in sources:
            if isinstance(source, Scaled):
                branches += source.branches
                adds += source.adds
            elif isinstance(source, Tensor):
                branches.append(Branch(source, *_bounds(source)))
            else:
                raise ConvertError(f"layer '{layer.name}' adds what was not scaled", _STYLE)
        if len(branches) != 2 or len({b.tensor.shape for b in branches}) != 1:
            shapes = " and ".join(str(b.tensor.shape) for b in branches)
            raise ConvertError(
                f"layer '{layer.name}' adds {shapes}", "add two tensors of one shape, then activate"
            )
        return Scaled(tuple(branches), (*adds, layer.name))

    def activation(self, layer: Any, sources: list[Value]) -> Value:
        if layer.get_attr("activation") == "linear":
            return sources[0]
        source = sources[0]
        bits, frac = self._activation_type(layer)
        hi = (1 << bits) - 1
        if isinstance(source, Mean):
            source = self._mean(layer, source, bits, frac)
            if isinstance(source, Tensor) and source.name == layer.name:
                return source
        if isinstance(source, Tensor):
            source = Scaled((Branch(source, *_bounds(source)),))
        if not isinstance(source, Scaled):
            raise ConvertError(f"activation '{layer.name}' comes before the scale", _STYLE)
        return self._requantize(layer.name, source, frac, hi)

    def _activation_type(self, layer: Any) -> tuple[int, int]:
        quantizer = layer.get_attr("activation_quantizer")
        if layer.get_attr("activation") != "relu" or not quantizer:
            raise ConvertError(
                f"activation '{layer.name}' is {layer.get_attr('activation')} without quantiser, "
                "which cannot be converted", _STYLE,
            )  # fmt: skip
        bits, integer = int(quantizer["config"]["bits"]), int(quantizer["config"]["integer"])
        kind = formats.unsigned(bits, bits - integer, _ACTIVATION_MODE)
        self.precision[layer.name] = {"result": kind}
        return bits, bits - integer

    def _mean(self, layer: Any, mean: Mean, bits: int, frac: int) -> Value:
        source = mean.source
        rows, columns, channels = source.shape
        width = source.hi.bit_length()
        fused = frac == source.frac_bits and (1 << bits) - 1 >= source.hi
        extra = MEAN_BITS if fused else 0
        out = layer.name if fused else mean.layer
        pixels = rows * columns if mean.size is None else mean.size[0] * mean.size[1]
        half_even = fused and 1 < pixels <= 1 << MEAN_BITS and pixels & (pixels - 1) == 0
        if half_even:
            self.precision[layer.name] = {"result": formats.unsigned(bits, frac, _MEAN_MODE)}
        total = pixels.bit_length()
        self.precision[mean.layer] = {
            "result": formats.unsigned(width + extra, source.frac_bits + extra),
            "accum": formats.unsigned(width + extra + total, source.frac_bits + extra),
        }
        rounding = pixels // 2 if fused else 0
        if mean.size is None:
            return self.add(
                GlobalAveragePool(mean.layer, (source.name,), out, rounding, half_even),
                Tensor(out, (channels,), source.lo, source.hi, source.frac_bits),
            )
        shape = (windows(rows, mean.size[0], mean.strides[0]),
                 windows(columns, mean.size[1], mean.strides[1]), channels)  # fmt: skip
        return self.add(
            Pool2D(mean.layer, (source.name,), out, "average", mean.size, mean.strides,
                   rounding, half_even),
            Tensor(out, shape, source.lo, source.hi, source.frac_bits),
        )  # fmt: skip

    def _requantize(self, name: str, source: Scaled, frac: int | None, hi: int = 127) -> Tensor:
        branches = list(source.branches)
        chosen = formats.choose(name, name, branches, out_frac=frac, hi=hi)
        self.bits[name] = chosen.significant_bits
        kind = formats.signed(32, chosen.sum_frac)
        for branch, scale_frac in zip(branches, chosen.scale_frac, strict=True):
            if branch.layer is not None and scale_frac is not None:
                self.precision[branch.layer] = {
                    "scale": formats.signed(32, scale_frac, ",RND"),
                    "bias": formats.signed(32, chosen.sum_frac, ",RND"),
                    "result": kind,
                }
        for add in source.adds:
            self.precision[add] = {"result": kind}
        out_frac = chosen.sum_frac if frac is None else frac
        shape = branches[0].tensor.shape
        return self.add(chosen.node, Tensor(name, shape, chosen.lo, chosen.hi, out_frac))

    def average(self, layer: Any, sources: list[Value]) -> Value:
        if layer.get_attr("pool_op") != "Average":
            raise ConvertError(
                f"layer '{layer.name}' is a global maximum", "supported: GlobalAveragePooling2D"
            )
        return Mean(layer.name, _tensor(layer, sources))

    def pool(self, layer: Any, sources: list[Value]) -> Value:
        get, source = layer.get_attr, _tensor(layer, sources)
        size = (get("pool_height"), get("pool_width"))
        strides = (get("stride_height"), get("stride_width"))
        if get("pool_op") != "Max":
            return Mean(layer.name, source, size, strides)
        kind = formats.unsigned(source.hi.bit_length(), source.frac_bits)
        self.precision[layer.name] = {"result": kind, "accum": kind}
        shape = tuple(int(n) for n in layer.get_output_variable().shape)
        return self.add(
            Pool2D(layer.name, (source.name,), layer.name, "max", size, strides),
            Tensor(layer.name, shape, source.lo, source.hi, source.frac_bits),
        )  # fmt: skip

    def reshape(self, layer: Any, sources: list[Value]) -> Value:
        source = _tensor(layer, sources)
        shape = tuple(int(n) for n in layer.get_output_variable().shape)
        kind = formats.unsigned(source.hi.bit_length(), source.frac_bits)
        self.precision[layer.name] = {"result": kind}
        return self.add(
            Reshape(layer.name, (source.name,), layer.name),
            Tensor(layer.name, shape, source.lo, source.hi, source.frac_bits),
        )

    def _scores(self, last: Value) -> None:
        if not isinstance(last, Scaled) or len(last.branches) != 1:
            raise ConvertError("the network does not end in a batch normalisation", _STYLE)
        layer = last.branches[0].layer
        if layer is None:
            raise ConvertError("the network does not end in a batch normalisation", _STYLE)
        self._requantize(layer, last, None)


def _kind(layer: Any) -> str:
    return str(layer.class_name)


def _tensor(layer: Any, sources: list[Value]) -> Tensor:
    if len(sources) != 1 or not isinstance(sources[0], Tensor):
        raise ConvertError(
            f"layer '{layer.name}' reads '{layer.inputs[0]}', which has no activation", _STYLE
        )
    return sources[0]


def _bounds(tensor: Tensor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    channels = tensor.shape[-1]
    return np.full(channels, tensor.lo, np.int64), np.full(channels, tensor.hi, np.int64)


def _trits(layer: Any) -> npt.NDArray[np.int8]:
    weights = dead_channels_to_zero(np.asarray(layer.weights["weight"].data, np.float64))
    trits = np.rint(weights)
    if _scaled(weights):
        raise ConvertError(
            f"layer '{layer.name}' has ternary weights whose scale hls4ml left in them, as it does "
            "with HGQ2's", "train with QKeras's ternary(alpha='auto'), or with Brevitas and QONNX",
        )  # fmt: skip
    if np.abs(weights - trits).max() > 1e-4 or np.abs(trits).max() > 1:
        raise ConvertError(
            f"layer '{layer.name}' has weights that are not -1, 0 or +1 times one scale per "
            "channel", "use ternary(alpha='auto') as kernel quantiser",
        )  # fmt: skip
    return trits.astype(np.int8)


def _scaled(weights: npt.NDArray[np.float64]) -> bool:
    """Whether ``weights`` are trits times a scale that is not 1."""
    sizes = np.unique(np.abs(weights))
    sizes = sizes[sizes > 0]
    return len(sizes) == 1 and abs(sizes[0] - 1) > 1e-4


def dead_channels_to_zero(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Channels whose trits are all 0 have scale 0, and hls4ml divides by it: 0 / 0 becomes 0."""
    return np.nan_to_num(weights, nan=0.0, posinf=np.inf, neginf=-np.inf)


_HANDLERS: dict[str, Any] = {
    "Input": _Lowering.input,
    "InputLayer": _Lowering.input,
    "Conv2D": _Lowering.conv,
    "QConv2D": _Lowering.conv,
    "DepthwiseConv2D": _Lowering.depthwise,
    "QDepthwiseConv2D": _Lowering.depthwise,
    "Dense": _Lowering.dense,
    "QDense": _Lowering.dense,
    "BatchNormalization": _Lowering.batch_norm,
    "ApplyAlpha": _Lowering.batch_norm,
    "Merge": _Lowering.merge,
    "Add": _Lowering.merge,
    "Activation": _Lowering.activation,
    "QActivation": _Lowering.activation,
    "GlobalPooling2D": _Lowering.average,
    "Pooling2D": _Lowering.pool,
    "Reshape": _Lowering.reshape,
}
