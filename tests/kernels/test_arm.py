"""Generated code on emulated Cortex-M cores: equal integers, and counts near the predicted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, random_graph, resnet8_graph, separable_graph
from tests.kernels.arm import Device
from tests.kernels.host import forces, planned
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import FAMILIES, Graph
from tinyrobust.kernels import catalogue


def check(device: Device, graph: Graph, n: int = 1, seed: int = 0) -> list[int]:
    """Compare every tensor; gives the instructions of every step of the last image."""
    images = np.random.default_rng(seed).integers(0, 256, (n, *graph.input.shape), np.uint8)
    expected = interpreter.trace(graph, images)
    counts: list[int] = []
    for i, image in enumerate(images):
        got, counts = device.run(image)
        for name, value in got.items():
            np.testing.assert_array_equal(
                value, expected[name.partition("@")[0]][i], err_msg=f"{graph.name} {name}"
            )
    return counts


def wide_graph() -> Graph:
    """int32 accumulators and operands, four-bit outputs, one and two branches without a layer."""
    b = Builder(7, (7, 9, 5), zeros=0.05)
    b.conv(70, 1)
    b.requantize()
    source = b.x
    first = b.conv(12, 3)  # 630 inputs of 0..127: beyond int16
    second = b.conv(12, 3, source=source)
    b.requantize(first, second, bits=4)
    third = b.conv(12, 3)
    b.requantize(third, first)  # `first` has two readers: stays in memory as it is
    both = b.x
    b.requantize(both, both, shift=6)
    b.flatten()
    b.dense(9)
    b.requantize(scores=True)
    return b.graph("wide")


@pytest.mark.parametrize(
    ("board", "flags"),
    [
        ("nucleo-h743", ()),
        pytest.param("mps2-an386", (), marks=pytest.mark.slow),
        pytest.param("mps2-an386", ("-DTR_PORTABLE",), marks=pytest.mark.slow),
    ],
    ids=["m7", "m4", "m4-portable"],
)
@pytest.mark.parametrize(("seed", "choice"), [(3, 0), (8, 1), (37, 0), (37, 1), (37, 2)])
def test_random_graphs(
    seed: int, choice: int, board: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    graph = random_graph(seed)
    force = forces(graph, "cortex-m4")[choice]
    check(Device(planned(graph, board, force), tmp_path, flags), graph, n=2)


@pytest.mark.parametrize("choice", [0, 1, 2])
def test_wide_sums_and_four_bits(choice: int, tmp_path: Path) -> None:
    graph = wide_graph()
    force = forces(graph, "cortex-m7")[choice]
    check(Device(planned(graph, "nucleo-h743", force), tmp_path), graph, n=2)


@pytest.mark.parametrize(
    ("kernel", "at_most"),
    [("conv2d_t2_u8", 13_500_000), ("conv2d_tl_u8", 7_700_000), ("conv2d_tl2_u8", 7_000_000)],
)
def test_resnet8_takes_what_is_predicted(kernel: str, at_most: int, tmp_path: Path) -> None:
    graph = resnet8_graph()
    force = {node.name: kernel for node in graph.nodes if node.op == "conv2d"}
    plan = planned(graph, "nucleo-h743", force)
    counts = check(Device(plan, tmp_path), graph)
    assert sum(counts) < at_most  # int8 by CMSIS-NN: 29.94 M
    assert abs(plan.instructions / sum(counts) - 1) < 0.05
    for step, n in zip(plan.steps, counts, strict=True):
        assert abs(step.instructions / n - 1) < 0.10, (step.name, step.instructions, n)


def test_dsp_instructions_are_used(tmp_path: Path) -> None:
    graph = resnet8_graph(size=8)
    force = {"conv1": "conv2d_t2_u8", "conv3": "conv2d_tl_u8"}
    device = Device(planned(graph, "mps2-an386", force), tmp_path)
    text = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(device.elf)], check=True, capture_output=True, text=True
    ).stdout
    assert all(
        f"\t{name}\t" in text
        for name in ("smlad", "uxtb16", "smlawb", "usada8", "usat", "uadd8", "uxtab16", "ssub16")
    )


def test_every_kernel_is_met_by_some_graph_here() -> None:
    used = {
        step.kernel
        for graph in (wide_graph(), separable_graph(1), *(random_graph(n) for n in (3, 8, 37)))
        for force in forces(graph, "cortex-m7")
        for step in planned(graph, "nucleo-h743", force).steps
    }
    assert used == {
        k.id for k in catalogue().values() if k.file.op in (*FAMILIES["fixed"], "layout")
    }
