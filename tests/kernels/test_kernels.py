"""The kernel catalogue: expressions, kernel.yaml, fusion into layers, the predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import Builder, random_graph, resnet8_graph
from tinyrobust import kernels, yamlfile
from tinyrobust.boards.cores import CORES
from tinyrobust.errors import BuildError, GraphError
from tinyrobust.graph.nodes import Conv2D, Graph
from tinyrobust.kernels import expression
from tinyrobust.kernels.schema import VARIABLES, KernelFile
from tinyrobust.kernels.variables import variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * x", 17), ("ceil(x / 4) * 4", 8), ("-x // 2", -3), ("x % 4 == 1", 1),
        ("3 if x > 4 and not y else 7", 3), ("max(x, y, 9)", 9), ("1 < x < 5", 0), ("2 ** 3", 8),
    ],
)  # fmt: skip
def test_expressions(text: str, value: float) -> None:
    assert expression.evaluate(text, {"x": 5, "y": 0}) == value


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "x.y", "[1]", "lambda: 1", "open('a')", "x[0]", "'a'", "1 +", "True",
     "max(*x)", "max(x, key=y)", "f'{x}'", "(x := 1)"],
)  # fmt: skip
def test_nothing_but_arithmetic_is_an_expression(text: str) -> None:
    with pytest.raises(ValueError):
        expression.evaluate(text, {"x": 1})


@given(st.text(alphabet="x1+-*/()., '[]_abc=<>", max_size=30))
def test_any_text_gives_a_number_or_a_clean_error(text: str) -> None:
    try:
        names = expression.names(text)
    except ValueError:
        return
    try:
        expression.evaluate(text, dict.fromkeys(names, 3.0))
    except (ValueError, ArithmeticError, TypeError):
        return


def test_the_catalogue_is_sound() -> None:
    for kernel in kernels.catalogue().values():
        assert all(source.is_file() for source in kernel.sources)
        assert (kernel.folder / f"{kernel.id}.hpp").is_file()
        assert f"void {kernel.id}(" in (kernel.folder / f"{kernel.id}.hpp").read_text()
        file = kernel.file
        assert set(file.flash.code_bytes) == set(CORES)
        assert all(bool(n) == (core != "host") for core, n in file.flash.code_bytes.items())
        assert all(set(piece) == set(CORES) for piece in file.flash.shared.values())
        covered = [core for group in kernel.file.instructions for core in group.cores]
        assert sorted(covered) == ["cortex-m4", "cortex-m7", "host"]
        assert sorted([*covered, *file.scaled]) == sorted(CORES)
        for scaled in file.scaled.values():
            assert scaled.of in covered and scaled.error_percent > 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("op: dense", "op: matmul", "op"),
        ("packing: t2_rows", "packings: t2_rows", "unknown key 'packings'"),
        ("8 * quads", "8 * squads", "squads"),
        ("8 * quads", "__import__('os')", "not allowed"),
    ],
)
def test_a_wrong_kernel_file_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = (kernels.catalogue()["dense_t2_u8"].folder / "kernel.yaml").read_text()
    assert old in text
    (tmp_path / "kernel.yaml").write_text(text.replace(old, new))
    with pytest.raises(BuildError) as caught:
        yamlfile.load(tmp_path / "kernel.yaml", KernelFile, BuildError)
    assert said in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("seed", range(20))
def test_layers_cover_every_node_once(seed: int) -> None:
    graph = random_graph(seed)
    found = kernels.layers(graph)
    covered = [name for layer in found for name in layer.nodes]
    views = [node.name for node in graph.nodes if node.op == "reshape"]
    assert sorted(covered + views) == sorted(node.name for node in graph.nodes)
    made = set()
    roots = kernels.view_roots(graph)
    for layer in found:
        assert all(roots[name] in made for name in layer.reads)
        made.add(layer.output)


def test_resnet8_fuses_residuals_with_the_later_convolution() -> None:
    found = {layer.name: layer for layer in kernels.layers(resnet8_graph())}
    assert found["conv5"].nodes == ("conv5", "requantize6")
    assert (found["conv5"].source, found["conv5"].operand) == ("requantize4_q", "requantize2_q")
    assert found["conv9"].finish == "raw"
    assert (found["conv10"].operand, found["conv10"].branch) == ("conv9_acc", 1)
    assert len(found) == 12


def test_accumulators_with_two_readers_are_not_fused() -> None:
    b = Builder(0, (6, 6, 4))
    acc = b.conv(4)
    b.requantize(acc)
    b.requantize(acc, b.x)
    b.flatten()
    b.dense(3)
    b.requantize(scores=True)
    found = kernels.layers(b.graph("shared"))
    assert [layer.op for layer in found] == ["input", "conv2d", "requantize", "requantize", "dense"]
    assert found[1].finish == "raw"


def test_storage_takes_the_proved_range() -> None:
    b = Builder(0, (4, 4, 70), zeros=0.0)
    small = b.conv(4, 1)  # 70 inputs of 0..127
    b.requantize(small)
    large = b.conv(4, 3, source=b.tensors[0])  # 630 of them
    b.requantize(large, small)
    b.flatten()
    b.dense(2)
    b.requantize(scores=True)
    types = kernels.storage(b.graph("storage"))
    assert (types[small.name], types[large.name], types["q"]) == ("i16", "i32", "u8")


def test_variables_are_the_documented_ones() -> None:
    graph = resnet8_graph()
    for layer in kernels.layers(graph):
        assert set(variables(layer, graph, "cortex-m7")) == VARIABLES
    known = variables(kernels.layers(graph)[1], graph, "cortex-m7")  # 3x3 over 32x32, padded by one
    assert (known["edge_pixels"], known["border_pixels"]) == (2 * 32, 32 * 32 - 30 * 30)
    assert (known["taps"], known["macs"]) == (27, 27 * 16 * 1024)


def test_weights_and_tables_are_predicted_exactly() -> None:
    graph = resnet8_graph()
    conv = kernels.layers(graph)[2]
    cost = kernels.predict(kernels.catalogue()["conv2d_t2_u8"], conv, graph, "cortex-m7")
    assert cost.flash_weights == 16 * 9 * 16 // 4
    assert cost.scratch_bytes == 144 * 2 * 4
    more = kernels.predict(kernels.catalogue()["conv2d_t2_u8"], conv, graph, "host")
    assert more.instructions > 2 * cost.instructions  # no DSP instructions there


def test_a_layer_that_no_kernel_takes_is_named() -> None:
    b = Builder(0, (6, 6, 2))
    b.conv(3)
    b.conv(3)
    b.requantize()
    b.flatten()
    b.dense(2)
    b.requantize(scores=True)
    bad: Graph = b.graph("bad")
    with pytest.raises(GraphError) as caught:
        kernels.candidates(kernels.layers(bad)[2], bad, "cortex-m7")
    assert "'conv2'" in caught.value.message
    assert "does not read i16" in caught.value.hint


def test_narrow_covers_every_channel() -> None:
    weights = np.zeros((2, 1, 1, 300), np.int8)
    weights[1] = 1
    b = Builder(0, (2, 2, 300))
    acc = b.conv(2, 1)
    node = b.nodes[-1]
    assert isinstance(node, Conv2D)
    b.nodes[-1] = Conv2D(node.name, node.inputs, node.output, weights, node.strides, node.pads)
    b.tensors[-1] = type(acc)(acc.name, acc.shape, 0, 300 * 127, 7)
    b.x = b.tensors[-1]
    b.requantize()
    b.flatten()
    b.dense(2)
    b.requantize(scores=True)
    assert kernels.storage(b.graph("narrow"))[acc.name] == "i32"
