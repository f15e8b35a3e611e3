"""The fast int8 kernels against the interpreter: as plain C++, and with DSP instructions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.int8_networks import NetworkBuilder, ds_cnn, edge_biases, network, resnet8
from tests.kernels.arm import Device
from tests.kernels.host import Compiled, planned, ready, write_sources
from tests.kernels.test_arm import check as check_arm
from tests.kernels.test_host import MAIN, some_slow
from tests.kernels.test_host import check as check_host
from tinyrobust.graph import int8, interpreter
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import candidates, catalogue, layers
from tinyrobust.kernels.counts import int8_linear
from tinyrobust.tflite import importer as tflite

PACKINGS = ("int8_pairs", "int8_planes", "int8_linear")
WITHOUT = ("add_tables_i8", "average_pool_words_i8", "depthwise_conv2d_i8w_i8")  # a packing
FAST = frozenset(
    k for k, kernel in catalogue().items() if kernel.file.packing in PACKINGS or k in WITHOUT
)


def fast(graph: Graph, turn: int = 0, core: str = "cortex-m7") -> dict[str, str]:
    """A fast kernel for every layer that one accepts; one after the other where several do."""
    found = {}
    for i, layer in enumerate(layers(graph)):
        fitting = [k.id for k in candidates(layer, graph, core) if k.id in FAST]
        if fitting:
            found[layer.name] = fitting[(i + turn) % len(fitting)]
    return found


@pytest.mark.parametrize("seed", some_slow(list(range(30)), 1))
def test_networks_on_the_host(seed: int, tmp_path: Path) -> None:
    graph = network(seed)
    check_host(Compiled(planned(graph, force=fast(graph, seed)), tmp_path), graph)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 4, 6, 9])
def test_sanitizers_find_nothing(seed: int, tmp_path: Path) -> None:
    graph = network(seed)
    sources, includes = write_sources(planned(graph, force=fast(graph, seed)), tmp_path)
    (tmp_path / "main.cpp").write_text(MAIN)
    flags = ["-std=c++17", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["g++", *flags, *includes, *ready("g++", [*flags, *includes], sources), "main.cpp"]
    subprocess.run([*command, "-o", "model"], check=True, cwd=tmp_path)
    images = np.random.default_rng(seed).integers(0, 256, (4, *graph.input.shape), np.uint8)
    images[0], images[1] = 255, 0
    (tmp_path / "in").write_bytes(images.tobytes())
    subprocess.run(["./model", "in", "out"], check=True, cwd=tmp_path)
    scores = np.fromfile(tmp_path / "out", np.int32).reshape(4, -1)
    np.testing.assert_array_equal(scores, interpreter.run(graph, images))


@pytest.mark.parametrize(
    ("board", "flags"),
    [("nucleo-h743", ()), pytest.param("mps2-an386", ("-O3",), marks=pytest.mark.slow)],
    ids=["m7", "m4-O3"],
)
@pytest.mark.parametrize("seed", some_slow(list(range(30, 50)), 1))
def test_networks_with_dsp_instructions(
    seed: int, board: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    graph = network(seed)
    check_arm(Device(planned(graph, board, fast(graph, seed)), tmp_path, flags), graph, n=2)


def test_the_networks_meet_every_fast_kernel() -> None:
    used = {k for seed in range(30, 50) for k in fast(network(seed), seed).values()}
    assert used == FAST


def edge_graph(depthwise: bool) -> Graph:
    """Each channel's accumulator is its bias plus the pixel, all 256 of them."""
    rng = np.random.default_rng(5)
    b = NetworkBuilder(5, (16, 16, 4))
    channels = 64
    scales = [(1 << 30, -1), ((1 << 31) - 1, -1), (1 << 30, -9), ((1 << 31) - 1, -9)]
    scales += [(1 << 30, -17), ((1 << 31) - 1, -17)]  # biases up to the ends of int32
    scales += [(int(rng.integers(1 << 30, 1 << 31)), -int(rng.integers(1, 15))) for _ in range(10)]
    rows = [(m, s, bias) for m, s in scales for bias in edge_biases(m, s, rng, channels // 16)]
    fields = {
        "multipliers": np.array([m for m, _, _ in rows], np.int32),
        "shifts": np.array([s for _, s, _ in rows], np.int32),
        "bias": np.array([bias for _, _, bias in rows], np.int32),
    }
    if depthwise:  # far beyond what is not clamped
        fields["bias"][4::9], fields["bias"][5::9] = 1 << 26, -(1 << 26)
    weights = np.zeros((channels, 1, 1, 4), np.int8)
    weights[:, 0, 0, 0] = 1
    for activation in ("relu", "none", "clamp"):
        source = b.tensors[0]
        if depthwise:
            b.convolution(channels, (1, 1), source=source)
            b.nodes[-1] = int8.Conv2DInt8(
                b.nodes[-1].name, b.nodes[-1].inputs, b.nodes[-1].output, weights=weights,
                bias=np.zeros(channels, np.int32),
                multipliers=np.full(channels, 1 << 30, np.int32),
                shifts=np.ones(channels, np.int32),
            )  # fmt: skip
            b.add(int8.DepthwiseConv2DInt8, (b.x,), b.x.shape,
                  weights=np.ones((1, 1, channels), np.int8), **fields,
                  **b.finish(activation))  # fmt: skip
        else:
            b.add(int8.Conv2DInt8, (source,), (16, 16, channels), weights=weights, **fields,
                  **b.finish(activation))  # fmt: skip
    b.scores()
    return b.graph("edges")


@pytest.mark.parametrize(
    "depthwise", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["conv2d", "depthwise"]
)
def test_rounding_at_its_edges(depthwise: bool, tmp_path: Path) -> None:
    graph = edge_graph(depthwise)
    force = fast(graph)
    assert len(force) >= 2
    image = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 4)).astype(np.uint8)
    image[0, ..., 0] = np.arange(256).reshape(16, 16)
    expected = interpreter.trace(graph, image)
    (tmp_path / "host").mkdir(), (tmp_path / "arm").mkdir()
    traces = [
        Compiled(planned(graph, force=force), tmp_path / "host").trace(image[0]),
        Device(planned(graph, "nucleo-h743", force), tmp_path / "arm").run(image[0])[0],
    ]
    for trace in traces:
        for name, value in trace.items():
            np.testing.assert_array_equal(value, expected[name][0], err_msg=name)


