"""Which buffers the arena must hold, for how long, and which tensors share one.

States lie elsewhere and are not in question here.

In: the layers with the option chosen for each. Out: buffers for ``arena.place``, which of them
may overlap, and for every tensor in every layout it has the buffer it lies in. Reshapes are
views; a kernel that allows it writes over an input that nobody needs afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyrobust.graph.nodes import Graph
from tinyrobust.graph.ports import input_type
from tinyrobust.kernels import (
    HWC,
    Kernel,
    Layer,
    Ports,
    copy_name,
    storage,
    stored_bytes,
    view_roots,
)
from tinyrobust.kernels.layers import ELEMENT_BYTES
from tinyrobust.kernels.layouts import LayoutChange
from tinyrobust.memory.arena import Buffer, Overlaps
from tinyrobust.memory.options import Option

IMAGE = "@image"  # the raw first input, as it is written before a run

Chosen = Sequence[tuple[Layer, Option]]


def image_name(index: int) -> str:
    """Name of the buffer that input ``index`` is written to."""
    return f"{IMAGE}{index or ''}"


def image_bytes(graph: Graph, index: int) -> int:
    """Its size."""
    name = graph.inputs[index].name
    return graph.tensor[graph.node[name].output].size * ELEMENT_BYTES[input_type(graph, name)]


def scratch_name(layer: Layer) -> str:
    """Name of the scratch buffer of ``layer``."""
    return f"{layer.name} scratch"


@dataclass(frozen=True)
class Lifetimes:
    """``buffers`` to place; ``home[tensor]`` is the name of the buffer a tensor lies in.

    A copy of a tensor in another layout has the name that ``copy_name`` gives it.
    """

    buffers: tuple[Buffer, ...]
    home: dict[str, str]
    overlaps: Overlaps


@dataclass(frozen=True)
class Read:
    """A tensor that a layer reads: its root, its layout, the port."""

    root: str
    layout: str
    port: str


def reads(layer: Layer, ports: Ports, roots: dict[str, str]) -> Iterator[Read]:
    """What ``layer`` reads when it has its inputs in the layouts of ``ports``."""
    for tensor in layer.reads:
        port = ("source" if tensor == layer.source else
                "operand" if tensor == layer.operand else "")  # fmt: skip
        layout = getattr(ports, port) if port else HWC
        yield Read(roots[tensor], layout, port)
    if layer.source and layer.source == layer.operand:
        yield Read(roots[layer.operand], ports.operand, "operand")


def output_bytes(layer: Layer, ports: Ports, graph: Graph, types: dict[str, str]) -> int:
    """Bytes of what ``layer`` writes."""
    tensor = layer.source if layer.op == LayoutChange.op else layer.output
    return stored_bytes(graph.tensor[tensor], types[tensor], ports.output)


def lifetimes(graph: Graph, chosen: Chosen, *, grow: bool) -> Lifetimes:
    """Buffers, homes and overlaps. With ``grow`` an output may also lie over an input of another
    size, whose buffer then keeps the larger size for both lives."""
    types, roots = storage(graph), view_roots(graph)
    made: dict[str, int] = {}
    sizes: dict[str, int] = {}
    layout_of: dict[str, str] = {}
    for i, (layer, option) in enumerate(chosen):
        if layer.output in graph.state_of:
            continue
        made[layer.output] = i
        sizes[layer.output] = output_bytes(layer, option.way.ports, graph, types)
        layout_of[layer.output] = option.way.ports.output

    def held(read: Read) -> str:
        """The name under which ``read`` finds its tensor."""
        return read.root if layout_of[read.root] == read.layout else copy_name(
            read.root, read.layout)  # fmt: skip

    used = dict(made)
    for i, (layer, option) in enumerate(chosen):
        for read in reads(layer, option.way.ports, roots):
            if read.root not in graph.state_of:
                used[held(read)] = i
    for leaving in graph.results:
        used[roots[leaving.tensor]] = len(chosen)
    entries = {entry.tensor: image_name(i) for i, entry in enumerate(graph.inputs)}
    for i, entry in enumerate(graph.inputs):  # all are written before the first step
        image = entries[entry.tensor]
        sizes[image], made[image], used[image] = image_bytes(graph, i), 0, made[entry.tensor]

    home = {tensor: tensor for tensor in sizes}
    overlaps: dict[tuple[str, str], int] = {}
    for i, (layer, option) in enumerate(chosen):
        if layer.output in graph.state_of:  # it writes over the state, which stays
            continue
        found = [(held(r), r.port) for r in reads(layer, option.way.ports, roots)
                 if r.root not in graph.state_of]  # fmt: skip
        if not layer.source:
            found = [(entries[layer.output], "source")]
        dead = [(name, port) for name, port in found if used[name] == i]
        below = [
            name for name, port in dead
            if (may_overwrite(option.kernel, layer, port, graph, types)
                or (port == "source" and option.overlap is not None and option.overlap <= 0))
            and not (layer.op != "requantize" and _read_twice(name, found))
        ]  # fmt: skip
        below = [t for t in below if grow or sizes[home[t]] == sizes[layer.output]]
        below = [t for t in below if home[t] != home[layer.output]]
        if below:
            owner = home[layer.output] = home[below[0]]
            sizes[owner] = max(sizes[owner], sizes[layer.output])
            used[owner] = max(used[owner], used[layer.output])
        elif option.overlap is not None:
            for name, port in dead:
                if port == "source" and not _read_twice(name, found):
                    overlaps[layer.output, home[name]] = option.overlap
    buffers = [Buffer(t, sizes[t], made[t], used[t]) for t in sizes if home[t] == t]
    buffers += [
        Buffer(scratch_name(layer), n, i, i)
        for i, (layer, option) in enumerate(chosen) if (n := option.cost.scratch_bytes)
    ]  # fmt: skip
    # An overlap holds while each of the two buffers is what it was when the kernel ran.
    alone = {b.name: b for b in buffers}
    overlaps = {
        pair: ahead for pair, ahead in overlaps.items()
        if all(name in alone for name in pair) and alone[pair[1]].last == alone[pair[0]].first
    }  # fmt: skip
    homes = {t: home[root] for t, root in roots.items() if root in home}
    homes |= {name: home[name] for name in home if name not in homes}
    return Lifetimes(tuple(buffers), homes, overlaps)


def _read_twice(name: str, found: Sequence[tuple[str, str]]) -> bool:
    """True when a kernel reads ``name`` through two ports."""
    return sum(1 for other, _ in found if other == name) > 1


def may_overwrite(
    kernel: Kernel, layer: Layer, port: str, graph: Graph, types: dict[str, str]
) -> bool:
    """True when ``kernel`` may write over what it reads at ``port``, element for element."""
    if port not in kernel.file.in_place or layer.op == LayoutChange.op:
        return False
    if not layer.source:
        return True
    tensor = layer.source if port == "source" else layer.operand
    if graph.tensor.get(layer.output, graph.tensor[tensor]).size != graph.tensor[tensor].size:
        return False  # an operand that is broadcast
    mine, theirs = ELEMENT_BYTES[types[layer.output]], ELEMENT_BYTES[types[tensor]]
    return theirs == mine or (theirs > mine and layer.op == "requantize")
