"""Kernel choice: for every layer the kernel that makes the whole network fastest within budget.

In: per layer the kernels that accept it with their predicted costs, and the bytes of flash and
RAM there are. Out: one kernel per layer. An integer linear program: minimise instructions, one
kernel per layer, code counted once for each kernel in use, flash within the budget, and at every
layer the tensors alive plus the kernel's scratch within the RAM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from tinyrobust.kernels import Cost, Kernel, Layer


@dataclass(frozen=True, eq=False)
class Option:
    """A kernel that accepts a layer, with what it costs there."""

    kernel: Kernel
    cost: Cost
    code_bytes: int


def choose(
    options: Sequence[Sequence[Option]],
    alive_bytes: Sequence[int],
    flash_bytes: int,
    ram_bytes: int,
) -> tuple[int, ...] | None:
    """Index of the option taken for every layer, or None when nothing fits.

    ``alive_bytes``: bytes of tensors alive at each layer, without scratch.
    """
    pairs = [(i, j) for i, row in enumerate(options) for j in range(len(row))]
    kernels = sorted({o.kernel.id for row in options for o in row})
    column = {pair: n for n, pair in enumerate(pairs)}
    code_column = {kernel: len(pairs) + n for n, kernel in enumerate(kernels)}
    width = len(pairs) + len(kernels)

    cost = np.zeros(width)
    upper = np.ones(width)
    flash = np.zeros(width)
    code = {o.kernel.id: o.code_bytes for row in options for o in row}
    for kernel, n in code_column.items():
        flash[n] = code[kernel]
        cost[n] = 1e-3  # of equally fast plans, the one with fewer kernels
    rows = [(flash, 0.0, float(flash_bytes))]
    for i, row in enumerate(options):
        one = np.zeros(width)
        for j, option in enumerate(row):
            n = column[i, j]
            one[n] = 1
            cost[n] = option.cost.instructions
            flash[n] = option.cost.flash_weights + option.cost.flash_tables
            if alive_bytes[i] + option.cost.scratch_bytes > ram_bytes:
                upper[n] = 0
            needs_code = np.zeros(width)
            needs_code[n], needs_code[code_column[option.kernel.id]] = 1, -1
            rows.append((needs_code, -1.0, 0.0))
        rows.append((one, 1.0, 1.0))
    result = milp(
        cost,
        constraints=LinearConstraint(
            np.array([r[0] for r in rows]), [r[1] for r in rows], [r[2] for r in rows]
        ),
        integrality=np.ones(width),
        bounds=Bounds(np.zeros(width), upper),
    )
    if result.x is None:
        return None
    taken = np.round(result.x).astype(int)
    return tuple(
        next(j for j in range(len(row)) if taken[column[i, j]]) for i, row in enumerate(options)
    )


def forced(
    layers: Sequence[Layer], options: Sequence[Sequence[Option]], force: Mapping[str, str]
) -> list[list[Option]]:
    """``options`` with only the forced kernel left for the layers in ``force``."""
    return [
        [o for o in row if o.kernel.id == force.get(layer.name, o.kernel.id)]
        for layer, row in zip(layers, options, strict=True)
    ]
