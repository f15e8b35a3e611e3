"""How much RAM the network takes at each step, as a function of the options chosen.

In: the layers and their options. Out: for every tensor how long it is needed and its bytes in
each layout; for every step what each of its options adds: its output where that does not lie over
an input, and scratch; and the sum for a choice. No arena can be smaller than the largest sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Layer, storage, stored_bytes, view_roots
from tinyrobust.kernels.layouts import can_hold
from tinyrobust.memory.arena import aligned, shared_bytes
from tinyrobust.memory.lifetimes import image_bytes, may_overwrite, output_bytes, reads
from tinyrobust.memory.options import Option

LAYOUTS = ("hwc", "planar4")


@dataclass(frozen=True)
class Held:
    """A tensor that step ``made`` writes and that is needed until step ``last``: its bytes by
    layout, the layout that each option of its writer gives it, and by reader (a step) the layout
    that each option wants."""

    tensor: str
    made: int
    last: int
    sizes: Mapping[str, int]
    written: tuple[str, ...]
    wanted: Mapping[int, tuple[str, ...]]

    @property
    def settled(self) -> str:
        """The one layout that is possible without changes, or empty."""
        layouts = {*self.written, *(w for row in self.wanted.values() for w in row)}
        return self.written[0] if len(layouts) == 1 else ""


@dataclass(frozen=True)
class Demand:
    """What the network needs: its tensors, and ``own[i][j]`` bytes of option j of step i."""

    tensors: tuple[Held, ...]
    own: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, order=True)
class Change:
    """``tensor`` is written once more in ``layout`` just before ``step``."""

    step: int
    tensor: str
    layout: str


def demand(graph: Graph, layers: Sequence[Layer], options: Sequence[Sequence[Option]]) -> Demand:
    """What ``layers`` need in RAM."""
    types, roots = storage(graph), view_roots(graph)
    states = graph.state_of
    used = {layer.output: i for i, layer in enumerate(layers)}
    for i, layer in enumerate(layers):
        for name in layer.reads:
            used[roots[name]] = i
    for port in graph.results:
        used[roots[port.tensor]] = len(layers)
    wanted: dict[str, dict[int, tuple[str, ...]]] = {layer.output: {} for layer in layers}
    for i, (layer, row) in enumerate(zip(layers, options, strict=True)):
        for root in {roots[t] for t in layer.reads} - {*states}:
            wanted[root][i] = tuple(_layout(layer, o, root, roots) for o in row)
    tensors = []
    for i, (layer, row) in enumerate(zip(layers, options, strict=True)):
        if layer.output in states:
            continue
        tensor = graph.tensor[layer.output]
        sizes = {
            layout: aligned(stored_bytes(tensor, types[tensor.name], layout))
            for layout in LAYOUTS if can_hold(tensor, types[tensor.name], layout)
        }  # fmt: skip
        tensors.append(
            Held(tensor.name, i, used[tensor.name], sizes,
                 tuple(o.way.ports.output for o in row), wanted[tensor.name])
        )  # fmt: skip
    own = tuple(
        tuple(_own(layer, o, i, graph, types, roots, used) for o in row)
        for i, (layer, row) in enumerate(zip(layers, options, strict=True))
    )
    return Demand(tuple(tensors), own)


def state_bytes(graph: Graph) -> int:
    """Bytes behind the arena that states take at all times."""
    return sum(aligned(graph.tensor[port.tensor].bytes) for port in graph.states)


def _layout(layer: Layer, option: Option, root: str, roots: dict[str, str]) -> str:
    """The layout in which ``option`` reads ``root``; every port that reads it wants the same."""
    found = {r.layout for r in reads(layer, option.way.ports, roots) if r.root == root}
    return found.pop() if len(found) == 1 else ""


def _own(
    layer: Layer, option: Option, step: int, graph: Graph, types: dict[str, str],
    roots: dict[str, str], used: Mapping[str, int],
) -> int:  # fmt: skip
    """Bytes of what the step writes and scratches, less what lies over its inputs."""
    kept = state_bytes(graph)
    if layer.output in graph.state_of:
        return kept + aligned(option.cost.scratch_bytes)
    output = output_bytes(layer, option.way.ports, graph, types)
    sizes: dict[tuple[str, str], int] = {}
    ports: dict[tuple[str, str], list[str]] = {}
    for read in reads(layer, option.way.ports, roots):
        if read.root in graph.state_of:
            continue
        key = read.root, read.layout
        sizes[key] = stored_bytes(graph.tensor[read.root], types[read.root], read.layout)
        ports.setdefault(key, []).append(read.port)
    image = later = 0
    if not layer.source:
        at = [port.tensor for port in graph.inputs].index(layer.output)
        image = sizes["", ""] = image_bytes(graph, at)
        ports["", ""] = ["source"]
        later = sum(aligned(image_bytes(graph, i)) for i in range(at + 1, len(graph.inputs)))
    saved = 0
    for key, size in sizes.items():
        if key[0] and used[key[0]] != step:
            continue
        if any(may_overwrite(option.kernel, layer, port, graph, types) for port in ports[key]):
            saved = max(saved, min(aligned(size), aligned(output)))
        if option.overlap is not None and ports[key] == ["source"]:
            saved = max(saved, shared_bytes(output, size, option.overlap))
    return (
        kept + later + aligned(image) + aligned(output) - saved + aligned(option.cost.scratch_bytes)
    )


def spans(
    held: Held, taken: Sequence[int], changes: Sequence[Change]
) -> Iterator[tuple[str, int, int]]:
    """(layout, first step, last step) for every layout in which the tensor exists after the step
    that makes it. A change just before a step counts as of that step."""
    mine = [c for c in changes if c.tensor == held.tensor]
    starts = {held.written[taken[held.made]]: held.made + 1}
    starts |= {c.layout: c.step for c in mine}
    for layout, first in starts.items():
        ends = [i for i, row in held.wanted.items() if row[taken[i]] == layout]
        ends += [c.step for c in mine if c.layout != layout]
        if held.last not in held.wanted and layout == held.written[taken[held.made]]:
            ends.append(held.last)  # the scores
        yield layout, first, max(ends, default=held.made)


def bound(needs: Demand, taken: Sequence[int], changes: Sequence[Change]) -> int:
    """The largest sum over all steps, and over the changes between them."""
    sums = [row[j] for row, j in zip(needs.own, taken, strict=True)]
    between = dict.fromkeys(changes, 0)
    for held in needs.tensors:
        for layout, first, last in spans(held, taken, changes):
            size = held.sizes[layout]
            reads_at = [i for i, row in held.wanted.items() if row[taken[i]] == layout]
            for change in changes:
                if _alive(held, layout, first, last, change, changes, reads_at):
                    between[change] += size
            pending = [c.step for c in changes if c.tensor == held.tensor and c.layout != layout]
            end = max(reads_at, default=held.made)
            if held.last not in held.wanted:
                end = max(end, last)
            if pending:  # alive at every step before the change, at its own only for a reader
                end = max(end, max(pending) - 1)
            for i in range(first, min(end, len(sums) - 1) + 1):
                sums[i] += size
    return max([*sums, *between.values()])


def _alive(
    held: Held, layout: str, first: int, last: int, change: Change, changes: Sequence[Change],
    reads_at: Sequence[int],
) -> bool:  # fmt: skip
    """True when ``held`` lies somewhere in ``layout`` while ``change`` is made. Changes just
    before the same step are made in their order."""
    if not first <= change.step <= last:
        return False
    here = [c for c in changes if c.tensor == held.tensor and c.step == change.step]
    if any(c.layout == layout for c in here):  # made at this step
        return any(c.layout == layout and c <= change for c in here)
    if any(i >= change.step for i in reads_at) or held.last not in held.wanted:
        return True
    return any(c >= change for c in changes if c.tensor == held.tensor and c.layout != layout)
