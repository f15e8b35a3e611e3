"""QONNX files: the Graph beside qonnx's own executor and hls4ml's C simulation; what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import onnx_models
from tests.onnx_models import QonnxNet
from tinyrobust.convert.models import load_model
from tinyrobust.convert.qonnx import executor, reader
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Dense, Graph, interpreter

pytestmark = pytest.mark.qonnx

NETS: dict[str, Callable[[], QonnxNet]] = {
    "residual": onnx_models.residual_net,
    "binary": lambda: onnx_models.residual_net("binary", 1),
    "a scale per channel": lambda: onnx_models.residual_net("channels", 2),
    "mean": onnx_models.mean_net,
    "one dimension": onnx_models.line_net,
    "features": onnx_models.vector_net,
}


def images(graph: Graph, count: int = 40) -> Any:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (count, *graph.input.shape), dtype=np.uint8)


@pytest.mark.parametrize("case", NETS)
def test_the_integers_are_those_of_qonnx_s_executor(case: str) -> None:
    model = NETS[case]().model()
    graph = reader.convert(model)
    x = images(graph)
    real = executor.run(model, graph, x)
    mine = interpreter.run(graph, x) * 2.0**-graph.output.frac_bits
    off = np.abs(real - mine).max(axis=1) / real.std()
    # The executor computes in float32: now and then one activation falls beside a half.
    assert np.mean(off < 1e-4) >= 0.9 and off.max() < 0.2
    assert real.std() > 0.02 and np.ptp(mine, axis=0).max() > 0


def test_features_keep_the_file_s_order_behind_a_flatten() -> None:
    """Our tensors are (H, W, C): the weights behind a flatten move, a scale per pixel would not."""
    net = QonnxNet((2, 3, 3))
    net.quant()
    net.flatten()
    net.dense(3, 18)
    graph = reader.convert(net.model(3))
    dense = next(n for n in graph.nodes if isinstance(n, Dense))
    x = images(graph, 1)
    codes = x[0].transpose(2, 0, 1).ravel().astype(np.int64)
    from onnx import numpy_helper

    weights = numpy_helper.to_array(next(c for c in net.constants if c.dims == [3, 18]))
    trits = np.round(np.clip(weights / np.float32(0.14), -1, 1)).astype(np.int64)
    acc = interpreter.trace(graph, x)[dense.output][0]
    np.testing.assert_array_equal(acc, trits @ codes)


def test_a_quant_that_floors_is_kept(tmp_path: Path) -> None:
    def net(mode: str) -> QonnxNet:
        made = QonnxNet((2, 4, 4), 3)
        made.quant()
        made.conv(3, 2)
        made.norm(3)
        made.node("Relu", made.x)
        made.quant(4, 0.2, mode=mode)
        made.flatten()
        made.dense(4, 48)
        return made

    model = net("FLOOR").model()
    graph = reader.convert(model)
    x = images(graph)
    mine = interpreter.run(graph, x) * 2.0**-graph.output.frac_bits
    real = executor.run(model, graph, x)
    assert np.mean(np.abs(real - mine).max(axis=1) < 1e-4) >= 0.9
    assert not np.array_equal(reader.convert(net("ROUND").model()).sha256, graph.sha256)


@pytest.mark.slow
def test_hls4ml_s_c_simulation_gives_every_integer(tmp_path: Path) -> None:
    from tinyrobust.convert import rebuilt

    graph = reader.convert(onnx_models.residual_net("channels").model())
    simulation = rebuilt.compile(graph, tmp_path)
    x = images(graph, 12)
    expected = interpreter.trace(graph, x)
    found = simulation.trace(x)
    assert set(found) == set(expected) and len(found) == 13
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_hls4ml_s_own_entry_gives_the_same_network(tmp_path: Path) -> None:
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul
    from qonnx.util.cleanup import cleanup_model

    from tinyrobust.convert import plugin
    from tinyrobust.convert.backend import graph_of

    plugin.ensure_registered()
    model = onnx_models.residual_net(average=False).model()
    wrapped = cleanup_model(ModelWrapper(model)).transform(ConvertToChannelsLastAndClean())
    wrapped = cleanup_model(wrapped.transform(GemmToMatMul()))
    with plugin.quiet():
        made = hls4ml.converters.convert_from_onnx_model(
            wrapped, backend="CortexM", output_dir=str(tmp_path), model_name="net"
        )
    ours, direct = graph_of(made), reader.convert(model)
    assert ours.name == "net"
    x = images(ours)
    np.testing.assert_array_equal(interpreter.run(ours, x), interpreter.run(direct, x))
    made.compile()
    np.testing.assert_array_equal(
        made.predict(x), interpreter.run(ours, x) * 2.0**-ours.output.frac_bits
    )


def eight_bits(net: QonnxNet) -> None:
    net.conv(4, 3, kind="8")


def signed(net: QonnxNet) -> None:
    net.conv(4, 3)
    net.quant(8, 0.01, signed=1)


def zero_point(net: QonnxNet) -> None:
    net.conv(4, 3)
    net.quant(8, 0.01, zero=3)


def wide(net: QonnxNet) -> None:
    net.conv(4, 3)
    net.quant(9, 0.01)


def unquantised(net: QonnxNet) -> None:
    net.conv(4, 3)
    net.node("Relu", net.x)
    net.conv(4, 4)


def grouped(net: QonnxNet) -> None:
    net.conv(6, 3, group=3)


def dilated(net: QonnxNet) -> None:
    net.conv(4, 3, dilations=[2, 2])


def sigmoid(net: QonnxNet) -> None:
    net.node("Sigmoid", net.x)


def three_sums(net: QonnxNet) -> None:
    x = net.x
    parts = []
    for _ in range(3):
        net.x = x
        parts.append(net.conv(4, 3))
    net.node("Add", net.node("Add", parts[0], parts[1]), parts[2])
    net.act()


def no_scores(net: QonnxNet) -> None:
    net.conv(4, 3)


def upwards(net: QonnxNet) -> None:
    net.conv(4, 3)
    net.quant(mode="CEIL")


def scale_per_channel(net: QonnxNet) -> None:
    net.conv(4, 3)
    scale = net.constant(np.full((1, 4, 1, 1), 0.01, np.float32) * [[[1]], [[2]], [[1]], [[1]]])
    numbers = [net.constant(np.float32(n)) for n in (0, 8)]
    net.node("Quant", net.x, scale, *numbers, domain=onnx_models.DOMAIN, signed=0, narrow=0,
             rounding_mode="ROUND")  # fmt: skip


REFUSED: dict[str, tuple[Callable[[QonnxNet], None], str]] = {
    "8-bit weights": (eight_bits, r"\(Conv\) has 17 levels of weights in output channel 0"),
    "signed activation": (signed, r"\(Quant\) gives signed activations"),
    "zero point": (zero_point, "has zero point 3"),
    "nine bits": (wide, "has 9 unsigned bits"),
    "no quantiser": (unquantised, r"\(Conv\) reads a value that is not quantised"),
    "groups": (grouped, "3 groups for 3 channels and 6 outputs"),
    "dilation": (dilated, "is dilated"),
    "sigmoid": (sigmoid, r"\(Sigmoid\) is an operation that cannot be converted"),
    "three sums": (three_sums, "adds 3 sums, two at most"),
    "no scores": (no_scores, "is not the scores of one layer"),
    "ceiling": (upwards, "rounds by CEIL"),
    "scales per channel": (scale_per_channel, "has 2 scales for one activation"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_named(case: str) -> None:
    build, message = REFUSED[case]
    net = QonnxNet((3, 6, 6))
    net.quant()
    build(net)
    with pytest.raises(ConvertError, match=message) as caught:
        reader.convert(net.model())
    assert caught.value.hint and "\n" not in str(caught.value)


def test_an_input_without_quantiser_is_named() -> None:
    net = QonnxNet((3, 6, 6))
    net.conv(4, 3)
    with pytest.raises(ConvertError, match="reads the input that is not quantised"):
        reader.convert(net.model())


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 50])
def test_a_damaged_file_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ConvertError, match=r"bad\.onnx"):
        reader.convert(path)
    with pytest.raises(ConvertError, match="cannot be read"):
        reader.convert(tmp_path / "missing.onnx")


def test_the_command_writes_a_model_that_other_commands_take(tmp_path: Path) -> None:
    from tinyrobust.cli.main import run

    source = onnx_models.vector_net().save(tmp_path / "net.onnx")
    out, report = tmp_path / "made", tmp_path / "report.json"
    arguments = ["convert", str(source), "--out", str(out), "--oracle", "0", "--json", str(report)]
    assert run(arguments) == 0
    found = json.loads(report.read_text())
    assert found["executor"]["images"] == 100 and found["differing_integers"] is None
    assert found["executor"]["same_class"] >= 98
    made = load_model(str(out)).graph
    assert made.sha256 == found["graph_sha256"]
    assert sorted(p.name for p in out.iterdir()) == ["golden.npz", "model.graph.npz", "model.onnx"]
    with np.load(out / "golden.npz") as golden:
        inputs, scores = golden["images"], golden["scores"]
    np.testing.assert_array_equal(interpreter.run(made, inputs), scores)


def test_a_task_of_other_images_is_named(tmp_path: Path) -> None:
    from tinyrobust.zoo import qonnx

    source = onnx_models.residual_net().save(tmp_path / "net.onnx")
    with pytest.raises(ConvertError, match="has 4 outputs, task 'shapes'"):
        qonnx.make(source, tmp_path / "made", task="shapes", oracle_images=0)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("op", ["QuantizeLinear", "QLinearConv"])
def test_onnxruntime_s_int8_form_is_refused_with_the_reason(op: str) -> None:
    net = QonnxNet((3, 6, 6))
    net.node(op, net.x, net.constant(np.float32(0.1)), net.constant(np.uint8(3)))
    with pytest.raises(ConvertError, match="rescaling in float32") as caught:
        reader.convert(net.model())
    assert "QONNX" in caught.value.hint


def test_pytorch_modules_are_told_of_qonnx() -> None:
    from types import SimpleNamespace

    from tinyrobust.convert.backend import CortexM

    config = SimpleNamespace(config={"PytorchModel": object()}, get_config_value=lambda key: "")
    lower = next(v for k, v in vars(CortexM).items() if k == "lower_to_graph")
    with pytest.raises(ConvertError, match="no PyTorch modules") as caught:
        lower(None, SimpleNamespace(config=config))
    assert "Brevitas" in caught.value.hint


@pytest.mark.parametrize("seed", range(40))
def test_changed_bytes_are_an_error_or_another_network(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(onnx_models.residual_net().model().SerializeToString())
    weights = len(data) // 8  # names, attributes and shapes as well as weights
    for at in rng.integers(0, len(data), 1 + seed % 12):
        data[at % (weights if seed % 2 else len(data))] ^= int(rng.integers(1, 256))
    path = tmp_path / "changed.onnx"
    path.write_bytes(data)
    try:
        graph = reader.convert(path)
    except ConvertError as error:
        assert error.hint and "\n" not in str(error)
    else:
        assert graph.output.size >= 1


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    net = onnx_models.vector_net()
    model = net.model()
    tensor = model.graph.initializer[3]
    tensor.data_location = tensor.EXTERNAL
    with pytest.raises(ConvertError, match="is in another file"):
        reader.convert(model)


def test_a_network_whose_input_is_turned_is_compared(tmp_path: Path) -> None:
    """Channels first outside, channels last inside, as qonnx's own conversion leaves it."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    wrapped = cleanup_model(ModelWrapper(onnx_models.residual_net(average=False).model()))
    model = wrapped.transform(ConvertToChannelsLastAndClean()).model
    graph = reader.convert(model)
    assert executor.compare(model, graph, images(graph, 10)).same_class >= 9
