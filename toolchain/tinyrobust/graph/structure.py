"""What a Graph consists of, and what can be asked of it, whether or not its rules hold.

In: nodes and tensors. Out: lookups, the plain data of the file, the content hash. The verifier
works on this; everybody else holds a ``Graph`` (``nodes.py``), which cannot be made unverified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinyrobust.artefact import canonical_json
from tinyrobust.graph import fixed, int8
from tinyrobust.graph.base import Node, Port, Reshape, Tensor

FAMILIES: dict[str, dict[str, type[Node]]] = {
    "fixed": {t.op: t for t in fixed.NODES},
    "tflite": {t.op: t for t in int8.NODES} | {Reshape.op: Reshape},
}
ENTRIES = (fixed.Input, int8.InputInt8, int8.InputRaw)
SCORES = "scores"
NODE_TYPES: dict[str, type[Node]] = FAMILIES["fixed"] | FAMILIES["tflite"]


@dataclass(frozen=True, eq=False)
class Structure:
    """An integer network: ``nodes`` in execution order over ``tensors``."""

    name: str
    task: str
    labels: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    made_from: str = ""  # content hash of the trained model
    family: str = "fixed"
    outputs: tuple[Port, ...] = ()

    @cached_property
    def tensor(self) -> dict[str, Tensor]:
        """Tensors by name."""
        return {t.name: t for t in self.tensors}

    @cached_property
    def node(self) -> dict[str, Node]:
        """Nodes by name."""
        return {n.name: n for n in self.nodes}

    @property
    def classifier(self) -> bool:
        """True when the output is scores of classes; else tensors that mean something else."""
        return not self.outputs

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """What comes in, in order: the nodes that read nothing, and the tensors they make."""
        return tuple(Port(n.name, n.output) for n in self.nodes if isinstance(n, ENTRIES))

    @cached_property
    def results(self) -> tuple[Port, ...]:
        """What goes out, in order; of a classifier its scores."""
        return self.outputs or (Port(SCORES, self.nodes[-1].output),)

    @cached_property
    def states(self) -> tuple[Port, ...]:
        """What survives from one run to the next, in order."""
        return tuple(Port(n.name, n.output) for n in self.nodes if isinstance(n, int8.State))

    @cached_property
    def state_of(self) -> dict[str, str]:
        """For each tensor that lies in a state's memory that state's tensor: itself, its reshapes,
        and what an Assign makes of it."""
        found: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, int8.State):
                found[node.output] = node.output
            elif isinstance(node, int8.Assign):
                found[node.output] = found.get(node.inputs[1], node.inputs[1])
            elif isinstance(node, Reshape) and node.inputs[0] in found:
                found[node.output] = found[node.inputs[0]]
        return found

    @property
    def input(self) -> Tensor:
        """The tensor that the first input makes; of a classifier its shape is the image's."""
        return self.tensor[self.inputs[0].tensor]

    @property
    def output(self) -> Tensor:
        """The first output; of a classifier the scores."""
        return self.tensor[self.results[0].tensor]

    @property
    def output_count(self) -> int:
        """Elements of all outputs."""
        return sum(self.tensor[port.tensor].size for port in self.results)

    def consumers(self, tensor: str) -> Iterator[Node]:
        """Nodes that read ``tensor``."""
        return (n for n in self.nodes if tensor in n.inputs)

    def producer(self, tensor: str) -> Node:
        """The node that makes ``tensor``."""
        return next(n for n in self.nodes if n.output == tensor)

    def header(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data (stored in the file, hashed)."""
        outputs = [[port.name, port.tensor] for port in self.outputs]
        return {
            **({"outputs": outputs} if outputs else {}),  # none: the hash of older files
            "name": self.name,
            "task": self.task,
            "family": self.family,
            "labels": list(self.labels),
            "made_from": self.made_from,
            "tensors": [t.header() for t in self.tensors],
            "nodes": [
                {"op": n.op, "name": n.name, "inputs": list(n.inputs), "output": n.output,
                 "arrays": sorted(n.arrays),
                 **{k: list(v) if isinstance(v, tuple) else v for k, v in n.scalars.items()}}
                for n in self.nodes
            ],
        }  # fmt: skip

    @cached_property
    def sha256(self) -> str:
        """Content hash of everything the device must know: header and arrays."""
        digest = hashlib.sha256(canonical_json(self.header()).encode())
        for node in self.nodes:
            for key in sorted(node.arrays):
                array = node.arrays[key]
                digest.update(f"{node.name}/{key}{array.shape}{array.dtype.str}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def macs(self, node: Node) -> int:
        """Dense multiply-accumulates of ``node`` (zeros counted), 0 for other operations."""
        if node.output not in self.tensor:  # a step that is no node of the Graph
            return 0
        return node.macs(self.tensor[node.output].shape)
