"""Several nodes for one operator: names and tensors of what lies between them.

In: an operator's Context. Out: the nodes in order, the last of which makes the operator's output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node, Reshape
from tinyrobust.tflite.context import Context, Unsupported, graph_shape, graph_tensor
from tinyrobust.tflite.file import FileTensor

LOOPS = 6
Shape = tuple[int, ...]


@dataclass
class Steps:
    """Nodes under construction; ``output``: which output of the operator they make."""

    context: Context
    output: int = 0
    nodes: list[Node] = field(default_factory=list)

    @property
    def _name(self) -> str:
        part = f".{self.output}" if len(self.context.operator.outputs) > 1 else ""
        return f"{self.context.node_name}{part}.{len(self.nodes)}"

    def read(self, tensor: FileTensor) -> str:
        """The Graph's name of a tensor of the file."""
        return self.context.names[tensor.index]

    def add(
        self, kind: type[Node], inputs: Sequence[str], shape: Shape, like: FileTensor | None = None,
        **fields: Any,
    ) -> str:  # fmt: skip
        """Name of a new tensor of ``shape``, quantised as ``like`` (the output)."""
        out = self.context.output(self.output)
        # A second colon tells it from tensors of the file.
        name = f"{self.context.names[out.index]}:{len(self.nodes)}"
        self.context.temporaries.append(graph_tensor(name, shape, like or out))
        self.nodes.append(kind(self._name, tuple(inputs), name, **fields))
        return name

    def view(self, name: str, shape: Shape, like: FileTensor | None = None) -> str:
        """Another shape of ``name``: nothing moves."""
        return self.add(Reshape, [name], shape, like)

    def move(
        self, name: str, loops: Sequence[tuple[int, int]], begin: int, shape: Shape,
        like: FileTensor | None = None,
    ) -> str:  # fmt: skip
        """A rearrangement of ``name``: ``loops`` of (size, step), the outermost first."""
        merged = merge(loops)
        fields = {"sizes": tuple(n for n, _ in merged), "steps": tuple(m for _, m in merged)}
        return self.add(int8.RearrangeInt8, [name], shape, like, begin=begin, **fields)

    def done(self) -> list[Node]:
        """The nodes; the last one made the output."""
        out = self.context.names[self.context.output(self.output).index]
        last = self.nodes[-1]
        made = [t for t in self.context.temporaries if t.name == last.output]
        for tensor in made:
            self.context.temporaries.remove(tensor)
        return [*self.nodes[:-1], replace(last, output=out)]

    def finish(self, name: str) -> list[Node]:
        """``done`` when the output is ``name`` in another shape."""
        self.view(name, graph_shape(self.context.output(self.output)))
        return self.done()


def merge(loops: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same walk in as few loops as possible, empty ones in front. Raises Unsupported."""
    found: list[tuple[int, int]] = []
    for size, step in loops:
        if size == 1:
            continue
        if found and found[-1][1] == step * size:
            found[-1] = (found[-1][0] * size, step)
        else:
            found.append((size, step))
    if len(found) > LOOPS:
        raise Unsupported(f"moves values in {len(found)} nested loops; at most {LOOPS}")
    return [(1, 0)] * (LOOPS - len(found)) + found


def dense(shape: Sequence[int]) -> list[int]:
    """Elements from one index to the next along every axis of a dense tensor."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]
