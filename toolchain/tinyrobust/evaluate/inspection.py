"""A network looked at before anything is compiled: what it holds, and what it will take.

In: a Graph, and the Plan for a board. Out: facts per layer, and the arena over time. All costs
are predictions (``kernels.predict``); ``build`` measures and ``bench`` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyrobust.graph import Graph
from tinyrobust.graph.base import Node, Tensor
from tinyrobust.graph.int8 import Weighted
from tinyrobust.kernels import Ports, copy_name, view_roots
from tinyrobust.memory import Plan
from tinyrobust.memory.lifetimes import image_name, reads


@dataclass(frozen=True)
class NodeFacts:
    """A node of the Graph: its operation, shapes, the output's quantisation, MACs and weights.

    ``scale`` and ``zero_point`` are those of the output; ``weights`` counts elements,
    ``weight_bits`` is 0 where there are none; ``per_channel``: the scales of the weights differ.
    """

    name: str
    op: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    scale: float
    zero_point: int
    macs: int
    weights: int
    weight_bits: int
    per_channel: bool


@dataclass(frozen=True)
class Inspection:
    """Everything that ``inspect`` shows of a plan; ``in_use_bytes``: of the arena, per step."""

    plan: Plan
    blocks: tuple[Block, ...]
    in_use_bytes: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """Bytes of the arena that are in use from step ``first`` to step ``last``.

    ``kind``: ``input`` (the raw image), ``tensor``, ``scratch``.
    """

    name: str
    kind: str
    offset: int
    bytes: int
    first: int
    last: int


def nodes(graph: Graph) -> tuple[NodeFacts, ...]:
    """Facts of every node in execution order."""
    return tuple(_facts(graph, node) for node in graph.nodes)


def inspect(plan: Plan) -> Inspection:
    """The arena over time, from the plan alone."""
    found = blocks(plan)
    return Inspection(plan, found, tuple(in_use(found, i) for i in range(len(plan.steps))))


def _facts(graph: Graph, node: Node) -> NodeFacts:
    out = graph.tensor[node.output]
    weights = node.arrays.get("weights")
    scale, zero_point = _quantisation(out)
    return NodeFacts(
        name=node.name,
        op=node.op,
        inputs=tuple(graph.tensor[name].shape for name in node.inputs),
        output=out.shape,
        scale=scale,
        zero_point=zero_point,
        macs=graph.macs(node),
        weights=0 if weights is None else int(weights.size),
        weight_bits=_bits(node) if weights is not None else 0,
        per_channel=isinstance(node, Weighted) and _differs(node),
    )


def _quantisation(tensor: Tensor) -> tuple[float, int]:
    if tensor.scale is not None:
        return tensor.scale, tensor.zero_point
    return 2.0**-tensor.frac_bits, 0


def _bits(node: Node) -> int:
    return node.weight_bits if isinstance(node, Weighted) else 2


def _differs(node: Weighted) -> bool:
    return len(np.unique(np.stack([node.multipliers, node.shifts]), axis=1).T) > 1


def blocks(plan: Plan) -> tuple[Block, ...]:
    """What lies in the arena and when, by offset; a tensor that nobody reads lives one step."""
    roots = view_roots(plan.graph)
    made = {step.output: i for i, step in enumerate(plan.steps)}
    entries = {image_name(i): made[p.tensor] for i, p in enumerate(plan.graph.inputs)}
    used = made | entries  # every input is written before the first step
    made |= dict.fromkeys(entries, 0)
    for i in range(len(plan.steps)):
        for name in _read_places(plan, i):
            used[name] = i
    used |= {roots[port.tensor]: len(plan.steps) - 1 for port in plan.graph.results}
    found = [
        Block(name, "input" if name in entries else "tensor", place.offset, place.bytes,
              made[name], used[name])
        for name, place in plan.places.items() if name in made
    ]  # fmt: skip
    found += [
        Block(step.name, "scratch", step.scratch_offset, step.scratch_bytes, i, i)
        for i, step in enumerate(plan.steps) if step.scratch_bytes
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda b: (b.offset, b.first)))


def _read_places(plan: Plan, position: int) -> set[str]:
    """Names in ``plan.places`` of what a step reads: a tensor, or its copy in another layout."""
    ports = Ports(**plan.steps[position].layout)
    found = set()
    for read in reads(plan.layers[position], ports, view_roots(plan.graph)):
        own = plan.places[read.root].layout == read.layout
        found.add(read.root if own else copy_name(read.root, read.layout))
    return found


def in_use(found: Sequence[Block], step: int) -> int:
    """Bytes of the arena in use during ``step``; blocks that share bytes count once."""
    spans = sorted((b.offset, b.offset + b.bytes) for b in found if b.first <= step <= b.last)
    total = end = 0
    for low, high in spans:
        total += max(0, high - max(low, end))
        end = max(end, high)
    return total


def strip(found: Sequence[Block], plan: Plan, step: int, width: int) -> str:
    """The arena during ``step`` as a line of ``width`` characters: ``#`` what the step writes,
    ``=`` what it reads, ``s`` its scratch, ``.`` what waits for later, blank what is free."""
    current = plan.steps[step]
    entering = [image_name(i) for i, p in enumerate(plan.graph.inputs)
                if p.tensor == current.output]  # fmt: skip
    read = {*_read_places(plan, step), *entering}
    cells = [" "] * width
    rank = " .=s#"
    for block in found:
        if not block.first <= step <= block.last:
            continue
        mark = ("s" if block.kind == "scratch" else "#" if block.name == current.output
                else "=" if block.name in read else ".")  # fmt: skip
        first = block.offset * width // max(plan.arena_bytes, 1)
        last = -(-(block.offset + block.bytes) * width // max(plan.arena_bytes, 1))
        for i in range(first, min(last, width)):
            if rank.index(mark) > rank.index(cells[i]):
                cells[i] = mark
    return "".join(cells)
