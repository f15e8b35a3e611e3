"""The one predictor: what a kernel costs on a layer, from the formulas in its kernel.yaml.

In: a kernel, a layer of a Graph, a core. Out: a Cost. ``bench`` compares it with counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinyrobust.errors import BuildError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import expression
from tinyrobust.kernels.catalogue import Kernel
from tinyrobust.kernels.layers import Layer
from tinyrobust.kernels.schema import Instructions
from tinyrobust.kernels.variables import known_names


@dataclass(frozen=True)
class Cost:
    """Bytes of flash for weights and for tables, bytes of scratch, instructions per inference.

    Code is shared by the layers that use a kernel: ``code_bytes``.
    """

    flash_weights: int
    flash_tables: int
    scratch_bytes: int
    instructions: int


def predict(kernel: Kernel, layer: Layer, graph: Graph, core: str) -> Cost:
    """Cost of ``layer`` computed by ``kernel`` on ``core``.

    Raises BuildError when kernel.yaml has no instruction terms for the core.
    """
    file = kernel.file
    known = known_names(file.let, layer, graph)
    terms = _instructions(kernel, core).terms.values()
    return Cost(
        flash_weights=math.ceil(expression.evaluate(file.flash.weights, known)),
        flash_tables=math.ceil(expression.evaluate(file.flash.tables, known)),
        scratch_bytes=math.ceil(expression.evaluate(file.scratch_bytes, known)),
        instructions=max(
            0, round(sum(term.each * expression.evaluate(term.of, known) for term in terms))
        ),
    )


def code_bytes(kernel: Kernel, core: str) -> int:
    """Bytes of code that an image with ``kernel`` holds once. Raises BuildError as above."""
    if core not in kernel.file.flash.code_bytes:
        raise BuildError(f"kernel '{kernel.id}' states no code size for {core}")
    return kernel.file.flash.code_bytes[core]  # type: ignore[index]


def _instructions(kernel: Kernel, core: str) -> Instructions:
    for entry in kernel.file.instructions:
        if core in entry.cores:
            return entry
    raise BuildError(f"kernel '{kernel.id}' states no instruction counts for {core}")
