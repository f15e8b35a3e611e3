"""Every field that the .tflite reader believes: what files may leave out, write in two places, or
write wrongly, and what TensorFlow Lite makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tflite_models import Op, T, constant, write
from tinyrobust import graph
from tinyrobust.errors import ConvertError
from tinyrobust.graph import int8
from tinyrobust.tflite import importer as tflite
from tinyrobust.tflite.reference import Reference
from tinyrobust.tflite.sparse import Level, Sparsity, densify

SHAPE = (1, 4, 5, 2)
A, B, C = T(SHAPE, 0.1, 3, name="a"), T(SHAPE, 0.07, -9, name="b"), T(SHAPE, 0.2, -5, name="c")
EQUAL = [T(SHAPE, 0.1, 3) for _ in range(3)]
TABLES = {"MUL": "MulOptions", "SUB": "SubOptions", "ADD": "AddOptions",
          "MAXIMUM": "MaximumMinimumOptions", "MINIMUM": ""}  # fmt: skip
NODES = {"MUL": "mul_int8", "SUB": "sub_int8", "ADD": "add_int8", "MAXIMUM": "maximum_int8",
         "MINIMUM": "minimum_int8"}  # fmt: skip


def of_code(code: str, fields: tuple[str, ...], table: str | None = None) -> bytes:
    """``code`` of the input and its RELU."""
    tensors = EQUAL if code in ("MAXIMUM", "MINIMUM") else [A, B, C]
    ops = [Op("RELU", [0], [1]), Op(code, [0, 1], [2], TABLES[code] if table is None else table)]
    return write(tensors, ops, [0], [2], fields=fields)


def refused(data: bytes) -> str:
    with pytest.raises(ConvertError) as error:
        tflite.from_bytes(data, name="model", where="model.tflite")
    return error.value.message


@pytest.mark.parametrize("fields", [("old",), ("new",), ("old", "new")], ids="+".join)
@pytest.mark.parametrize("code", TABLES)
def test_an_operator_is_what_either_field_says(code: str, fields: tuple[str, ...]) -> None:
    net = tflite.from_bytes(of_code(code, fields), name="model")
    assert [n.op for n in net.nodes] == ["input_int8", "lookup_int8", NODES[code]]


@pytest.mark.train
@pytest.mark.parametrize("code", ["MUL", "SUB", "MAXIMUM"])
def test_the_newer_field_alone_equals_the_reference(code: str) -> None:
    data = of_code(code, ("new",))
    net = tflite.from_bytes(data, name="model")
    x = np.random.default_rng(1).integers(0, 256, (20, *net.input.shape), np.uint8)
    np.testing.assert_array_equal(graph.run(net, x), Reference(data, net).scores(x))


@pytest.mark.parametrize(
    ("code", "table"), [("ADD", "MulOptions"), ("MUL", "AddOptions"), ("MINIMUM", "SubOptions")]
)
def test_options_of_another_operator_are_refused(code: str, table: str) -> None:
    text = refused(of_code(code, ("old", "new"), table))
    assert f"carries {table}, the options of another operator" in text


def convolution(weights: T, bias: T, out: T | None = None) -> bytes:
    source = T((1, 3, 3, 2), 0.1, 3)
    options = {"Padding": 1, "StrideH": 1, "StrideW": 1}
    out = out or T((1, 3, 3, 2), 0.2, -5)
    return write([source, weights, bias, out], [Op("CONV_2D", [0, 1, 2], [3], "Conv2DOptions",
                                                  options)], [0], [3])  # fmt: skip


WEIGHTS = constant(np.arange(-2, 2, dtype=np.int8).reshape(2, 1, 1, 2), [0.1, 0.2])


def test_a_bias_may_name_any_axis() -> None:
    """TensorFlow Lite Micro's person detector has such biases; nothing reads the field."""
    bias = constant(np.array([5, -6], np.int32), [0.01, 0.02], axis=3)
    node = tflite.from_bytes(convolution(WEIGHTS, bias), name="model").nodes[1]
    assert isinstance(node, int8.Conv2DInt8) and node.bias.tolist() == [5, -6]


def test_a_channel_of_scale_0_gives_the_zero_point() -> None:
    weights = constant(np.ones((2, 1, 1, 2), np.int8), [0.1, 0.0])
    bias = constant(np.array([5, -6], np.int32), [0.01, 0.0])
    net = tflite.from_bytes(convolution(weights, bias), name="model")
    scores = graph.run(net, np.full((1, *net.input.shape), 255, np.uint8)).reshape(-1, 2)
    assert set(scores[:, 1].tolist()) == {-5} and set(scores[:, 0].tolist()) != {-5}
    text = refused(convolution(WEIGHTS, constant(np.zeros(2, np.int32)), T((1, 3, 3, 2), 0.0)))
    assert "has a scale of 0; need more than 0" in text


