"""Which buffers the arena must hold, for how long, and which tensors share one.

In: the layers with the kernel chosen for each. Out: buffers for ``arena.place`` and, for every
tensor, the buffer it lies in. Reshapes are views; a kernel that allows it writes over an input
that nobody needs afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Kernel, Layer, storage, view_roots
from tinyrobust.kernels.layers import ELEMENT_BYTES
from tinyrobust.memory.arena import Buffer

IMAGE = "@image"  # the raw uint8 input, before the Input node's shift


def scratch_name(layer: Layer) -> str:
    """Name of the scratch buffer of ``layer``."""
    return f"{layer.name} scratch"


@dataclass(frozen=True)
class Lifetimes:
    """``buffers`` to place; ``home[tensor]`` is the name of the buffer a tensor lies in."""

    buffers: tuple[Buffer, ...]
    home: dict[str, str]


def lifetimes(
    graph: Graph,
    layers: Sequence[Layer],
    kernels: Sequence[Kernel],
    scratch_bytes: Sequence[int],
    *,
    grow: bool,
) -> Lifetimes:
    """Buffers and homes. With ``grow`` an output may also lie over an input of another size,
    whose buffer then keeps the larger size for both lives."""
    types, roots = storage(graph), view_roots(graph)
    made = {layer.output: i for i, layer in enumerate(layers)}
    sizes = {t: graph.tensor[t].size * ELEMENT_BYTES[types[t]] for t in made}
    used = dict(made)
    for i, layer in enumerate(layers):
        for tensor in layer.reads:
            used[roots[tensor]] = i
    used[roots[graph.output.name]] = len(layers)
    sizes[IMAGE], made[IMAGE], used[IMAGE] = graph.input.size, 0, 0

    home = {tensor: tensor for tensor in sizes}
    for i, (layer, kernel) in enumerate(zip(layers, kernels, strict=True)):
        below = _below(layer, kernel, i, used, roots, types)
        below = [t for t in below if grow or sizes[home[t]] == sizes[layer.output]]
        if below:
            home[layer.output] = home[below[0]]
            owner = home[below[0]]
            sizes[owner] = max(sizes[owner], sizes[layer.output])
            used[owner] = max(used[owner], used[layer.output])
    buffers = [Buffer(t, sizes[t], made[t], used[t]) for t in sizes if home[t] == t]
    buffers += [
        Buffer(scratch_name(layer), n, i, i)
        for i, (layer, n) in enumerate(zip(layers, scratch_bytes, strict=True)) if n
    ]  # fmt: skip
    homes = {t: home[root] for t, root in roots.items() if root in home} | {IMAGE: home[IMAGE]}
    return Lifetimes(tuple(buffers), homes)


def _below(
    layer: Layer, kernel: Kernel, step: int, used: dict[str, int], roots: dict[str, str],
    types: dict[str, str],
) -> list[str]:  # fmt: skip
    """Tensors that the output of ``layer`` may overwrite."""
    allowed = kernel.file.in_place
    if layer.op == "input":
        return [IMAGE] if "source" in allowed else []
    found = []
    for tensor, role, other in (
        (layer.source, "source", layer.operand), (layer.operand, "operand", layer.source),
    ):  # fmt: skip
        if not tensor or role not in allowed or used[roots[tensor]] != step:
            continue
        if other and roots[other] == roots[tensor] and layer.op != "requantize":
            continue  # the kernel still reads windows of it
        mine, theirs = ELEMENT_BYTES[types[layer.output]], ELEMENT_BYTES[types[tensor]]
        if theirs == mine or (theirs > mine and layer.op == "requantize"):
            found.append(roots[tensor])
    return found
