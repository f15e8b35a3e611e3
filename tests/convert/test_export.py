"""`tinyrobust convert --to tflite`: plain layers compute what QKeras does; the file reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_models import Net, residual_net
from tinyrobust.cli.main import run
from tinyrobust.convert import export
from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph import run as scores_of
from tinyrobust.resources import root
from tinyrobust.tflite import importer as tflite

pytestmark = [pytest.mark.train, pytest.mark.slow]


def frozen(model: Any) -> Any:
    """The model with its kernels replaced by the quantised ones."""
    from tinyrobust.train.layers import kernel_layers
    from tinyrobust.train.quantizers import latent, quantizer_of

    for layer in kernel_layers(model):
        latent(layer).assign(quantizer_of(layer)(latent(layer)))
    return model


def depthwise_net() -> Any:
    from qkeras import QDepthwiseConv2D, ternary

    net = Net((9, 8, 3), 4)
    net.conv("conv1", 6)
    net.norm("conv1_bn")
    net.act("conv1_act", 4, 1)
    net.x = QDepthwiseConv2D(
        3, padding="same", use_bias=False, depthwise_quantizer=ternary(alpha="auto"), name="dw2"
    )(net.x)
    net.norm("dw2_bn")
    net.act("dw2_act", 7, 2)
    return net.head()


@pytest.mark.parametrize("make", [residual_net, depthwise_net])
def test_plain_layers_have_the_same_function(make: Any) -> None:
    from tinyrobust.convert.plain import plain_model

    model = frozen(make())
    plain = plain_model(model)
    kinds = {type(layer).__name__ for layer in plain.layers}
    assert not any(kind.startswith("Q") for kind in kinds) and "BatchNormalization" not in kinds
    x = np.random.default_rng(0).random((8, *model.input_shape[1:]), np.float32)
    rounded = model(x, training=False).numpy()
    found = np.concatenate([plain(x[i : i + 1]).numpy() for i in range(8)])
    # What differs is the rounding of activations alone.
    assert np.abs(found - rounded).max() < 0.1 * np.abs(rounded).max()
    assert (found.argmax(1) == rounded.argmax(1)).mean() >= 0.75


def test_ternary_kernels_stay_ternary() -> None:
    model = frozen(residual_net())
    from tinyrobust.convert.plain import plain_model

    images = np.random.default_rng(1).integers(0, 256, (20, *model.input_shape[1:]), np.uint8)
    net = tflite.from_bytes(export.convert(plain_model(model), images), name="net")
    for node in net.nodes:
        if node.op == "conv2d_int8":
            assert set(np.unique(node.arrays["weights"])) <= {-127, 0, 127}
    assert (net.input.scale, net.input.zero_point) == (1 / 256, -128)
    assert {n.op for n in net.nodes} <= {
        "input_int8", "conv2d_int8", "add_int8", "mean_int8", "dense_int8", "scores_int8",
    }  # fmt: skip


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, result = tmp_path / "shapes.tflite", tmp_path / "out.json"
    folder = root() / "models" / "zoo" / "shapes-small" / "train"
    command = ["convert", str(folder), "--to", "tflite", "--out", str(out), "--samples", "100"]
    assert run([*command, "--json", str(result)]) == 0
    figures = json.loads(result.read_text())
    assert figures["accuracy"] >= figures["qkeras_accuracy"] - 0.03
    runtimes = {r["name"]: r for r in figures["runtimes"]}
    exact = [r for name, r in runtimes.items() if name in export.EXACT]  # tflite-runtime: on x86-64
    assert "tensorflow" in runtimes and not any(r["differing"] for r in exact)
    net = tflite.load(out)
    assert net.sha256 == figures["graph_sha256"]
    x = np.zeros((1, *net.input.shape), np.uint8)
    assert scores_of(net, x).shape == (1, 10)
    assert "wrote" in capsys.readouterr().out
    assert run([*command[:-3], str(tmp_path / "x.h5")]) == 1
    assert "give --out FILE.tflite" in capsys.readouterr().err


def test_a_layer_without_plain_form_is_named() -> None:
    from tinyrobust.convert.plain import plain_model

    net = Net((8, 8, 3))
    net.conv("conv1", 4)
    net.layer("Softmax", name="odd")
    with pytest.raises(ConvertError, match="layer 'odd' is a Softmax, which has no plain form"):
        plain_model(net.model())


def test_a_folder_of_the_zoo_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinyrobust import resources
    from tinyrobust.convert import models
    from tinyrobust.graph import run as scores

    zoo = tmp_path / "models" / "zoo"
    trained = root() / "models" / "zoo" / "shapes-small" / "train"
    command = ["convert", str(trained), "--samples", "60", "--oracle", "0"]
    assert run([*command, "--to", "tflite", "--out", str(zoo / "eight")]) == 0
    assert run([*command, "--int8-twin", "--keep-order", "--out", str(zoo / "shapes")]) == 0
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    assert models.names() == ["eight", "shapes", "shapes-int8"]
    eight, original = models.load_model("eight"), models.load_model("shapes")
    twin = models.load_model("shapes-int8")
    assert eight.graph.family == twin.graph.family == "tflite"
    for model in (eight, twin):
        assert (model.graph.task, model.graph.labels) == (
            original.graph.task,
            original.graph.labels,
        )
        assert model.graph.name == model.name
    assert eight.card()["graph_sha256"] == eight.graph.sha256
    assert original.card()["int8_twin"]["bytes"] == twin.path.stat().st_size
    with np.load(eight.folder / "golden.npz") as golden:
        images, expected = golden["images"], golden["scores"]
    np.testing.assert_array_equal(scores(eight.graph, images), expected)
    same = scores(original.graph, images).argmax(1) == scores(twin.graph, images).argmax(1)
    assert same.mean() > 0.9
    assert "| int8 twin | `int8.tflite`" in (original.folder / "card.md").read_text()
    (eight.folder / "card.json").write_text("{}")
    with pytest.raises(GraphError, match="does not name task and labels"):
        models.load_model("eight")
    with pytest.raises(GraphError, match="no model 'eihgt'") as caught:
        models.load_model("eihgt")
    assert "eight" in caught.value.hint


def test_an_int8_folder_replaces_nothing_else(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    trained = root() / "models" / "zoo" / "shapes-small" / "train"
    assert run(["convert", str(trained), "--to", "tflite", "--out", str(tmp_path)]) == 1
    assert "is no int8 model folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"
