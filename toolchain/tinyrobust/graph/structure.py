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
from tinyrobust.graph.base import Node, Reshape, Tensor

FAMILIES: dict[str, dict[str, type[Node]]] = {
    "fixed": {t.op: t for t in fixed.NODES},
    "tflite": {t.op: t for t in int8.NODES} | {Reshape.op: Reshape},
}
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

    @cached_property
    def tensor(self) -> dict[str, Tensor]:
        """Tensors by name."""
        return {t.name: t for t in self.tensors}

    @cached_property
    def node(self) -> dict[str, Node]:
        """Nodes by name."""
        return {n.name: n for n in self.nodes}

    @property
    def input(self) -> Tensor:
        """The tensor that the Input node makes; its shape is the image's."""
        return self.tensor[self.nodes[0].output]

    @property
    def output(self) -> Tensor:
        """The scores."""
        return self.tensor[self.nodes[-1].output]

    def consumers(self, tensor: str) -> Iterator[Node]:
        """Nodes that read ``tensor``."""
        return (n for n in self.nodes if tensor in n.inputs)

    def producer(self, tensor: str) -> Node:
        """The node that makes ``tensor``."""
        return next(n for n in self.nodes if n.output == tensor)

    def header(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data (stored in the file, hashed)."""
        return {
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
