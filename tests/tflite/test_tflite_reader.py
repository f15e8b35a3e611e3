"""The .tflite reader: what it makes of a file, and how it says what it cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tflite_models import Op, T, constant, pack_int4, write
from tinyrobust import graph
from tinyrobust.cli.main import run
from tinyrobust.convert.models import load_model
from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph import int8
from tinyrobust.tflite import importer as tflite
from tinyrobust.tflite.file import parse

X = T((1, 4, 4, 2), 0.1, 3, name="in")
Y = T((1, 4, 4, 2), 0.2, -5, name="out")
WINDOW = {"Padding": 0, "StrideH": 1, "StrideW": 1, "FusedActivationFunction": 0}


def relu() -> bytes:
    return write([X, Y], [Op("RELU", [0], [1])], [0], [1])


def conv(
    source: T = X, out: T = Y, weights: T | None = None, bias: T | None = None, **options: Any
) -> bytes:
    weights = weights or constant(np.ones((2, 1, 1, 2), np.int8), [0.1, 0.2])
    tensors = [source, weights, out, bias or constant(np.array([5, -6], np.int32), 0.01)]
    op = Op("CONV_2D", [0, 1, 3], [2], "Conv2DOptions", WINDOW | options)
    return write(tensors, [op], [0], [2])


def refused(data: bytes) -> str:
    with pytest.raises(ConvertError) as error:
        tflite.from_bytes(data, name="model", where="model.tflite")
    assert error.value.message.startswith("model.tflite")
    return str(error.value)


def test_a_convolution_becomes_integers() -> None:
    net = tflite.from_bytes(conv(FusedActivationFunction=3), name="my model!")
    assert (net.name, net.family, net.task) == ("my-model-", "tflite", "none")
    assert [n.name for n in net.nodes] == ["in", "conv_2d_0"]
    assert [port.name for port in (*net.inputs, *net.results)] == ["in", "out"]
    node = net.node["conv_2d_0"]
    assert isinstance(node, int8.Conv2DInt8)
    assert (node.input_zero, node.output_zero, node.lo, node.hi) == (3, -5, -5, 25)
    assert node.bias.tolist() == [5, -6] and node.weight_bits == 8
    assert node.multipliers.tolist() == [1717986944, 1717986944]
    assert node.shifts.tolist() == [-4, -3]  # 0.1 * (0.1, 0.2) / 0.2 = 0.05, 0.1
    assert (net.input.scale, net.input.zero_point) == (float(np.float32(0.1)), 3)
    assert (net.output.scale, net.output.zero_point) == (float(np.float32(0.2)), -5)
    assert not net.classifier and net.labels == ()


def test_packed_int4_weights() -> None:
    values = np.array([-8, 7, 1, -1, 3], np.int8)
    assert pack_int4(values).tolist() == [0x78, 0xF1, 0x03]
    weights = constant(values.reshape(1, 5), 0.1, type="INT4")
    tensors = [T((1, 5), 0.1), weights, T((1, 1), 0.5)]
    data = write(tensors, [Op("FULLY_CONNECTED", [0, 1], [2], "FullyConnectedOptions",
                              {"FusedActivationFunction": 0})], [0], [2])  # fmt: skip
    node = tflite.from_bytes(data, name="dense").nodes[1]
    assert isinstance(node, int8.DenseInt8)
    assert node.weights.tolist() == [values.tolist()] and node.weight_bits == 4


def test_everything_unsupported_is_listed_at_once() -> None:
    tensors = [X, T(X.shape, 0.1, name="middle"), T(X.shape, 0.1, 0, "INT16", name="wide"), Y]
    ops = [Op("SIN", [0], [1]), Op("RELU", [1], [2]), Op("COS", [2], [3])]
    text = refused(write(tensors, ops, [0], [3]))
    assert "3 things are not supported" in text
    assert "operator 0 SIN ('in' -> 'middle'): this operator is not supported" in text
    assert "operator 1 RELU ('middle' -> 'wide'): 'wide' is INT16; need INT8" in text
    assert "operator 2 COS ('wide' -> 'out')" in text
    assert "supported: ABS, ADD, ASSIGN_VARIABLE, AVERAGE_POOL_2D" in text


def test_alike_things_are_one_line_with_their_count() -> None:
    tensors = [T((1, 2), 0.1) for _ in range(152)]
    ops = [Op("COS", [i], [i + 1]) for i in range(150)] + [Op("WHERE", [150], [151])]
    text = refused(write(tensors, ops, [0], [151]))
    assert "151 things are not supported" in text and text.count("COS") == 2
    assert "150 x COS: operator 0 COS ('t0' -> 't1'): this operator is not supported" in text
    assert "(alike: operators 1, 2, 3, 4, 5, 6, 7, 8, ...)" in text
    assert "operator 150 WHERE ('t150' -> 't151'): this operator is not supported" in text


def test_what_is_missing_leaves_no_trail() -> None:
    """An operator that there is none of is the reason, not that nothing made what it reads."""
    state = T((1, 4, 4, 2), 0.1, name="state")
    ops = [Op("SVDF", [0, 1], [2], "SVDFOptions"), Op("RELU", [2], [3])]
    text = refused(write([X, state, Y, Y], ops, [0], [3]))
    assert "one thing is not supported" in text and "not made before" not in text


def network(data: str, weights: str, code: str = "CONV_2D") -> bytes:
    """One operator with weights between other types."""
    quantised: dict[str, Any] = {} if data == "FLOAT32" else {"scale": 0.1}
    source, out = (T((1, 4, 4, 2), type=data, **quantised) for _ in range(2))
    values = np.ones((2, 1, 1, 2), np.float32 if weights == "FLOAT32" else weights.lower())
    kernel = constant(values, None if weights == "FLOAT32" else 0.1)
    ops = [Op(code, [0, 1], [2], "Conv2DOptions", WINDOW), Op("COS", [2], [3])]
    return write([source, kernel, out, out], ops, [0], [3])


@pytest.mark.parametrize(
    ("data", "weights", "words"),
    [
        ("FLOAT32", "FLOAT32", "is a float32 network; this takes int8"),
        ("FLOAT32", "INT8", "is a dynamic range network: int8 weights, but activations in float32"),
        ("UINT8", "UINT8", "is a uint8 network of the quantisation before 2020"),
        ("INT16", "INT8", "is an int16x8 network: int16 activations, int8 weights"),
    ],
)
def test_the_kind_of_file_comes_first(data: str, weights: str, words: str) -> None:
    text = refused(network(data, weights))
    assert text.startswith(f"model.tflite {words}") and "It has 1 CONV_2D, 1 COS" in text
    assert "besides, one thing is not supported" in text and "need INT8" not in text


@pytest.mark.parametrize(
    ("code", "words"),
    [("ethos-u", "is compiled for Arm Ethos-U (by Vela)"),
     ("edgetpu-custom-op", "is compiled for Google's Edge TPU"),
     ("TFLite_Detection_PostProcess", "operator 0 CUSTOM TFLite_Detection_PostProcess")],
)  # fmt: skip
def test_custom_operators_are_named(code: str, words: str) -> None:
    assert words in refused(write([X, Y], [Op(f"CUSTOM {code}", [0], [1])], [0], [1]))


def test_control_flow_is_named() -> None:
    data = write([X, Y], [Op("WHILE", [0], [1], "WhileOptions")], [0], [1], subgraphs=3)
    assert "is a network with control flow (WHILE)" in refused(data)


def test_the_first_of_several_subgraphs_is_the_network() -> None:
    """Each signature of a model is a subgraph; TensorFlow Lite runs the first."""
    data = write([X, Y], [Op("RELU", [0], [1])], [0], [1], subgraphs=2)
    assert [n.op for n in tflite.from_bytes(data, name="m").nodes][1:] == ["lookup_int8"]


@pytest.mark.parametrize("name", ["Model.TFLITE", "kws.lite", "weights"])
def test_a_file_is_what_its_bytes_say(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(relu())
    assert [n.op for n in load_model(str(path)).graph.nodes][1:] == ["lookup_int8"]


def test_inspect_lists_the_operators_of_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(network("FLOAT32", "INT8"))
    assert run(["inspect", str(path)]) == 1
    printed = capsys.readouterr()
    assert "float32 1x4x4x2, int8 2x1x1x2 constant" in printed.out
    assert "bad.tflite: 1 CONV_2D, 1 COS" in printed.out and "dynamic range" in printed.err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (write([X, Y], [Op("RELU", [0], [1])], [0, 0], [1]), "2 inputs, 1 different ones; need 1"),
        (write([X, Y], [Op("RELU", [0], [1])], [0], [1, 1]), "2 outputs, 1 different ones; need"),
        (write([X, Y], [Op("RELU", [0], [1])], [0], [0]), "is an input that nothing changes"),
        (write([T(X.shape, type="FLOAT32"), Y], [Op("RELU", [0], [1])], [0], [1]),
         "is FLOAT32 and read by RELU: the model is not fully quantised"),
        (conv(weights=constant(np.ones((2, 1, 1, 2), np.int8), 0.1, 4)), "zero points of 0"),
        (conv(weights=T((2, 1, 1, 2), 0.1)), "'t1' is not made before it is read"),
        (conv(weights=constant(np.ones((2, 1, 1, 3), np.int8), 0.1)),
         "the channels are no whole number of groups"),
        (conv(weights=constant(np.ones((2, 1, 1, 2), np.int8), [0.1, 0.2], axis=3)),
         "quantised along axis 3"),
        (conv(FusedActivationFunction=4), "fused activation 4; supported: NONE, RELU"),
        (conv(source=T((1, 4, 4, 2), 0.1, 200)), "zero point 200, which is not int8"),
        (conv(source=T((1, 4, 4, 2))), "has no scale"),
        (conv(out=T((1, 3, 4, 2), 0.2)), "has shape (3, 4, 2), its inputs make (4, 4, 2)"),
        (conv(bias=constant(np.array([2**31 - 1, 0], np.int32), 0.01)),
         "channel 0: the sum reaches 2,147,483,895, over int32"),
        (write([X, Y], [Op("SOFTMAX", [0], [1], "SoftmaxOptions", {"Beta": 1.0})], [0], [1]),
         "need scale 1/256, zero point -128"),
        (write([X, Y], [Op("CONV_2D", [0], [1])], [0], [1]), "has 1 inputs and 1 outputs"),
        (write([X, Y], [Op("LEAKY_RELU", [0], [1])], [0], [1]), "has no Alpha"),
        (write([X, T(X.shape, 1e-30)], [Op("RELU", [0], [1])], [0], [1]), "scales with the ratio"),
        (write([T(X.shape, 1e-38), T(X.shape, 1e-38)], [Op("RSQRT", [0], [1])], [0], [1]),
         "scales of 1e-38 and 1e-38: their product is 0 in float32"),
        (write([X, Y], [Op("RELU", [0], [1])] * 2, [0], [1]), "is made a second time"),
        (write([X, Y, Y], [Op("RELU", [2], [1])], [0], [1]), "is not made before it is read"),
        (write([X, Y], [Op("RELU", [0], [0])], [0], [1]), "nothing makes output 'out'"),
        (write([X, Y], [Op("RELU", [0], [1])], [0], [1], version=2), "schema version 2, not 3"),
        (write([X, Y], [Op("RELU", [7], [1])], [0], [1]), "reads tensor 7 of 2"),
        (write([X, T((1, 5, 5, 5, 5), 0.1)], [Op("RELU", [0], [1])], [0], [1]),
         "has shape (25, 5, 5), its inputs make (4, 4, 2)"),
        (write([T((2, 4, 4, 2), 0.1), Y], [Op("RELU", [0], [1])], [0], [1]),
         "its inputs make (8, 4, 2)"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(data: bytes, words: str) -> None:
    assert words in refused(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no TensorFlow Lite model"),
        (b"PK\x03\x04 and more of something else", "is no TensorFlow Lite model"),
        (relu()[:64], "needs"),
        (relu()[:8], "needs"),
    ],
)
def test_damage_is_one_clear_error(data: bytes, words: str) -> None:
    text = refused(data)
    assert words in text and "\n" not in text


def test_a_constant_of_the_wrong_length() -> None:
    weights = constant(np.ones((2, 1, 1, 2), np.int8), 0.1)
    weights.shape = (2, 1, 1, 3)
    assert "INT8 (2, 1, 1, 3) has 4 bytes, needs 6" in refused(conv(weights=weights))


def test_edges_are_left_to_the_host() -> None:
    """A float model with QUANTIZE and DEQUANTIZE at its ends is the int8 model between them."""
    wide = T(X.shape, type="FLOAT32")
    ops = [Op("QUANTIZE", [0], [1]), Op("RELU", [1], [2]), Op("DEQUANTIZE", [2], [3])]
    net = tflite.from_bytes(write([wide, X, Y, wide], ops, [0], [3]), name="model")
    assert [n.op for n in net.nodes] == ["input_int8", "lookup_int8"]
    assert (net.input.scale, net.input.zero_point) == (float(np.float32(0.1)), 3)


def test_uint8_edges_of_equal_scale_vanish() -> None:
    first, last = T(X.shape, X.scale, 131, "UINT8"), T(X.shape, Y.scale, 123, "UINT8")
    ops = [Op("QUANTIZE", [0], [1]), Op("RELU", [1], [2]), Op("QUANTIZE", [2], [3])]
    net = tflite.from_bytes(write([first, X, Y, last], ops, [0], [3]), name="model")
    assert [n.op for n in net.nodes] == ["input_int8", "lookup_int8"]


def test_constants_do_not_copy_the_file() -> None:
    data = conv()
    file = parse(data, "x")
    assert np.shares_memory(file.tensors[1].values, np.frombuffer(data, np.uint8))


def test_model_by_path(tmp_path: Path) -> None:
    path = tmp_path / "some model.tflite"
    path.write_bytes(conv())
    model = load_model(str(path))
    assert (model.name, model.path, model.graph.family) == ("some-model", path, "tflite")
    with pytest.raises(GraphError, match="no model"):
        load_model(str(tmp_path / "other.tflite"))
    assert load_model("shapes-small").graph.family == "fixed"


def test_the_command_line_takes_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.tflite", tmp_path / "bad.tflite"
    good.write_bytes(conv())
    bad.write_bytes(write([X, Y], [Op("SIN", [0], [1])], [0], [1]))
    assert run(["plan", "--model", str(good), "--board", "nucleo-h743"]) == 0
    assert "conv_2d_0" in capsys.readouterr().out
    assert run(["plan", "--model", str(bad), "--board", "nucleo-h743"]) == 1
    assert "operator 0 SIN ('in' -> 'out')" in capsys.readouterr().err


def test_scores_are_the_outputs_own_codes() -> None:
    net = tflite.from_bytes(relu(), name="model")
    x = np.arange(256, dtype=np.uint8).reshape(8, 4, 4, 2)
    q = np.arange(-128, 128)
    wanted = np.clip(np.maximum(np.rint((q - 3) * 0.1 / 0.2) - 5, -5), -128, 127)
    assert np.count_nonzero(graph.run(net, x).reshape(-1) != wanted) <= 64  # ties differ
    assert graph.run(net, x).dtype == np.int32
