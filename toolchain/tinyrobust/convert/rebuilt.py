"""hls4ml's C simulation of any Graph of family ``fixed``, whatever it was made from.

In: a Graph. Out: an ``Oracle`` (``oracle.py``) whose integers are those of hls4ml's own kernels in
C++, with types that mean the Graph's rules. It is independent of this project's arithmetic, not of
what read the network: for that compare with the trainer, or with qonnx's executor.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import artefact
from tinyrobust.convert import formats, oracle
from tinyrobust.convert.formats import PRODUCT_SHIFT
from tinyrobust.convert.lowering import MEAN_BITS
from tinyrobust.convert.oracle import PROJECT, Oracle
from tinyrobust.convert.plugin import ensure_registered, quiet
from tinyrobust.convert.simulation import intact
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph
from tinyrobust.graph.nodes import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Input,
    Node,
    Pool2D,
    Requantize,
    Reshape,
    Tensor,
)

_SOURCES = ("rebuilt.py", "formats.py", "oracle.py", "simulation.py")
_LAST = {"data_format": "channels_last"}


def compile(graph: Graph, out_dir: Path) -> Oracle:
    """Compile hls4ml's C simulation of ``graph`` into ``out_dir``.

    Raises ConvertError when hls4ml or a compiler is missing, or hls4ml has no type for a node.
    """
    ensure_registered()
    from hls4ml.model import ModelGraph
    from hls4ml.utils.config import create_config

    made = _Layers(graph)
    config = create_config(
        output_dir=str(out_dir), project_name=PROJECT, backend="Vivado", io_type="io_stream"
    )
    config["HLSConfig"] = {
        "Model": {"Precision": {"default": "fixed<32,16>"}, "ReuseFactor": 1,
                  "Strategy": "Latency"},
        "LayerName": {n: {"Precision": types, "Trace": True} for n, types in made.types.items()},
    }  # fmt: skip
    with quiet():
        hls = ModelGraph.from_layer_list(
            config, made.layers, [made.layers[0]["name"]], [made.layers[-1]["name"]]
        )
    return oracle.build(hls, out_dir, graph, names=made.names)


def for_graph(graph: Graph) -> Oracle:
    """The Oracle of ``graph``, from the cache if there. Raises as ``compile``."""
    made = _Layers(graph)
    sources = b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)
    target = oracle.cache() / artefact.sha256(sources + graph.sha256.encode())[:24]
    with oracle.locked(target.with_suffix(".lock")):
        if not intact(target):
            shutil.rmtree(target, ignore_errors=True)
            compile(graph, target)
    return Oracle(target, graph, names=made.names)


class _Layers:
    """hls4ml's layers, their types, and the layer that gives each tensor of the Graph."""

    def __init__(self, graph: Graph) -> None:
        if graph.family != "fixed":
            raise ConvertError(
                f"hls4ml has no types for arithmetic family '{graph.family}'",
                "int8 networks are checked against TensorFlow Lite",
            )
        self.graph = graph
        self.layers: list[dict[str, Any]] = []
        self.types: dict[str, dict[str, str]] = {}
        self.names: dict[str, str] = {}
        for node in graph.nodes:
            _BUILD[type(node)](self, node, graph.tensor[node.output])

    def add(
        self, kind: str, types: dict[str, str], inputs: list[str], output: str = "", **more: Any
    ) -> str:
        name = f"layer{len(self.layers)}"  # the Graph's names need be none in C++
        self.layers.append({"class_name": kind, "name": name, "inputs": inputs, **_LAST, **more})
        self.types[name] = types
        if output:
            self.names[output] = name
        return name

    def source(self, node: Node) -> Tensor:
        return self.graph.tensor[node.inputs[0]]

    def input(self, node: Input, out: Tensor) -> None:
        kind = formats.unsigned(out.hi.bit_length(), out.frac_bits)
        self.add("InputLayer", {"result": kind}, [], out.name, input_shape=list(out.shape))

    def conv(self, node: Conv2D | DepthwiseConv2D, out: Tensor) -> None:
        source, depthwise = self.source(node), isinstance(node, DepthwiseConv2D)
        weights = node.weights[..., None] if depthwise else node.weights
        more = {
            "in_height": source.shape[0], "in_width": source.shape[1], "n_chan": source.shape[2],
            "out_height": out.shape[0], "out_width": out.shape[1], "n_filt": out.shape[2],
            "filt_height": weights.shape[1], "filt_width": weights.shape[2],
            "stride_height": node.strides[0], "stride_width": node.strides[1],
            **dict(zip(("pad_top", "pad_bottom", "pad_left", "pad_right"), node.pads, strict=True)),
            "padding": "same" if any(node.pads) else "valid",
        }  # fmt: skip
        if depthwise:
            more |= {"depth_multiplier": 1, "depthwise_data": _float(weights.transpose(1, 2, 0, 3))}
        else:
            more["weight_data"] = _float(weights.transpose(1, 2, 3, 0))
        self._weighted("DepthwiseConv2D" if depthwise else "Conv2D", node, out, more)

    def dense(self, node: Dense, out: Tensor) -> None:
        more = {
            "n_in": node.weights.shape[1],
            "n_out": len(node.weights),
            "weight_data": _float(node.weights.T),
        }
        self._weighted("Dense", node, out, more)

    def _weighted(self, kind: str, node: Node, out: Tensor, more: dict[str, Any]) -> None:
        result = formats.signed(formats.sum_width(out.lo, out.hi), out.frac_bits)
        types = {"result": result, "accum": result, "weight": "int<2>", "bias": "int<2>"}
        inputs = [self.names[node.inputs[0]]]
        self.add(kind, types, inputs, out.name, bias_data=np.zeros(out.shape[-1]),
                 weight_quantizer=None, bias_quantizer=None, **more)  # fmt: skip

    def requantize(self, node: Requantize, out: Tensor) -> None:
        frac = out.frac_bits + node.shift  # of the sum t
        kind = formats.signed(32, frac)
        names = []
        for i, source in enumerate(node.inputs):
            tensor = self.graph.tensor[source]
            scale_frac = frac + PRODUCT_SHIFT - tensor.frac_bits
            bias = node.bias if i == 0 else np.zeros_like(node.bias)
            types = {"scale": formats.signed(32, scale_frac, ",RND"),
                     "bias": formats.signed(32, frac, ",RND"), "result": kind}  # fmt: skip
            last = node.scores and len(node.inputs) == 1
            names.append(self.add(
                "BatchNormalization", types, [self.names[source]], out.name if last else "",
                n_in=tensor.size, n_out=tensor.size,
                n_filt=tensor.shape[-1] if len(tensor.shape) == 3 else -1,
                scale_data=node.multipliers[i] * 2.0**-scale_frac, bias_data=bias * 2.0**-frac,
            ))  # fmt: skip
        if len(names) == 2:
            names = [self.add("Merge", {"result": kind}, names, op="add")]
        if not node.scores:
            if node.lo != 0 or node.hi & (node.hi + 1):
                raise ConvertError(
                    f"hls4ml has no type of range {node.lo}..{node.hi} ('{node.name}')",
                    "use whole bits",
                )
            self._activation(node.hi.bit_length(), out, "RND", names)

    def _activation(self, bits: int, out: Tensor, mode: str, inputs: list[str]) -> None:
        kind = formats.unsigned(bits, out.frac_bits, f",{mode},SAT")
        self.add("Activation", {"result": kind}, inputs, out.name,
                 activation="relu", n_in=out.size)  # fmt: skip

    def pool(self, node: Pool2D, out: Tensor) -> None:
        source = self.source(node)
        more = {
            "in_height": source.shape[0], "in_width": source.shape[1], "n_filt": source.shape[2],
            "out_height": out.shape[0], "out_width": out.shape[1],
            "pool_height": node.size[0], "pool_width": node.size[1],
            "stride_height": node.strides[0], "stride_width": node.strides[1],
            "pad_top": 0, "pad_bottom": 0, "pad_left": 0, "pad_right": 0,
        }  # fmt: skip
        if node.kind == "max":
            kind = formats.unsigned(source.hi.bit_length(), source.frac_bits)
            types = {"result": kind, "accum": kind}
            self.add("MaxPooling2D", types, [self.names[source.name]], out.name, **more)
            return
        self._mean("AveragePooling2D", node, out, node.size[0] * node.size[1], more)

    def average(self, node: GlobalAveragePool, out: Tensor) -> None:
        height, width, channels = self.source(node).shape
        more = {"in_height": height, "in_width": width, "n_filt": channels, "keepdims": False}
        self._mean("GlobalAveragePooling2D", node, out, height * width, more)

    def _mean(
        self, kind: str, node: Pool2D | GlobalAveragePool, out: Tensor, pixels: int,
        more: dict[str, Any],
    ) -> None:  # fmt: skip
        source = self.source(node)
        extra = MEAN_BITS if node.rounding else 0
        bits, frac = source.hi.bit_length(), source.frac_bits
        types = {
            "result": formats.unsigned(bits + extra, frac + extra),
            "accum": formats.unsigned(bits + extra + pixels.bit_length(), frac + extra),
        }
        name = self.add(kind, types, [self.names[source.name]], "" if extra else out.name, **more)
        if extra:
            self._activation(bits, out, "RND_CONV" if node.half_even else "RND", [name])

    def reshape(self, node: Reshape, out: Tensor) -> None:
        source = self.source(node)
        kind = formats.unsigned(source.hi.bit_length(), source.frac_bits)
        self.add("Reshape", {"result": kind}, [self.names[source.name]], out.name,
                 target_shape=list(out.shape))  # fmt: skip


def _float(weights: Any) -> Any:
    return np.ascontiguousarray(weights, np.float64)


_BUILD: dict[type[Node], Any] = {
    Input: _Layers.input,
    Conv2D: _Layers.conv,
    DepthwiseConv2D: _Layers.conv,
    Dense: _Layers.dense,
    Requantize: _Layers.requantize,
    Pool2D: _Layers.pool,
    GlobalAveragePool: _Layers.average,
    Reshape: _Layers.reshape,
}
