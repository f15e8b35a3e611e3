"""Kernels on the cores that the cost tests leave out: the integers, what runs where, and how far
predictions are off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels import grid
from tests.kernels.arm import MODELS, Device
from tests.kernels.calibrate import SMALL
from tests.kernels.scale import BASES, board_of
from tinyrobust.boards.cores import CORES, Core
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import catalogue, layers
from tinyrobust.memory import options

HELD_OUT = 1000  # seeds from here on are none that the factors were fitted to
# A factor for a whole kernel is rough: what a layer may be off beyond the error met while fitting.
SLACK_PERCENT = 40
SCALED = [core for core in BASES if core in MODELS]


def network(family: str, seed: int) -> Graph:
    return next(grid.networks(family, range(seed, seed + 1)))


def check(core: Core, graph: Graph, force: dict[str, str], folder: Path) -> None:
    """Every layer's integers; predictions within what kernel.yaml says, and some."""
    plan = grid.planned(graph, board_of(core), force)
    assert plan is not None
    made = Device(plan, folder, ("-O3",))
    image = np.random.default_rng(5).integers(0, 256, graph.input.shape, np.uint8)
    expected = interpreter.trace(graph, image[None])
    for _ in range(2):  # the first one may generate code that is kept
        outputs, counts = made.run(image)
    for name, found in outputs.items():
        wanted = expected[name.partition("@")[0]][0]
        np.testing.assert_array_equal(found.reshape(-1), wanted.reshape(-1), err_msg=name)
    off = []
    for step, counted in zip(plan.steps, counts, strict=True):
        allowed = catalogue()[step.kernel].file.scaled[core].error_percent + SLACK_PERCENT
        error = 100 * (step.instructions - counted) / max(counted, SMALL)
        if abs(error) > allowed:
            off.append(f"{step.name} {step.kernel}: {error:+.0f} % of {counted:,}")
    assert not off, "\n".join(off)


@pytest.mark.slow
@pytest.mark.parametrize("family", grid.FAMILIES)
@pytest.mark.parametrize("core", SCALED)
def test_any_kernel_on_any_core(core: Core, family: str, tmp_path: Path) -> None:
    graph = network(family, HELD_OUT + 1)
    for i, force in enumerate([{}, grid.mixes(graph, core, 1)[0]]):
        (folder := tmp_path / str(i)).mkdir()
        check(core, graph, force, folder)


@pytest.mark.parametrize("core", [c for c in CORES if c != "host"])
def test_code_is_written_only_where_the_core_has_its_instructions(core: Core) -> None:
    graph = network("fixed", HELD_OUT)
    needs = {
        option.kernel.id
        for layer in layers(graph) for option in options.of_layer(layer, graph, core)
        if option.cost.code_ram_bytes + option.cost.kept_code_bytes
    }  # fmt: skip
    assert bool(needs) == ("dsp" in CORES[core].features), needs
