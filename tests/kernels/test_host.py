"""Generated code on the host equals the interpreter on every integer of every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.graphs import random_graph, resnet8_graph, tiny_graph
from tests.kernels.host import Compiled, planned
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import Graph


def check(compiled: Compiled, graph: Graph, n: int = 3, seed: int = 0) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (n, *graph.input.shape), np.uint8)
    images[0] = 255  # the largest sums
    expected = interpreter.trace(graph, images)
    for i, image in enumerate(images):
        got = compiled.trace(image)
        assert set(got) == {step.output for step in compiled.plan.steps}
        for name, value in got.items():
            np.testing.assert_array_equal(value, expected[name][i], err_msg=f"{graph.name} {name}")
        np.testing.assert_array_equal(compiled.scores(image), expected[graph.output.name][i])


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_equal_the_interpreter(seed: int, tmp_path: Path) -> None:
    graph = random_graph(seed)
    check(Compiled(planned(graph), tmp_path), graph)


def test_resnet8_equals_the_interpreter(tmp_path: Path) -> None:
    graph = resnet8_graph()
    check(Compiled(planned(graph), tmp_path, flags=("-O3",)), graph, n=2)


def test_tiny_graph_with_clang(tmp_path: Path) -> None:
    graph = tiny_graph()
    check(Compiled(planned(graph), tmp_path, compiler="clang++"), graph)
