"""The one predictor: what a kernel costs on a layer, from the formulas in its kernel.yaml.

In: a kernel, a layer of a Graph, a core, a way to run the kernel. Out: a Cost. ``bench`` compares
it with counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyrobust.errors import BuildError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import expression
from tinyrobust.kernels.catalogue import Kernel
from tinyrobust.kernels.layers import Layer
from tinyrobust.kernels.schema import Instructions, KernelFile
from tinyrobust.kernels.variables import FEATURES, PLAIN, Way, known_names

COMPILED = "compiled"  # the packing of weights that are code


@dataclass(frozen=True)
class Cost:
    """What a layer costs, computed in one way.

    Bytes of flash for weights and for tables, bytes of scratch, instructions and cycles of the
    Cortex-M4 model (None where kernel.yaml has no terms) per inference, executable bytes of RAM
    while it runs (shared by the layers) and between inferences (its own). Kernel code is shared
    by the layers that use a kernel: ``code_pieces``.
    """

    flash_weights: int
    flash_tables: int
    scratch_bytes: int
    instructions: int
    cycles: int | None = None
    code_ram_bytes: int = 0
    kept_code_bytes: int = 0

    @property
    def flash_bytes(self) -> int:
        """Weights and tables."""
        return self.flash_weights + self.flash_tables


def predict(kernel: Kernel, layer: Layer, graph: Graph, core: str, way: Way = PLAIN) -> Cost:
    """Cost of ``layer`` computed by ``kernel`` on ``core``.

    Raises BuildError when kernel.yaml has no instruction terms for the core.
    """
    file = kernel.file
    known = known_names(file, layer, graph, core, way)
    factor, terms = _instructions(file, core)
    if terms is None:
        raise BuildError(
            f"kernel '{kernel.id}' states no instruction counts for {core}",
            "measure it: python -m tests.kernels.calibrate --write ID",
        )
    cycles = _group(file.cycles, core)
    if cycles is None and (core == "host" or "dsp" in FEATURES[core]):
        cycles = _group(file.cycles, "cortex-m4")  # the model of other code's instructions
    return Cost(
        flash_weights=math.ceil(
            expression.evaluate(file.flash.weights, known) * _growth(file, core)
        ),
        flash_tables=math.ceil(expression.evaluate(file.flash.tables, known)),
        scratch_bytes=math.ceil(expression.evaluate(file.scratch_bytes, known)),
        instructions=round(factor * _sum(terms, known)),
        cycles=None if cycles is None else _sum(cycles, known),
        code_ram_bytes=math.ceil(expression.evaluate(file.code_ram_bytes, known)),
        kept_code_bytes=math.ceil(expression.evaluate(file.kept_code_bytes, known)),
    )


def _growth(file: KernelFile, core: str) -> float:
    """How much larger weights are on ``core`` than kernel.yaml says: those that are code, on a core
    with 16-bit instructions only (measured on 13 layers of two networks: 1.61 to 1.78)."""
    return 1.8 if file.packing == COMPILED and core == "cortex-m0plus" else 1.0


def code_pieces(kernel: Kernel, core: str) -> dict[str, int]:
    """Bytes of the pieces of code that an image with ``kernel`` holds, each once, by name.

    Raises BuildError when kernel.yaml states no size for the core.
    """
    pieces = {kernel.id: kernel.file.flash.code_bytes, **kernel.file.flash.shared}
    for sizes in pieces.values():
        if core not in sizes:
            raise BuildError(
                f"kernel '{kernel.id}' states no code size for {core}",
                "measure it: python -m tests.kernels.calibrate --code --write",
            )
    return {name: sizes[core] for name, sizes in pieces.items()}  # type: ignore[index]


def overlap(kernel: Kernel, layer: Layer, graph: Graph, core: str, way: Way = PLAIN) -> int | None:
    """Bytes by which the output must start before the source to lie over it; None: never."""
    text = kernel.file.overlap
    if text is None:
        return None
    return math.ceil(expression.evaluate(text, known_names(kernel.file, layer, graph, core, way)))


def _instructions(file: KernelFile, core: str) -> tuple[float, Instructions | None]:
    """The terms for ``core``, and what to multiply them by."""
    scaled = file.scaled.get(core)  # type: ignore[call-overload]
    found = _group(file.instructions, core)
    if found is not None or scaled is None:
        return 1.0, found
    return scaled.factor, _group(file.instructions, scaled.of)


def _sum(group: Instructions, known: Mapping[str, float]) -> int:
    total = sum(term.each * expression.evaluate(term.of, known) for term in group.terms.values())
    return max(0, round(total))


def _group(groups: Sequence[Instructions], core: str) -> Instructions | None:
    return next((group for group in groups if core in group.cores), None)
