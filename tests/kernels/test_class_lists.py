"""Kernels over class lists and depthwise kernels: codes, counts, and equal integers everywhere."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from tests.graphs import Builder, random_graph, resnet8_graph, separable_graph
from tests.kernels.arm import Device
from tests.kernels.host import Compiled, planned
from tests.kernels.test_arm import check as check_device
from tests.kernels.test_host import check, some_slow
from tinyrobust.codegen.packers import class_ranks
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import candidates, classes, compiled, layers
from tinyrobust.kernels.counts import class_lists

CONVS = ("conv2d_tcl_u8", "conv2d_tclh_u8")
COMPILED = "conv2d_tcc_u8"
DEPTHWISE = ("depthwise_conv2d_tcl_u8", "depthwise_conv2d_tclh_u8",
             "depthwise_conv2d_tcc_u8", "depthwise_conv2d_t2_u8")  # fmt: skip


def forced(graph: Graph, core: str, kernel: str, share: int = 0) -> dict[str, str]:
    """``kernel`` on every layer that it accepts."""
    setting = f"{kernel}:share={share}" if share else kernel
    return {
        layer.name: setting
        for layer in layers(graph)
        if layer.op in ("conv2d", "depthwise_conv2d")
        and any(k.id == kernel for k in candidates(layer, graph, core))
    }


@pytest.mark.parametrize("share", [1, 2, 3, 4])
def test_codes_are_ranks_of_a_gray_code(share: int) -> None:
    patterns = np.array(list(itertools.product((-1, 0, 1), repeat=share)), np.int8).T
    rank = classes.codes(patterns, share)[0]
    assert sorted(rank) == list(range(3**share))
    assert np.array_equal(classes.codes(-patterns, share)[0], 3**share - 1 - rank)
    in_order = patterns[:, np.argsort(rank)].astype(int)
    assert np.all(np.abs(np.diff(in_order)).sum(axis=0) == 1)  # neighbours: one trit, by one


@pytest.mark.parametrize("share", [1, 2, 3, 4])
def test_packed_codes_come_back(share: int) -> None:
    weights = np.random.default_rng(share).integers(-1, 2, (7, 3, 3, 5)).astype(np.int8)
    words = class_ranks.pack(weights, share).astype(np.int64)
    per_word, bits = classes.PER_WORD[share], classes.BITS[share]
    found = (words[:, None] >> (np.arange(per_word) * bits)) & ((1 << bits) - 1)
    blocks = -(-7 // share)
    found = found.reshape(blocks, -1)
    assert np.array_equal(found[:, :45], classes.codes(weights, share))
    assert np.all(found[:, 45:] == 3**share // 2)
    assert words.size * 4 <= blocks * share * 45 / 4 + 4 * blocks + 1  # two bits a weight


@pytest.mark.parametrize("kernel", CONVS)
@pytest.mark.parametrize("case", some_slow([(3, 4), (1, 2), (8, 3), (38, 1), (33, 4)], 1))
def test_convolutions_on_the_host(case: tuple[int, int], kernel: str, tmp_path: Path) -> None:
    seed, share = case
    graph = random_graph(seed)
    check(Compiled(planned(graph, force=forced(graph, "host", kernel, share)), tmp_path), graph)


@pytest.mark.parametrize("seed", some_slow([1, 38, 44], 1))
def test_compiled_weights_on_the_host(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    check(Compiled(planned(graph, force=forced(graph, "host", COMPILED)), tmp_path), graph)


@pytest.mark.parametrize("kernel", DEPTHWISE)
@pytest.mark.parametrize("seed", some_slow([1, 4, 5, 8], 1))
def test_depthwise_on_the_host(seed: int, kernel: str, tmp_path: Path) -> None:
    graph = separable_graph(seed)
    check(Compiled(planned(graph, force=forced(graph, "host", kernel)), tmp_path), graph)


BOARDS = [
    ("nucleo-h743", ()),
    pytest.param(("mps2-an386", ()), marks=pytest.mark.slow),
    pytest.param(("mps2-an386", ("-DTR_PORTABLE",)), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("board", BOARDS, ids=["m7", "m4", "m4-portable"])
@pytest.mark.parametrize("kernel", CONVS)
@pytest.mark.parametrize("share", some_slow([4, 3, 2, 1], 1))
def test_convolutions_on_arm(
    share: int, kernel: str, board: tuple[str, tuple[str, ...]], tmp_path: Path
) -> None:
    graph = random_graph((3, 8, 37, 44)[share - 1])
    plan = planned(graph, board[0], forced(graph, "cortex-m4", kernel, share))
    check_device(Device(plan, tmp_path, board[1]), graph, n=2)


@pytest.mark.parametrize("board", BOARDS, ids=["m7", "m4", "m4-portable"])
@pytest.mark.parametrize("kernel", DEPTHWISE)
def test_depthwise_on_arm(kernel: str, board: tuple[str, tuple[str, ...]], tmp_path: Path) -> None:
    graph = separable_graph(4)
    plan = planned(graph, board[0], forced(graph, "cortex-m4", kernel))
    check_device(Device(plan, tmp_path, board[1]), graph, n=2)


@pytest.mark.parametrize("board", BOARDS, ids=["m7", "m4", "m4-portable"])
def test_compiled_weights_on_arm(board: tuple[str, tuple[str, ...]], tmp_path: Path) -> None:
    b = Builder(9, (5, 32, 4), 0.5)
    b.conv(36, 1)
    b.requantize()
    b.conv(6)  # beyond the reach of a load
    source = b.requantize(shift=16)
    second = b.conv(6)
    b.requantize(second, source, bits=4)
    b.conv(3, 3, 2)
    b.requantize()
    b.average()
    b.dense(5)
    b.requantize(scores=True)
    graph = b.graph("compiled")
    plan = planned(graph, board[0], forced(graph, "cortex-m4", COMPILED))
    device = Device(plan, tmp_path, board[1])
    check_device(device, graph, n=2)
    if board[1]:
        return
    with device.elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        sizes = {s.name: s["st_size"] for s in table.iter_symbols() if s.name[:8] == "tr_layer"}
    expected = {
        f"tr_layer{i:02d}_block{k:03d}": block.code_bytes
        for i, (layer, step) in enumerate(zip(plan.layers, plan.steps, strict=True))
        if step.kernel == COMPILED
        for k, block in enumerate(compiled.blocks(layer, graph))
    }
    assert sizes == expected and len(expected) > 10


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.97])
def test_long_lists_and_empty_ones(zeros: float, tmp_path: Path) -> None:
    b = Builder(5, (6, 12, 3), zeros)
    b.conv(9, 1)
    b.requantize()
    b.conv(5, (5, 3))
    b.requantize(shift=16)
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("lists")
    plan = planned(graph, "nucleo-h743", forced(graph, "cortex-m7", "conv2d_tclh_u8", 2))
    check_device(Device(plan, tmp_path), graph, n=2)


def test_list_work_is_what_the_list_code_takes(tmp_path: Path) -> None:
    """Two networks that differ in one layer's weights only: so do their instructions."""
    counted, predicted = [], []
    for zeros in (0.4, 0.8):
        b = Builder(6, (8, 8, 16))
        b.zeros = zeros
        b.conv(8)
        b.requantize(shift=16)
        b.average()
        b.dense(3)
        b.requantize(scores=True)
        graph = b.graph("work")
        plan = planned(graph, "nucleo-h743", forced(graph, "cortex-m7", "conv2d_tclh_u8", 4))
        folder = tmp_path / str(zeros)
        folder.mkdir()
        counted.append(check_device(Device(plan, folder), graph)[1])
        found = class_lists.counts(plan.layers[1], graph, {"share": 4})
        predicted.append(found["groups"] * found["list_work"])
    making = 0.02 * counted[0]  # of the lists themselves, which differ a little too
    assert abs((counted[0] - counted[1]) - (predicted[0] - predicted[1])) < making