def test_every_pair_of_an_addition(tmp_path: Path) -> None:
    b = NetworkBuilder(3, (256, 256, 2))
    parts = [
        b.add(int8.StridedSliceInt8, (b.tensors[0],), (256, 256, 1), begin=(0, 0, c))
        for c in (0, 1)
    ]
    for activation in ("relu", "none", "none"):
        b.sum(*parts, activation)
        assert int8_linear.form(b.nodes[-1]) is not None  # type: ignore[arg-type]
        b.sum(*parts, "clamp")
    b.add(int8.StridedSliceInt8, (b.x,), (1, 1, 1))
    b.scores()
    graph = b.graph("pairs")
    image = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).astype(np.uint8)
    expected = interpreter.trace(graph, image[None])
    got, _ = Device(planned(graph, "nucleo-h743", fast(graph)), tmp_path).run(image)
    for name, value in got.items():
        np.testing.assert_array_equal(value, expected[name][0], err_msg=name)


@pytest.mark.parametrize(("make", "at_most"), [(resnet8, 11_400_000), (ds_cnn, 3_050_000)])
def test_instructions_of_published_networks(
    make: Callable[[], Graph], at_most: int, tmp_path: Path
) -> None:
    """CMSIS-NN: 29.94 M and 7.76 M, counted the same way."""
    graph = make()
    counts = check_arm(Device(planned(graph, "nucleo-h743"), tmp_path, ("-O3",)), graph)
    assert sum(counts) < at_most


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "at_most"), [("ic_resnet8_int8", 11_300_000), ("kws_dscnn_int8", 3_050_000)]
)
def test_mlperf_tiny_models(model: str, at_most: int, tmp_path: Path) -> None:
    graph = tflite.load(Path(os.environ["TINYROBUST_DATA"]) / "mlperf-tiny" / f"{model}.tflite")
    plan = planned(graph, "nucleo-h743")
    assert {s.kernel for s in plan.steps if s.op.startswith("conv2d")} <= FAST
    counts = check_arm(Device(plan, tmp_path, ("-O3",)), graph, n=3)
    assert sum(counts) < at_most


@pytest.mark.cases
@pytest.mark.slow
@pytest.mark.parametrize(("model", "at_most"), [("mlperf_vww_96_int8", 9_500_000)])
def test_public_models(model: str, at_most: int, public_cases: Path, tmp_path: Path) -> None:
    """CMSIS-NN on the person detector of MLPerf Tiny: 24.47 M. Its biases reach 2^30."""
    graph = tflite.load(public_cases / "tflite" / f"{model}.tflite")
    counts = check_arm(Device(planned(graph, "nucleo-h743"), tmp_path, ("-O3",)), graph, n=2)
    assert sum(counts) < at_most


def test_weights_that_do_not_fit_are_refused() -> None:
    b = NetworkBuilder(9, (4, 4, 4))
    b.convolution(8)
    heavy = b.nodes[-1]
    heavy.weights[1] = -128
    heavy.weights[0] = -128
    b.scores()
    assert not fast(b.graph("heavy"))


@pytest.mark.parametrize(("heavy", "accepted"), [(2, True), (1, False)])
def test_only_second_channels_of_pairs_are_short(
    heavy: int, accepted: bool, tmp_path: Path
) -> None:
    """600 weights of 127 sum up to more than 2^23: right in the first channel of a pair, refused in
    the second, and a bias of 2^30 matters to neither."""
    b = NetworkBuilder(9, (1, 1, 600))
    b.convolution(8, (1, 1), activation="none")
    wide = b.nodes[-1]
    wide.weights[:] = np.clip(wide.weights, -20, 20)
    wide.weights[heavy] = 127
    wide.bias[:] = (1 << 30, -(1 << 30), 5, -5, 1 << 30, -(1 << 30), 0, 1)
    wide.shifts[:] = -18
    b.scores()
    graph = b.graph("wide")
    force = fast(graph)
    assert (wide.name in force) == accepted
    if accepted:
        (tmp_path / "host").mkdir(), (tmp_path / "arm").mkdir()
        check_host(Compiled(planned(graph, force=force), tmp_path / "host"), graph)
        check_arm(Device(planned(graph, "nucleo-h743", force), tmp_path / "arm"), graph)
