"""Kernel choice: for every layer the kernel that makes the whole network fastest within budget.

In: per layer the kernels that accept it with their predicted costs, and the bytes of flash and
RAM there are. Out: one kernel per layer. An integer linear program: minimise instructions, one
kernel per layer, code counted once for each kernel in use, flash within the budget, and at every
layer the tensors alive plus the kernel's scratch within the RAM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import highspy

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
    code = {o.kernel.id: o.code_bytes for row in options for o in row}
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("mip_rel_gap", 0.0)
    # Of equally fast plans, the one with fewer kernels.
    linked = {kernel: solver.addBinary(obj=1e-3) for kernel in sorted(code)}
    taken = [[solver.addBinary(obj=float(o.cost.instructions)) for o in row] for row in options]
    flash = [linked[kernel] * n_bytes for kernel, n_bytes in code.items()]
    for row, variables, alive in zip(options, taken, alive_bytes, strict=True):
        if not row:
            return None
        solver.addConstr(solver.qsum(variables) == 1)
        for option, variable in zip(row, variables, strict=True):
            solver.addConstr(variable <= linked[option.kernel.id])
            flash.append(variable * (option.cost.flash_weights + option.cost.flash_tables))
            if alive + option.cost.scratch_bytes > ram_bytes:
                solver.addConstr(variable <= 0)
    solver.addConstr(solver.qsum(flash) <= flash_bytes)
    solver.minimize()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return tuple(max(range(len(row)), key=lambda j: solver.val(row[j])) for row in taken)


def forced(
    layers: Sequence[Layer], options: Sequence[Sequence[Option]], force: Mapping[str, str]
) -> list[list[Option]]:
    """``options`` with only the forced kernel left for the layers in ``force``."""
    return [
        [o for o in row if o.kernel.id == force.get(layer.name, o.kernel.id)]
        for layer, row in zip(layers, options, strict=True)
    ]
