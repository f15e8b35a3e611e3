"""The catalogue: every kernel in ``firmware/kernels``, and which layers it accepts.

In: the kernel.yaml files. Out: Kernels by id; adding a folder adds a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinyrobust import resources, yamlfile
from tinyrobust.errors import BuildError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import expression
from tinyrobust.kernels.layers import Layer, storage
from tinyrobust.kernels.schema import KernelFile
from tinyrobust.kernels.variables import known_names

# What a core offers beyond plain C++.
FEATURES: dict[str, frozenset[str]] = {
    "cortex-m4": frozenset({"dsp"}),
    "cortex-m7": frozenset({"dsp"}),
    "host": frozenset(),
}


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
            raise BuildError(f"{path}: id is '{file.id}', the folder is '{path.parent.name}'")
        found[file.id] = Kernel(file, path.parent)
    return found


def refusal(kernel: Kernel, layer: Layer, graph: Graph, core: str) -> str:
    """Why ``kernel`` cannot compute ``layer`` on ``core``; empty when it can."""
    accepts, types = kernel.file.accepts, storage(graph)
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
    known = known_names(kernel.file.let, layer, graph)
    for condition in accepts.where:
        if not expression.evaluate(condition, known):
            return f"it needs {condition}"
    return ""


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
