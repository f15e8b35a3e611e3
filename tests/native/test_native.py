"""The engine: every integer is the interpreter's, every gradient that of the numpy twins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.graphs import Builder, random_graph, resnet8_graph, separable_graph
from tests.int8_graphs import random_int8_graph
from tests.int8_networks import ds_cnn, network, resnet8
from tests.twin.test_twin import alive_graph, images
from tinyrobust import native
from tinyrobust.graph import Graph, int8, interpreter
from tinyrobust.graph.nodes import Conv2D, DepthwiseConv2D
from tinyrobust.twin import native as twin_native
from tinyrobust.twin.fixed import Twin
from tinyrobust.twin.int8 import TwinInt8
from tinyrobust.twin.native import NativeTwin, NativeTwinInt8

Made = Any


def agree(graph: Graph, count: int, seed: int, leak: float = 0.0) -> None:
    x = images(graph, count, seed)
    fixed = graph.family == "fixed"
    fast: Made = NativeTwin(graph, leak=leak) if fixed else NativeTwinInt8(graph, leak=leak)
    slow: Made = Twin(graph, leak=leak) if fixed else TwinInt8(graph, leak=leak)
    np.testing.assert_array_equal(fast.scores(x), interpreter.run(graph, x))
    flow = np.random.default_rng(seed).normal(size=(count, graph.output.size))

    def loss(logits: Any, where: slice) -> tuple[Any, Any]:
        return (logits * flow[where]).sum(axis=1), flow[where]

    got, want = fast.pull(x, loss), slow.pull(x, loss)
    np.testing.assert_array_equal(got.logits, want.logits)
    np.testing.assert_array_equal(got.loss, want.loss)
    close(got.gradient, want.gradient, graph)


def close(found: Made, wanted: Made, graph: Graph) -> None:
    """Equal but for the rounding of float32, whose order of summation is the processor's: half an
    ulp of the largest value for every term of every sum that a gradient passes (Higham, Accuracy
    and Stability of Numerical Algorithms, 2002, section 3.1)."""
    weights = [n.arrays["weights"] for n in graph.nodes if "weights" in n.arrays]
    terms = sum(max(w.shape[0], w.size // w.shape[0]) for w in weights) + len(graph.nodes)
    bound = terms * 2.0**-24 * np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= bound


@pytest.fixture(params=[False, True], ids=["floats", "bytes"])
def dot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to multiply, whatever this processor is fast at."""
    monkeypatch.setattr(native, "has_dot", lambda: request.param)


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize("seed", range(40))
def test_random_networks_of_family_fixed(seed: int) -> None:
    agree(random_graph(seed) if seed < 32 else separable_graph(seed), 9, seed)


@pytest.mark.parametrize("seed", range(6))
def test_networks_whose_gradients_flow(seed: int) -> None:
    graph = alive_graph(seed)
    x = images(graph, 9, seed)
    flow = np.random.default_rng(seed).normal(size=(9, graph.output.size))
    gradient = NativeTwin(graph).gradient(x, flow)
    assert np.abs(gradient).max() > 0
    close(gradient, Twin(graph).gradient(x, flow), graph)


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize("seed", range(40))
def test_random_networks_of_family_tflite(seed: int) -> None:
    agree(random_int8_graph(seed, 25) if seed < 24 else network(seed), 9, seed)


@pytest.mark.parametrize("seed", range(4))
def test_clamps_that_leak(seed: int) -> None:
    agree(random_graph(seed), 9, seed, leak=0.3)
    agree(random_int8_graph(seed, 25), 9, seed, leak=0.3)


@pytest.mark.parametrize("make", [resnet8_graph, resnet8, ds_cnn])
def test_known_networks(make: Any) -> None:
    agree(make(), 9, 0)


@pytest.mark.parametrize("make", [resnet8_graph, resnet8, ds_cnn])
def test_known_networks_leave_no_convolution_to_numpy(make: Any) -> None:
    graph = make()
    fast: Made = NativeTwin(graph) if graph.family == "fixed" else NativeTwinInt8(graph)
    kinds = Conv2D, DepthwiseConv2D, int8.Conv2DInt8, int8.DepthwiseConv2DInt8
    assert {n.name for n in graph.nodes if isinstance(n, kinds)} == set(fast._window)


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize("by", ["input", "convolution"])
def test_only_bytes_may_have_sums_beyond_floats(by: str) -> None:
    """A sum of 2**24 or more is not exact in float32, but in the int32 that bytes are summed in."""
    weights = np.full((1, 3, 3, 8000), 127, np.int8)
    assert 127 * 255 * weights[0].size > native.EXACT
    of = {"bias": np.zeros(1, np.int32), "multipliers": np.ones(1, np.int32),
          "shifts": np.zeros(1, np.int32)}  # fmt: skip
    node = int8.Conv2DInt8("c", ("x",), "y", weights=weights, **of)
    before = int8.Conv2DInt8("b", ("w",), "x", weights=weights, **of)
    shapes = {"x": SimpleNamespace(shape=(3, 3, 8000)), "y": SimpleNamespace(shape=(1, 1, 1))}
    graph: Made = SimpleNamespace(tensor=shapes, nodes=[before] if by == "convolution" else [])
    made = twin_native._int8(graph, node)
    if by == "input":
        assert made is None
    else:
        x = np.full((1, 3, 3, 8000), -128, np.float32)
        assert made is not None
        assert made.forward(x, floats=False)[0, 0, 0, 0] == -128 * 127 * 72000


