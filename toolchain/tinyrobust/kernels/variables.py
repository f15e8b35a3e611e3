"""The variables of a layer that formulas in kernel.yaml may use.

In: a layer, its Graph, and how a kernel is to compute it (core, variant, layouts). Out: named
numbers, worked out when a formula asks for them; ``schema.VARIABLES`` lists the names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.boards.cores import CORES
from tinyrobust.graph.base import aligned
from tinyrobust.graph.int8 import AveragePool2DInt8
from tinyrobust.graph.nodes import TERNARY, Conv2D, DepthwiseConv2D, Graph, Pool2D
from tinyrobust.kernels import expression
from tinyrobust.kernels.layers import Layer, narrow, storage
from tinyrobust.kernels.layouts import HWC, can_hold, stored_bytes
from tinyrobust.kernels.schema import COUNTS_PACKAGE, KernelFile

# What a core offers beyond plain C++.
FEATURES: dict[str, frozenset[str]] = {name: core.features for name, core in CORES.items()}


@dataclass(frozen=True)
class Ports:
    """The layout in which a step reads ``source`` and ``operand`` and writes ``output``."""

    source: str = HWC
    operand: str = HWC
    output: str = HWC


@dataclass(frozen=True)
class Way:
    """A way to run a kernel: one of its variants, and the layouts at its ports.

    What is known when all layers have theirs: ``cached``: code that it writes goes through caches;
    ``over_operand``: its output lies over its operand (None: not known yet).
    """

    variant: Mapping[str, int] = field(default_factory=dict)
    ports: Ports = Ports()
    cached: bool = False
    over_operand: bool | None = None


PLAIN = Way()


class Known(Mapping[str, float]):
    """Values by name, each computed once, when first asked for; ``others`` has further ones."""

    def __init__(
        self, makers: Mapping[str, Callable[[], float]], others: Mapping[str, float] | None = None
    ) -> None:
        self._makers = dict(makers)
        self._others: Mapping[str, float] = {} if others is None else others
        self._values: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        value = self._values.get(name)
        if value is None:
            make = self._makers.get(name)
            value = self._values[name] = self._others[name] if make is None else make()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter({**self._makers, **dict.fromkeys(self._others)})

    def __len__(self) -> int:
        return len({**self._makers, **dict.fromkeys(self._others)})


def known_names(file: KernelFile, layer: Layer, graph: Graph, core: str, way: Way = PLAIN) -> Known:
    """What the formulas of a kernel may name on ``layer``."""
    plain = variables(layer, graph, core, way.ports, cached=way.cached)
    makers: dict[str, Callable[[], float]]
    makers = {name: _constant(value) for name, value in way.variant.items()}
    if file.counts is not None:
        names = importlib.import_module(f"{COUNTS_PACKAGE}.{file.counts}").NAMES
        variant = tuple(sorted(way.variant.items()))
        if way.over_operand is not None:
            variant += (("over_operand", int(way.over_operand)),)
        makers |= {
            name: lambda name=name: _counts(file.counts, layer, graph, variant)[name]  # type: ignore[misc]
            for name in names
        }
    given = Known(makers, plain)
    return Known({name: _formula(text, given) for name, text in file.let.items()}, given)


def _constant(value: float) -> Callable[[], float]:
    return lambda: value


def _item(known: Mapping[str, float], name: str) -> Callable[[], float]:
    return lambda: known[name]


def _formula(text: str, known: Mapping[str, float]) -> Callable[[], float]:
    return lambda: expression.evaluate(text, known)


@lru_cache(maxsize=1024)
def _counts(
    module: str, layer: Layer, graph: Graph, variant: tuple[tuple[str, int], ...]
) -> dict[str, float]:
    found = importlib.import_module(f"{COUNTS_PACKAGE}.{module}")
    return dict(found.counts(layer, graph, dict(variant)))


def variables(
    layer: Layer, graph: Graph, core: str, ports: Ports = PLAIN.ports, *, cached: bool = False
) -> Known:
    """Every variable of ``layer``.

    ``taps``: weights of one output channel; ``nonzero``: weights that are not zero;
    ``sign_pairs``: pairs of equal nonzero weights, per output channel and rounded up;
    ``shared_pairs``: the same where two neighbouring channels share (``shared_lists`` packing);
    ``edge_pixels``: output pixels whose window crosses the left or right edge, ``border_pixels``:
    any edge; ``wide``: 1 when accumulators need int32; ``input_max``: largest value of the source;
    ``source_bytes``, ``operand_bytes``, ``output_bytes``: what the tensors take in memory, borders
    counted; the flags ``residual``, ``raw``, ``scores``, ``operand_wide``, ``source_16`` (int16),
    ``average``, ``dsp`` (the core has the instructions), ``planar_source``, ``planar_operand``,
    ``planar_output``, and ``cached`` (code that the kernel writes goes through caches) are 1 or 0;
    ``compiled_size`` is the core's (``boards/cores.py``).
    """
    shared = _of_layer(layer, graph)
    makers: dict[str, Callable[[], float]] = {}
    makers["dsp"] = _constant(int("dsp" in FEATURES[core]))
    makers["cached"] = _constant(int(cached))
    makers["compiled_size"] = _constant(CORES[core].compiled_size)  # type: ignore[index]
    tensors = {"source": layer.source, "operand": layer.operand, "output": layer.output}
    for port, name in tensors.items():
        layout = getattr(ports, port)
        makers[f"planar_{port}"] = _constant(int(layout != HWC))
        makers[f"{port}_bytes"] = _bytes(name, graph, layout)
    return Known(makers, shared)


def _bytes(name: str, graph: Graph, layout: str) -> Callable[[], float]:
    if name not in graph.tensor:  # no such port, or the copy that a layout change writes
        return _constant(0)

    def stored() -> float:
        tensor, type_ = graph.tensor[name], stored_types(graph)[name]
        return stored_bytes(tensor, type_, layout) if can_hold(tensor, type_, layout) else 0

    return stored


@lru_cache(maxsize=64)
def stored_types(graph: Graph) -> Mapping[str, str]:
    """``layers.storage`` of ``graph``, worked out once."""
    return storage(graph)


@lru_cache(maxsize=1024)
def _of_layer(layer: Layer, graph: Graph) -> Known:
    node: Any = layer.node
    source = graph.tensor[layer.source or layer.output]
    out = graph.tensor.get(layer.output, source)
    (in_h, in_w, in_c), (out_h, out_w, out_c) = _hwc(source.shape), _hwc(out.shape)
    numbers: dict[str, float] = {
        "in_h": in_h, "in_w": in_w, "in_c": in_c, "inputs": source.size,
        "out_h": out_h, "out_w": out_w, "out_c": out_c, "outputs": out.size,
        "pixels": out_h * out_w, "macs": graph.macs(node), "input_max": source.hi,
        "kernel_h": 1, "kernel_w": 1, "stride_y": 1, "stride_x": 1, "pad_top": 0, "pad_left": 0,
        "taps": 1, "nonzero": 0, "sign_pairs": 0, "shared_pairs": 0,
        "edge_pixels": 0, "border_pixels": 0, "average": 0, "wide": 0,
        "residual": int(bool(layer.operand)), "raw": int(layer.finish == "raw"),
        "scores": int(layer.finish == "scores"),
        "source_16": int(bool(layer.source) and stored_types(graph)[layer.source] == "i16"),
        "operand_wide": int(bool(layer.operand) and stored_types(graph)[layer.operand] == "i32"),
    }  # fmt: skip
    if isinstance(node, (Conv2D, DepthwiseConv2D)):
        numbers["kernel_h"], numbers["kernel_w"] = node.weights.shape[1:3]
        numbers["pad_top"], numbers["pad_left"] = node.pads[0], node.pads[2]
        columns = _crossing(in_w, out_w, node.weights.shape[2], node.strides[1], node.pads[2])
        rows = _crossing(in_h, out_h, node.weights.shape[1], node.strides[0], node.pads[0])
        numbers["edge_pixels"] = out_h * columns
        numbers["border_pixels"] = out_h * out_w - (out_h - rows) * (out_w - columns)
    if isinstance(node, Pool2D):
        numbers["kernel_h"], numbers["kernel_w"] = node.size
        numbers["average"] = int(node.kind == "average")
    if isinstance(node, AveragePool2DInt8):
        numbers["kernel_h"], numbers["kernel_w"] = node.size
    if isinstance(node, (Conv2D, DepthwiseConv2D, Pool2D, AveragePool2DInt8)):
        numbers["stride_y"], numbers["stride_x"] = node.strides
    makers = {name: _constant(value) for name, value in numbers.items()}
    if isinstance(node, TERNARY):
        flat = node.weights.reshape(len(node.weights), -1)
        makers["taps"] = _constant(flat.shape[1])
        makers["nonzero"] = lambda: int(np.count_nonzero(flat))
        makers["sign_pairs"] = lambda: _pairs(flat)
        makers["shared_pairs"] = lambda: _shared_pairs(flat)
        makers["wide"] = lambda: int(not narrow(graph, node))
    return Known(makers)


def _pairs(rows: npt.NDArray[np.int8]) -> int:
    """Pairs of -1 and pairs of +1 in every row of trits, rounded up."""
    return sum(int(((np.count_nonzero(rows == s, axis=1) + 1) // 2).sum()) for s in (-1, 1))


def _shared_pairs(rows: npt.NDArray[np.int8]) -> int:
    """``_pairs`` after two neighbouring rows became four: equal, opposite, first, second only."""
    even = len(rows) // 2 * 2
    first, second = rows[0:even:2], rows[1:even:2]
    both = first * second
    classes = (np.where(both > 0, first, 0), np.where(both < 0, first, 0),
               np.where(second == 0, first, 0), np.where(first == 0, second, 0))  # fmt: skip
    return sum(_pairs(part) for part in (*classes, rows[even:]))


def _hwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = aligned(shape)
    return height, width, channels


def _crossing(size: int, outputs: int, kernel: int, stride: int, before: int) -> int:
    """How many of the windows along one axis cross its ends."""
    first = np.arange(outputs) * stride - before
    return int(np.count_nonzero((first < 0) | (first + kernel > size)))
