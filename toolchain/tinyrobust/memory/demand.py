"""How much RAM each step of the network takes, as a function of the options chosen.

In: the layers and their options. Out: per step what is alive whatever is chosen, what each option
of the step adds (its inputs, its output where it does not lie over an input, scratch), and what
the options of other steps add, whose outputs it leaves alone. No arena can be smaller than the
largest of these sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Layer, storage, stored_bytes, view_roots
from tinyrobust.memory.arena import aligned, shared_bytes
from tinyrobust.memory.lifetimes import may_overwrite, output_bytes, reads
from tinyrobust.memory.options import Option


@dataclass(frozen=True)
class Demand:
    """RAM of one step: ``fixed`` bytes, ``own[j]`` more with option j of the step, and
    ``others[i][k]`` more with option k of step i."""

    fixed: int
    own: tuple[int, ...]
    others: Mapping[int, tuple[int, ...]]

    def bytes(self, taken: Sequence[int], step: int) -> int:
        """The sum for the options ``taken``."""
        more = sum(sizes[taken[i]] for i, sizes in self.others.items())
        return self.fixed + self.own[taken[step]] + more


def demands(
    graph: Graph, layers: Sequence[Layer], options: Sequence[Sequence[Option]], *, copies: bool
) -> list[Demand]:
    """One Demand per layer. With ``copies`` a tensor may also lie in a layout that its producer
    does not write; the smaller is then counted where nothing decides."""
    types, roots = storage(graph), view_roots(graph)
    made = {layer.output: i for i, layer in enumerate(layers)}
    used = dict(made)
    for i, layer in enumerate(layers):
        for tensor in layer.reads:
            used[roots[tensor]] = i
    used[roots[graph.output.name]] = len(layers)
    written = {
        layer.output: tuple(aligned(output_bytes(layer, o.way.ports, graph, types)) for o in row)
        for layer, row in zip(layers, options, strict=True)
    }
    found = []
    for i, (layer, row) in enumerate(zip(layers, options, strict=True)):
        mine = {roots[t] for t in layer.reads}
        fixed, others = 0, {}
        for tensor, producer in made.items():
            if tensor in mine or not producer < i <= used[tensor]:
                continue
            sizes = written[tensor]
            if len(set(sizes)) == 1 or copies:
                fixed += min(sizes)
            else:
                others[producer] = sizes
        own = tuple(_own(layer, o, i, graph, types, roots, used) for o in row)
        found.append(Demand(fixed, own, others))
    return found


def _own(
    layer: Layer, option: Option, step: int, graph: Graph, types: dict[str, str],
    roots: dict[str, str], used: Mapping[str, int],
) -> int:  # fmt: skip
    """Bytes of what the step reads, writes and scratches."""
    sizes: dict[tuple[str, str], int] = {}
    ports: dict[tuple[str, str], list[str]] = {}
    for read in reads(layer, option.way.ports, roots):
        key = read.root, read.layout
        sizes[key] = stored_bytes(graph.tensor[read.root], types[read.root], read.layout)
        ports.setdefault(key, []).append(read.port)
    output = output_bytes(layer, option.way.ports, graph, types)
    if not layer.source:
        sizes["", ""] = graph.input.size
        ports["", ""] = ["source"]
    saved = 0
    for key, size in sizes.items():
        if key[0] and used[key[0]] != step:
            continue
        if any(may_overwrite(option.kernel, layer, port, graph, types) for port in ports[key]):
            saved = max(saved, min(aligned(size), aligned(output)))
        if option.overlap is not None and ports[key] == ["source"]:
            saved = max(saved, shared_bytes(output, size, option.overlap))
    total = aligned(output) + sum(aligned(size) for size in sizes.values()) - saved
    return total + aligned(option.cost.scratch_bytes)