def test_the_engine_is_not_asked_to_read_outside() -> None:
    weights = native.pack(np.ones((2, 3, 3, 4)))
    x = np.zeros((1, 5, 5, 4), np.float32)
    assert native.convolve(x, weights, (3, 3, 2)).shape == (1, 3, 3, 2)
    for out, pads in (((4, 3, 2), (0,) * 4), ((3, 4, 2), (0,) * 4), ((3, 3, 3), (0,) * 4),
                      ((3, 3, 2), (-1, 1, 0, 0))):  # fmt: skip
        with pytest.raises(ValueError, match="gives no"):
            native.convolve(x, weights, out, pads=pads)
    with pytest.raises(ValueError, match="gives no"):
        native.convolve(np.zeros((1, 5, 5, 3), np.float32), weights, (3, 3, 2))


def test_channels_beyond_and_between_the_lanes() -> None:
    """1, 15, 16, 17, 33 and 48 output channels, widths that leave every rest of a tile."""
    rng = np.random.default_rng(0)
    for channels, width in zip((1, 15, 16, 17, 33, 48), (1, 7, 8, 9, 15, 21), strict=True):
        x = rng.integers(0, 128, (2, 4, width + 2, 5)).astype(np.float32)
        w = rng.integers(-1, 2, (channels, 3, 3, 5))
        view = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        wanted = np.einsum("nyxcij,oijc->nyxo", view, w)
        np.testing.assert_array_equal(
            native.convolve(x, native.pack(w), (2, width, channels)), wanted
        )


@pytest.mark.parametrize("channels", [1, 15, 16, 17, 33, 48])
@pytest.mark.parametrize(
    ("depth", "columns", "stride"), [(1, 1, 1), (3, 2, 2), (4, 3, 1), (5, 3, 2)]
)
def test_bytes_are_summed_as_integers(channels: int, depth: int, columns: int, stride: int) -> None:
    """Codes -128..127 of a zero point, weights -128..127, pads, every rest of 4 and of a tile."""
    rng = np.random.default_rng(channels)
    zero, pads = -7, (1, 0, 2, 1)
    w = rng.integers(-128, 128, (channels, 3, columns, depth))
    for width in range(columns, 19):
        x = rng.integers(-128, 128, (2, 4, width, depth))
        wide = np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)), constant_values=zero) - zero
        view = np.lib.stride_tricks.sliding_window_view(wide, (3, columns), (1, 2))
        wanted = np.einsum("nyxcij,oijc->nyxo", view[:, ::stride, ::stride], w)
        made = native.pack_bytes(w, zero, 128)
        for floats, dtype in ((True, np.float32), (False, np.int32)):
            found = native.convolve_bytes(
                x.astype(np.float32), made, wanted.shape[1:], strides=(stride, stride), pads=pads,
                floats=floats,
            )  # fmt: skip
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, wanted)


def test_bytes_are_not_read_outside() -> None:
    weights = native.pack_bytes(np.ones((2, 3, 3, 4), int))
    with pytest.raises(ValueError, match="gives no"):
        native.convolve_bytes(np.zeros((1, 5, 5, 4), np.float32), weights, (4, 3, 2))


@pytest.mark.usefixtures("dot")
@pytest.mark.parametrize("make", [resnet8_graph, resnet8])
def test_bytes_are_multiplied_where_that_is_faster_but_for_the_image(make: Any) -> None:
    graph, dot = make(), native.has_dot()
    fast: Made = NativeTwin(graph) if graph.family == "fixed" else NativeTwinInt8(graph)
    windows = [w if graph.family == "fixed" else w[0] for w in fast._window.values()]
    assert [w.bytes is not None for w in windows] == [False] + [dot] * (len(windows) - 1)
    agree(graph, 9, 1)


def test_a_twin_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    assert type(twin_native.twin_for(small_graph())) is Twin
    assert type(twin_native.twin_for(network(0))) is TwinInt8
    monkeypatch.setattr(native, "available", lambda: True)
    assert type(twin_native.twin_for(small_graph())) is NativeTwin


def small_graph() -> Graph:
    b = Builder(0, (4, 4, 2))
    b.conv(3)
    b.requantize(shift=5)
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    return b.graph("small")