@pytest.mark.slow
def test_resnet8_without_code_in_ram(tmp_path: Path) -> None:
    graph = resnet8_graph()
    share = {"conv1": 2, "conv10": 2, "conv15": 2}
    force = {
        layer.name: f"conv2d_tcl_u8:share={share.get(layer.name, 4)}"
        for layer in layers(graph) if layer.op == "conv2d"
    }  # fmt: skip
    plan = planned(graph, "nucleo-h743", force)
    counts = check_device(Device(plan, tmp_path, ("-O3",)), graph)
    assert sum(counts) < 4_700_000  # int8 by CMSIS-NN: 29.94 M
    assert sum(s.flash_weights + s.flash_tables for s in plan.steps) <= 24 * 1024
    assert plan.arena_bytes <= 64 * 1024


@pytest.mark.slow
def test_resnet8_without_dsp_instructions(tmp_path: Path) -> None:
    graph = resnet8_graph()
    force = {layer.name: "conv2d_tcl_u8:share=3" for layer in layers(graph) if layer.op == "conv2d"}
    plan = planned(graph, "mps2-an386", force)
    counts = check_device(Device(plan, tmp_path, ("-O3", "-mcpu=cortex-m3")), graph)
    assert sum(counts) < 8_900_000


@pytest.mark.slow
def test_resnet8_with_compiled_weights(tmp_path: Path) -> None:
    graph = resnet8_graph()
    force = {layer.name: COMPILED for layer in layers(graph) if layer.op == "conv2d"}
    plan = planned(graph, "nucleo-h743", force)
    counts = check_device(Device(plan, tmp_path, ("-O3",)), graph)
    assert sum(counts) < 3_200_000