@pytest.mark.parametrize(
    ("tensors", "op"),
    [
        ([T((1, 3, 4, 2), 0.1), T((1, 3, 2, 4), 0.1)],
         Op("RESHAPE", [0], [1], "ReshapeOptions", {"NewShape": [1, 3, 8, 1]})),
        ([T((1, 1, 3, 4), 0.1), T((1, 4, 3), 0.1)],
         Op("SQUEEZE", [0], [1], "SqueezeOptions", {"SqueezeDims": [1]})),
        ([T((1, 3, 4), 0.1), T((1, 4, 1, 3), 0.1), constant(np.array([2], np.int32))],
         Op("EXPAND_DIMS", [0, 2], [1], "ExpandDimsOptions")),
        ([T((1, 3, 1, 4), 0.1), T((1, 1, 4, 3), 0.1), constant(np.array([0, 2, 1, 3], np.int32))],
         Op("TRANSPOSE", [0, 2], [1], "TransposeOptions")),
        ([T((1, 3, 4, 2), 0.1), T((1, 2, 3), 0.1), constant(np.array([1], np.int32)),],
         Op("MEAN", [0, 2], [1], "ReducerOptions")),
        ([T((1, 3, 4), 0.1), T((1, 1, 8), 0.1), constant(np.ones((2, 3), np.int8), 0.1)],
         Op("FULLY_CONNECTED", [0, 2], [1], "FullyConnectedOptions")),
    ],
    ids=lambda x: x.code if isinstance(x, Op) else "",
)  # fmt: skip
def test_shapes_that_the_operator_does_not_make_are_refused(tensors: list[T], op: Op) -> None:
    text = refused(write(tensors, [op], [0], [1]))
    assert "makes" in text and op.code in text


def test_a_model_of_no_channels_is_one_clear_error() -> None:
    weights = constant(np.ones((1, 1, 1, 2), np.int8), 0.1)
    tensors = [T((1, 3, 3, 0), 0.1), weights, T((1, 3, 3, 2), 0.1)]
    options = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DepthMultiplier": 1}
    op = Op("DEPTHWISE_CONV_2D", [0, 1], [2], "DepthwiseConv2DOptions", options)
    assert "has no elements" in refused(write(tensors, [op], [0], [2]))


@pytest.mark.cases
def test_the_files_that_crashed_are_refused(public_cases: Path) -> None:
    files = sorted(public_cases.glob("hostile/*.tflite"))
    assert len(files) >= 3
    for file in files:
        text = refused(file.read_bytes())
        assert "one thing is not supported: operator" in text and "has no elements" in text
        assert "\n" not in text


@pytest.mark.cases
@pytest.mark.train
@pytest.mark.parametrize(
    "name",
    ["mul_newfield", "sub_newfield", "maximum_newfield", "m_sparse", "m_zero_channel_scale"],
)
def test_a_public_file_equals_the_reference(name: str, public_cases: Path) -> None:
    data = (public_cases / "tflite" / f"{name}.tflite").read_bytes()
    net = tflite.from_bytes(data, name=name)
    x = np.random.default_rng(1).integers(0, 256, (20, *net.input.shape), np.uint8)
    np.testing.assert_array_equal(graph.run(net, x), Reference(data, net).scores(x))


def _sparse(matrix: np.ndarray, block: int) -> tuple[Sparsity, np.ndarray]:
    """A matrix as rows of runs of ``block`` columns, those of zeros left out."""
    rows, columns = matrix.shape
    segments, indices, values = [0], [], []
    for row in matrix:
        for j in range(columns // block):
            run = row[j * block : (j + 1) * block]
            if run.any():
                indices.append(j)
                values.append(run)
        segments.append(len(indices))
    levels = [Level(rows, None, None),
              Level(0, np.array(segments, np.int64), np.array(indices, np.int64))]  # fmt: skip
    if block > 1:
        levels.append(Level(block, None, None))
    order = tuple(range(len(levels)))
    made = Sparsity(order, (1,) if block > 1 else (), tuple(levels))
    return made, np.concatenate(values).astype(np.int8).view(np.uint8).reshape(-1, 1)


@pytest.mark.parametrize("block", [1, 4])
def test_sparse_weights_are_the_dense_ones(block: int) -> None:
    rng = np.random.default_rng(block)
    matrix = rng.integers(-128, 128, (9, 16)).astype(np.int8)
    matrix[np.repeat(rng.random((9, 16 // block)) < 0.6, block, axis=1)] = 0
    sparsity, values = _sparse(matrix, block)
    dense = densify(sparsity, values, matrix.shape, 1 << 20)
    np.testing.assert_array_equal(dense.view(np.int8).reshape(matrix.shape), matrix)
    for wrong in (values[:-1], np.concatenate([values, values[:1]])):
        with pytest.raises(ValueError, match="its sparsity places"):
            densify(sparsity, wrong, matrix.shape, 1 << 20)
    with pytest.raises(ValueError, match="larger than a tensor may be"):
        densify(sparsity, values, matrix.shape, 4)
