"""The catalogue: every kernel in ``firmware/kernels``, and which layers it accepts.

In: the kernel.yaml files. Out: Kernels by id, and the ways in which each can compute a layer;
adding a folder adds a kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinyrobust import resources, yamlfile
from tinyrobust.errors import BuildError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import expression
from tinyrobust.kernels.layers import Layer
from tinyrobust.kernels.layouts import HWC, LayoutChange, can_hold
from tinyrobust.kernels.schema import KernelFile
from tinyrobust.kernels.variables import FEATURES, Ports, Way, known_names, stored_types


@dataclass(frozen=True)
class Kernel:
    """A kernel of the catalogue: its file and where it is."""

    file: KernelFile
    folder: Path

    @property
    def id(self) -> str:
        """The folder's name and the C++ function's."""
        return self.file.id

    @property
    def sources(self) -> tuple[Path, ...]:
        """The C++ files to compile."""
        return tuple(self.folder / name for name in self.file.sources)

    @property
    def header(self) -> str:
        """The header that declares the function, relative to ``firmware``."""
        return f"kernels/{self.id}/{self.id}.hpp"


@cache
def catalogue() -> dict[str, Kernel]:
    """All kernels by id. Raises BuildError when a kernel.yaml is wrong."""
    found = {}
    for path in sorted((resources.root() / "firmware" / "kernels").glob("*/kernel.yaml")):
        file = yamlfile.load(path, KernelFile, BuildError)
        if file.id != path.parent.name:
            raise BuildError(
                f"{path}: id is '{file.id}', the folder is '{path.parent.name}'",
                "give both one name",
            )
        found[file.id] = Kernel(file, path.parent)
    return found


def refusal(kernel: Kernel, layer: Layer, graph: Graph, core: str) -> str:
    """Why ``kernel`` cannot compute ``layer`` on ``core`` in any way; empty when it can."""
    accepts, types = kernel.file.accepts, stored_types(graph)
    if kernel.file.op != layer.op:
        return f"it computes {kernel.file.op}, the layer is {layer.op}"
    if layer.finish not in accepts.finish:
        return f"it cannot end with '{layer.finish}'"
    if layer.source and types[layer.source] not in accepts.source:
        return f"it does not read {types[layer.source]}"
    if layer.operand and types[layer.operand] not in accepts.operand:
        return f"it does not add a branch of {types[layer.operand]}"
    missing = set(accepts.features) - FEATURES[core]
    if missing:
        return f"{core} has no {', '.join(sorted(missing))} instructions"
    if any(True for _ in ways(kernel, layer, graph, core)):
        return ""
    for condition in accepts.where:
        if not any(_holds(condition, kernel, layer, graph, core, w) for w in _all_ways(kernel)):
            return f"it needs {condition}"
    return "no variant of it, in layouts that its tensors can have, meets its conditions"


def _holds(condition: str, kernel: Kernel, layer: Layer, graph: Graph, core: str, way: Way) -> bool:
    known = known_names(kernel.file, layer, graph, core, way)
    return bool(expression.evaluate(condition, known))


def _all_ways(kernel: Kernel) -> Iterator[Way]:
    file = kernel.file
    layouts = itertools.product(file.layout.source, file.layout.operand, file.layout.output)
    variants = itertools.product(*file.variants.values())
    for ports, values in itertools.product(tuple(layouts), tuple(variants)):
        yield Way(dict(zip(file.variants, values, strict=True)), Ports(*ports))


def ways(kernel: Kernel, layer: Layer, graph: Graph, core: str) -> Iterator[Way]:
    """The ways in which ``kernel`` can compute ``layer``, if it accepts it: variants and layouts
    that its tensors can have. A port that the layer does not have reads ``hwc``."""
    seen = set()
    for way in _all_ways(kernel):
        ports = Ports(
            way.ports.source if layer.source else HWC,
            way.ports.operand if layer.operand else HWC,
            way.ports.output,
        )
        if layer.op == LayoutChange.op and ports.source == ports.output:
            continue
        key = (tuple(way.variant.items()), ports)
        if key in seen or not _tensors_can(layer, graph, ports):
            continue
        seen.add(key)
        kept = Way(way.variant, ports)
        if all(_holds(c, kernel, layer, graph, core, kept) for c in kernel.file.accepts.where):
            yield kept


def _tensors_can(layer: Layer, graph: Graph, ports: Ports) -> bool:
    types = stored_types(graph)
    pairs = [(layer.source, ports.source), (layer.operand, ports.operand)]
    if layer.op == LayoutChange.op:
        pairs.append((layer.source, ports.output))
    else:
        pairs.append((layer.output, ports.output))
    return all(can_hold(graph.tensor[t], types[t], layout) for t, layout in pairs if t)


def accepts(kernel: Kernel, layer: Layer, graph: Graph, core: str) -> bool:
    """True when ``kernel`` can compute ``layer`` on ``core``."""
    return not refusal(kernel, layer, graph, core)


def candidates(layer: Layer, graph: Graph, core: str) -> tuple[Kernel, ...]:
    """The kernels that accept ``layer``. Raises GraphError when there is none."""
    found = tuple(k for k in catalogue().values() if accepts(k, layer, graph, core))
    if not found:
        reasons = [f"{k.id}: {refusal(k, layer, graph, core)}"
                   for k in catalogue().values() if k.file.op == layer.op]  # fmt: skip
        raise GraphError(
            f"no kernel computes layer '{layer.name}' ({layer.op})",
            "; ".join(reasons) or f"there is no kernel for {layer.op}",
        )
    return found
