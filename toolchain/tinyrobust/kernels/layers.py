"""Fusion: the Graph as layers, each of which one kernel computes.

In: a Graph. Out: its layers in execution order, and how each tensor is stored on the device.
A Conv2D, DepthwiseConv2D or Dense and the sole Requantize that reads it are one layer; a
Requantize of two branches joins the later of its producers and reads the other branch from memory.
A Reshape is no layer: its output is a view of its input; nor is a State, which is there already.
The order is the Graph's, a fused layer standing where its Requantize stands. In family ``tflite``
every other node is a layer by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyrobust.graph.int8 import ScoresInt8, State
from tinyrobust.graph.nodes import (
    INT16,
    TERNARY,
    GlobalAveragePool,
    Graph,
    Node,
    Pool2D,
    Requantize,
    Reshape,
    Ternary,
)
from tinyrobust.graph.verify import accumulator_range

ELEMENT_BYTES = {"u8": 1, "i8": 1, "i16": 2, "i32": 4}


@dataclass(frozen=True, eq=False)
class Layer:
    """One step of the network before a kernel is chosen.

    ``node`` names it and gives its operation; ``requantize`` is what follows in the same step
    (or ``node`` itself when it is a Requantize). ``source`` is the tensor that ``node`` reads
    ("" for the Input), ``operand`` the other branch of a residual or the node's second input (""
    when there is none), ``more`` the inputs after the second, ``branch`` the branch of
    ``requantize`` that the layer's own accumulators are.
    """

    node: Node
    requantize: Requantize | None
    source: str
    operand: str
    branch: int
    output: str
    more: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The layer's name: that of its main node."""
        return self.node.name

    @property
    def op(self) -> str:
        """The main node's operation."""
        return self.node.op

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the Graph's nodes that this layer computes."""
        fused = self.requantize is not None and self.requantize is not self.node
        return (self.node.name, self.requantize.name) if fused and self.requantize else (self.name,)

    @property
    def reads(self) -> tuple[str, ...]:
        """Tensors the layer reads."""
        return tuple(t for t in (self.source, self.operand, *self.more) if t)

    @property
    def finish(self) -> str:
        """What becomes of the accumulators: ``raw``, ``quantise`` or ``scores``; else ``none``."""
        if self.requantize is not None:
            return "scores" if self.requantize.scores else "quantise"
        return "raw" if isinstance(self.node, TERNARY) else "none"


def layers(graph: Graph) -> tuple[Layer, ...]:
    """The layers of ``graph`` in execution order."""
    main = {r.name: n for r in graph.nodes if isinstance(r, Requantize)
            for n in _fused_producer(graph, r)}  # fmt: skip
    absorbed = {node.name for node in main.values()}
    found = []
    for node in graph.nodes:
        if node.name in absorbed or isinstance(node, Reshape | State):
            continue
        if isinstance(node, Requantize):
            found.append(_requantize_layer(node, main.get(node.name)))
        else:
            source, operand, *more = (*node.inputs, "", "")[: max(2, len(node.inputs))]
            found.append(Layer(node, None, source, operand, 0, node.output, tuple(more)))
    return tuple(found)


def _fused_producer(graph: Graph, node: Requantize) -> list[Ternary]:
    """The producer that ``node`` joins: the latest whose accumulators nobody else reads."""
    if len(set(node.inputs)) != len(node.inputs):
        return []
    position = {n.name: i for i, n in enumerate(graph.nodes)}
    found = [
        producer
        for name in node.inputs
        if isinstance(producer := graph.producer(name), TERNARY)
        and sum(1 for _ in graph.consumers(name)) == 1
    ]
    return sorted(found, key=lambda n: position[n.name])[-1:]


def _requantize_layer(node: Requantize, main: Ternary | None) -> Layer:
    own = main.output if main is not None else node.inputs[0]
    branch = node.inputs.index(own)
    others = [name for i, name in enumerate(node.inputs) if i != branch]
    source = main.inputs[0] if main is not None else own
    return Layer(main or node, node, source, others[0] if others else "", branch, node.output)


def view_roots(graph: Graph) -> dict[str, str]:
    """For every tensor the one whose memory it shares through Reshapes and states (itself
    elsewhere)."""
    roots: dict[str, str] = {}
    for node in graph.nodes:
        if node.output in graph.state_of:
            roots[node.output] = graph.state_of[node.output]
            continue
        roots[node.output] = roots[node.inputs[0]] if isinstance(node, Reshape) else node.output
    return roots


def storage(graph: Graph) -> dict[str, str]:
    """Element type on the device of every tensor: ``u8``, ``i8``, ``i16`` or ``i32``.

    Accumulators take int16 where the exact range of every channel fits, else int32. In family
    ``tflite`` the scores are ``i32``, every other tensor what its range says.
    """
    if graph.family == "tflite":
        return {n.output: "i32" if isinstance(n, ScoresInt8) else graph.tensor[n.output].storage
                for n in graph.nodes}  # fmt: skip
    types: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node, TERNARY):
            types[node.output] = "i16" if narrow(graph, node) else "i32"
        elif isinstance(node, Requantize) and node.scores:
            types[node.output] = "i32"
        elif isinstance(node, (Reshape, Pool2D, GlobalAveragePool)):
            types[node.output] = types[node.inputs[0]]
        else:
            types[node.output] = "u8"
    return types


def narrow(graph: Graph, node: Ternary) -> bool:
    """True when every accumulator of ``node`` fits int16, by the exact range of each channel."""
    low, high = accumulator_range(node.weights, graph.tensor[node.inputs[0]])
    return bool(np.all(low >= INT16[0]) and np.all(high <= INT16[1]))
