"""The int8 operators' C++ on emulated Cortex-M cores: equal integers, and what was predicted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.int8_graphs import random_int8_graph
from tests.kernels.arm import Device
from tests.kernels.host import forces, planned
from tests.kernels.test_arm import check

BOARDS = [
    ("nucleo-h743", ()),
    pytest.param("mps2-an386", (), marks=pytest.mark.slow),
    pytest.param("mps2-an386", ("-DTR_PORTABLE",), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("board", "flags"), BOARDS, ids=["m7", "m4", "m4-portable"])
@pytest.mark.parametrize(
    "seed", [101, *(pytest.param(n, marks=pytest.mark.slow) for n in range(102, 108))]
)
def test_every_operation(seed: int, board: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    graph = random_int8_graph(seed)
    choices = forces(graph, "cortex-m4")
    plan = planned(graph, board, choices[seed % len(choices)])
    check(Device(plan, tmp_path, flags), graph, n=2)


@pytest.mark.slow
def test_flash_and_instructions_are_as_predicted(tmp_path: Path) -> None:
    """Weights and tables to the byte; instructions within a tenth in all."""
    graph = random_int8_graph(2, reach=24)
    device = Device(planned(graph, "nucleo-h743"), tmp_path, ("-O3",))
    counts = check(device, graph)
    with device.elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        sizes = [(s.name, s["st_size"]) for s in table.iter_symbols() if s["st_size"]]
    for i, step in enumerate(device.plan.steps):
        constants = re.compile(rf"layer{i:02d}(E|_(?!run))")  # mangled names
        mine = [-(-size // 4) * 4 for name, size in sizes if constants.search(name)]
        # Besides its constants a step has an entry of seven words in the model's table.
        assert step.flash_weights + step.flash_tables == sum(mine) + 28, (step.name, step.kernel)
    assert abs(device.plan.instructions / sum(counts) - 1) < 0.1
