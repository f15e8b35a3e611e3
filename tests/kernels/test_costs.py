"""The cost models in kernel.yaml against what is counted on the virtual boards and linked.

Instructions within TOLERANCE (of layers of fewer than SMALL the error is relative to SMALL);
weights, tables, kernels' code, arena and executable memory to the byte (the linker ends sections on
8 bytes). The whole grid: ``python -m tests.kernels.calibrate --report``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels import grid
from tests.kernels.calibrate import MIXES, SMALL
from tests.kernels.code import MEASURED, pieces
from tinyrobust.boards.cores import Core
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import catalogue
from tinyrobust.memory.arena import aligned

TOLERANCE = 0.03
HELD_OUT = 1000  # seeds from here on are none that the models were fitted to
BOARDS: dict[Core, str] = {"cortex-m7": "nucleo-h743", "cortex-m4": "mps2-an386"}
MODEL_BYTES = 80  # of tr_model, which lies among the tables
TENSOR_BYTES = 36  # there too: of each input and output
NETWORKS = 5  # of each family, in the slow test


def check(run: grid.Run) -> None:
    """Fails with every layer whose prediction is off."""
    wrong = []
    for case in run.cases:
        step = case.step
        error = (step.instructions - case.counted) / max(case.counted, SMALL)
        if abs(error) > TOLERANCE:
            wrong.append(f"{case.name} {step.kernel} {step.variant}: {100 * error:+.1f} % of "
                         f"{case.counted:,} instructions")  # fmt: skip
    plan, report = run.plan, run.image.memory
    kernels = [kernel.id for kernel in plan.kernels]
    compiled = sum(layer.compiled_bytes for layer in report.layers)  # lies with the code
    ports = len(plan.graph.inputs) + len(plan.graph.results)
    model = MODEL_BYTES + ports * TENSOR_BYTES
    for what, said, linked in (
        ("weights", aligned(sum(s.flash_weights for s in plan.steps) - compiled),
         report.flash.part("weights")),
        ("tables", aligned(sum(s.flash_tables for s in plan.steps) + model),
         report.flash.part("tables")),
        ("kernels' code", plan.code_bytes, run.code_bytes),
        ("arena", plan.arena_bytes, report.arena_bytes),
        ("executable RAM", plan.executable_bytes, report.ram.part("code_ram")),
    ):  # fmt: skip
        if said != linked:
            wrong.append(f"{said} B of {what} predicted, {linked} in the ELF of {kernels}")
    assert not wrong, "\n".join(wrong)


def network(family: str, seed: int) -> Graph:
    return next(grid.networks(family, range(seed, seed + 1)))


@pytest.mark.parametrize("family", grid.FAMILIES)
def test_a_network_costs_what_is_predicted(family: str) -> None:
    graph = network(family, HELD_OUT)
    check(grid.run(graph, "nucleo-h743", grid.mixes(graph, "cortex-m7", 1)[0])[0])


@pytest.mark.slow
@pytest.mark.parametrize("core", sorted(BOARDS))
@pytest.mark.parametrize("family", grid.FAMILIES)
def test_networks_cost_what_is_predicted(family: str, core: str) -> None:
    wrong, used = [], set()
    for seed in range(HELD_OUT + 1, HELD_OUT + 1 + NETWORKS):
        graph = network(family, seed)
        for force in grid.mixes(graph, core, MIXES):
            run = grid.run(graph, BOARDS[core], force)[0]
            used |= {step.kernel for step in run.plan.steps}
            try:
                check(run)
            except AssertionError as error:
                wrong.append(str(error))
    assert not wrong, "\n".join(wrong)
    ops = {layer.op for layer in run.plan.layers}
    missed = {k.id for k in catalogue().values() if k.file.op in ops} - used
    assert not missed, f"the grid never meets {sorted(missed)}"


@pytest.mark.slow
@pytest.mark.parametrize("core", MEASURED)
def test_code_takes_what_kernel_yaml_says(core: Core, tmp_path: Path) -> None:
    """Measured with this compiler: after another one ``calibrate --code --write``."""
    said = {
        k.id: (
            k.file.flash.code_bytes[core],
            {n: s[core] for n, s in k.file.flash.shared.items() if s[core]},
        )
        for k in catalogue().values()
    }
    assert pieces(core, tmp_path) == said
