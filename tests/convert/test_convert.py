"""Conversion through the hls4ml plug-in: the Graph, its types, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import keras_models
from tests.graphs import resnet8_graph, tiny_graph
from tests.keras_models import Net
from tests.patience import PATIENCE_S
from tinyrobust import resources, tasks
from tinyrobust.convert import order, plugin, qkeras
from tinyrobust.errors import ConvertError, TinyRobustError
from tinyrobust.graph import (
    DepthwiseConv2D,
    GlobalAveragePool,
    Pool2D,
    Requantize,
    file,
    interpreter,
)
from tinyrobust.graph.model import load_model
from tinyrobust.zoo import make as zoo

ZOO = resources.root() / "models" / "zoo" / "shapes-small"
pytestmark = [pytest.mark.train, pytest.mark.slow]


def convert(model: Any, folder: Path, **options: Any) -> Any:
    from tinyrobust.convert.backend import lowered_of

    return lowered_of(plugin.from_keras(model, output_dir=folder, **options))


@pytest.fixture(scope="module")
def residual() -> Any:
    return keras_models.residual_net()


def test_the_graph_has_the_network_s_layers(residual: Any, tmp_path: Path) -> None:
    graph = convert(residual, tmp_path, model_name="net", task="shapes").graph
    assert [n.name for n in graph.nodes] == [
        "image", "conv1", "conv1_act", "res2_conv1", "res2_conv1_act", "res2_conv2", "res2_act",
        "res3_conv1", "res3_conv1_act", "res3_conv2", "res3_shortcut", "res3_act", "pool",
        "dense", "dense_bn",
    ]  # fmt: skip
    assert graph.node["res2_act"].inputs == ("res2_conv2", "conv1_act")
    assert graph.node["res3_act"].inputs == ("res3_conv2", "res3_shortcut")
    pool = graph.node["pool"]
    assert isinstance(pool, GlobalAveragePool) and pool.output == "pool_act"
    assert pool.rounding == 8 and pool.half_even
    assert graph.labels == tuple("0123456789") and graph.task == "shapes"


def test_most_multipliers_have_fifteen_significant_bits(residual: Any, tmp_path: Path) -> None:
    bits = convert(residual, tmp_path).significant_bits
    assert set(bits) >= {"conv1_act", "res3_act", "dense_bn"} and min(bits.values()) >= 15


def test_the_same_graph_comes_from_its_own_configuration(residual: Any, tmp_path: Path) -> None:
    from tinyrobust.convert.lowering import hls_config

    first = convert(residual, tmp_path)
    again = convert(residual, tmp_path, hls_config=hls_config(first))
    assert again.graph.sha256 == first.graph.sha256


def test_other_types_are_refused_by_layer_name(residual: Any, tmp_path: Path) -> None:
    wanted = {"LayerName": {"conv1_bn": {"Precision": {"scale": "fixed<16,6>"}}}}
    with pytest.raises(ConvertError, match=r"conv1_bn.*scale fixed<16,6>"):
        convert(residual, tmp_path, hls_config=wanted)


def test_the_usual_hls4ml_configuration_is_taken(residual: Any, tmp_path: Path) -> None:
    import hls4ml

    plugin.ensure_registered()
    config = hls4ml.utils.config_from_keras_model(residual, granularity="name", backend="CortexM")
    graph = convert(residual, tmp_path, hls_config=config).graph
    assert graph.sha256 == convert(residual, tmp_path).graph.sha256


def test_write_leaves_the_graph_and_the_configuration(residual: Any, tmp_path: Path) -> None:
    from tinyrobust.convert.backend import graph_of

    model = plugin.from_keras(residual, output_dir=tmp_path)
    model.write()
    assert file.load(tmp_path / "model.graph.npz").sha256 == graph_of(model).sha256
    config = json.loads((tmp_path / "hls_config.json").read_text())
    assert config["LayerName"]["conv1_act"]["Precision"]["result"] == "ufixed<7,2,RND,SAT>"


def test_compile_and_predict_run_the_generated_code(residual: Any, tmp_path: Path) -> None:
    from tinyrobust.convert.backend import graph_of

    model = plugin.from_keras(residual, output_dir=tmp_path)
    x = np.random.default_rng(3).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ConvertError, match="not compiled"):
        model.predict(x)
    model.compile()
    graph = graph_of(model)
    logits = interpreter.run(graph, x) * 2.0**-graph.output.frac_bits
    np.testing.assert_array_equal(model.predict(x), logits)
    np.testing.assert_array_equal(model.predict((x >> 1) / np.float32(128)), logits)
    with pytest.raises(ConvertError, match="0 <= x < 1"):
        model.predict(x.astype(np.float32))


def test_build_gives_firmware(residual: Any, tmp_path: Path) -> None:
    image = plugin.from_keras(residual, output_dir=tmp_path, board="mps2-an386").build()
    assert image.elf.read_bytes()[:4] == b"\x7fELF"
    assert image.meta["board"] == "mps2-an386"


def test_hls4ml_finds_the_plug_in_by_itself(tmp_path: Path) -> None:
    code = "import hls4ml; print('cortexm' in hls4ml.backends.get_available_backends())"
    env = os.environ | {
        "HLS4ML_BACKEND_PLUGINS": "tinyrobust.convert.plugin",
        "PYTHONPATH": str(Path(plugin.__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=PATIENCE_S,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip().endswith("True")


@pytest.mark.parametrize("make", ["residual_net", "odd_net", "coarse_head_net", "separable_net"])
def test_qkeras_agrees_with_the_integers_up_to_single_steps(make: str, tmp_path: Path) -> None:
    model = getattr(keras_models, make)(1)
    graph = convert(model, tmp_path).graph
    x = np.random.default_rng(0).integers(0, 256, (256, *graph.input.shape), dtype=np.uint8)
    found = qkeras.agreement(model, graph, x)
    activations = [n.output for n in graph.nodes if isinstance(n, Requantize) and not n.scores]
    for name in activations[:2]:  # behind them differences add up
        histogram = found.differences[name]
        assert set(histogram) <= {"-1", "0", "1"}
        assert histogram["0"] > 0.99 * sum(histogram.values())
    assert found.samples == 256 and found.fraction > 0.9 and found.enough


def test_a_wrong_network_does_not_agree(tmp_path: Path) -> None:
    """The Graph of other weights: more classes differ than chance and rounding explain."""
    right, wrong = (keras_models.residual_net(seed) for seed in (1, 2))
    graph = convert(right, tmp_path).graph
    x = np.random.default_rng(0).integers(0, 256, (256, *graph.input.shape), dtype=np.uint8)
    found = qkeras.agreement(wrong, graph, x)
    assert found.unexplained > 20 and not found.enough


@pytest.mark.parametrize(
    ("samples", "unexplained", "enough"),
    [(100, 0, True), (100, 1, True), (100, 3, False), (2000, 10, True), (2000, 25, False)],
)
def test_agreement_is_judged_as_a_statistic(samples: int, unexplained: int, enough: bool) -> None:
    found = qkeras.Agreement(samples, samples - unexplained, unexplained, 0, {}, 0.0)
    assert found.enough == enough


@pytest.mark.parametrize("make", [tiny_graph, resnet8_graph])
def test_rounding_reaches_as_far_as_its_probability_says(make: Any) -> None:
    """Steps drawn at random move scores further in less than one of 1,000 images, and some come
    near it; all steps in the worst direction reach more than twice as far."""
    graph = make()
    reach = qkeras.rounding_reach(graph) * 2.0**graph.output.frac_bits
    dense, last = graph.nodes[-2:]
    weights = dense.arrays["weights"].astype(np.float64)
    terms = last.arrays["multipliers"][0][:, None] * weights / 65536
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 2, (4000, weights.shape[1])) * 2 - 1
    steps[rng.random(steps.shape) > qkeras.ROUNDED_OTHERWISE] = 0
    moved = steps @ terms.T
    between = np.abs(moved[:, :, None] - moved[:, None])
    assert (between > reach).mean() < qkeras.BEYOND_REACH
    if make is resnet8_graph:
        assert (between.max(axis=0) > 0.3 * (reach - 2)).mean() > 0.8
        worst = np.abs(terms[:, None] - terms[None]).sum(axis=2)
        assert np.median(worst) > 2 * np.median(reach)


@pytest.mark.parametrize("name", ["conv1", "res3_conv2", "res4_conv1"])
def test_a_published_network_with_one_wrong_layer_is_refused(name: str) -> None:
    """Its classes lie as close together as those of robust networks do, and 64 inputs meet there:
    every one a step off in the worst direction would explain all that goes wrong."""
    graph = load_model("cifar10-resnet8-robust").graph
    images, _ = tasks.get("shapes").load("test", 40)
    ours = interpreter.run(graph, images)
    theirs = ours * 2.0**-graph.output.frac_bits
    assert qkeras.judge(graph, theirs, ours) == (0, 0)
    turned = tuple(
        replace(node, weights=np.roll(node.arrays["weights"], 1, axis=0))
        if node.name == name else node for node in graph.nodes
    )  # fmt: skip
    other, beyond = qkeras.judge(
        graph, theirs, interpreter.run(replace(graph, nodes=turned), images)
    )
    found = qkeras.Agreement(len(images), len(images) - other, beyond, 0, {}, 0.0)
    assert other and not found.enough, (other, beyond)


def test_depthwise_kernels_are_trits_behind_their_scale(tmp_path: Path) -> None:
    graph = convert(keras_models.separable_net(2), tmp_path).graph
    nodes = [n for n in graph.nodes if isinstance(n, DepthwiseConv2D)]
    assert [n.weights.shape for n in nodes] == [(6, 3, 3), (10, 2, 3)]
    assert all(set(np.unique(n.weights)) == {-1, 0, 1} for n in nodes)
    pool = graph.node["mean"]
    assert isinstance(pool, Pool2D) and pool.kind == "average" and pool.half_even


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 3, 1)], ids=["one", "per channel"])
def test_any_scale_is_taken_out_of_a_depthwise_kernel(shape: tuple[int, ...]) -> None:
    from tinyrobust.convert import depthwise as module

    rng = np.random.default_rng(0)
    trits = rng.integers(-1, 2, (2, 3, 3, 1)).astype(np.float32)
    scale = rng.uniform(0.1, 2, shape).astype(np.float32)

    class Quantizer:
        scale: Any = None

        def __call__(self, weights: Any) -> Any:
            self.scale = scale
            return weights

    found, scales = module.factorize(Quantizer(), trits * scale)
    np.testing.assert_array_equal(found, trits)
    np.testing.assert_allclose(scales, np.broadcast_to(scale, (1, 1, 3, 1)).ravel())


def bare(net: Net) -> None:
    net.conv("conv1", 4)


def linear_end(net: Net) -> None:
    net.conv("conv1", 4)
    net.norm("bn")
    net.act("act")
    net.layer("GlobalAveragePooling2D", name="pool")


def two_readers(net: Net) -> None:
    net.conv("conv1", 4)
    t = net.norm("bn")
    a = net.act("a")
    net.x = t
    net.add("sum", a, net.act("b", 4, 1))


def unscaled(net: Net) -> None:
    net.conv("conv1", 4)
    net.act("act")


def layer(kind: str, **options: Any) -> Callable[[Net], None]:
    def build(net: Net) -> None:
        net.layer(kind, name="odd", **options)

    return build


def conv(**options: Any) -> Callable[[Net], None]:
    def build(net: Net) -> None:
        net.conv("odd", 4, **options)

    return build


def depthwise(**options: Any) -> Callable[[Net], None]:
    def build(net: Net) -> None:
        net.depthwise("odd", **options)

    return build


def mean_of_mean(net: Net) -> None:
    net.conv("conv1", 4)
    net.norm("bn")
    net.act("act")
    net.layer("AveragePooling2D", name="mean")
    net.conv("conv2", 4)


def quantizer(text: str) -> Callable[[Net], None]:
    def build(net: Net) -> None:
        from qkeras import QActivation

        net.conv("conv1", 4)
        net.norm("bn")
        net.x = QActivation(text, name="odd")(net.x)

    return build


REFUSED: dict[str, tuple[Callable[[Net], None], str]] = {
    "plain convolution": (layer("Conv2D", filters=4, kernel_size=3), "'odd' is a Conv2D"),
    "softmax": (layer("Softmax"), "'odd' is a Softmax"),
    "padded average": (layer("AveragePooling2D", padding="same"), "'odd' is padded"),
    "average without activation": (mean_of_mean, "reads 'mean', which has no activation"),
    "depth multiplier": (depthwise(depth_multiplier=2), "'odd' has depth_multiplier 2"),
    "depthwise bias": (depthwise(use_bias=True), "'odd' has a bias"),
    "8-bit depthwise": (
        depthwise(depthwise_quantizer="quantized_bits(8,0)"),
        "'odd' has weights of",
    ),
    "overlapping pooling": (layer("MaxPooling2D", pool_size=3, strides=2), "overlap"),
    "bias": (conv(use_bias=True), "'odd' has a bias"),
    "dilation": (conv(dilation_rate=2), "'odd' is a dilated"),
    "8-bit weights": (conv(kernel_quantizer="quantized_bits(8,0)"), "'odd' has weights of"),
    "no quantiser": (conv(kernel_quantizer=None), "'odd' has weights of no quantiser"),
    "own activation": (conv(activation="relu"), "'odd' has an activation"),
    "leaky relu": (
        quantizer("quantized_relu(7,2,0,0.125)"),
        "'odd', quantized_relu: has negative_slope=0.125",
    ),
    "signed activation": (quantizer("quantized_bits(8,2)"), "'odd' is quantized_bits"),
    "wide activation": (quantizer("quantized_relu(12,2)"), "'odd' has 12 bits"),
    "scale missing": (unscaled, "'conv1' has no BatchNormalization"),
    "ends in sums": (bare, "'conv1' has no BatchNormalization"),
    "ends in an activation": (linear_end, "does not end in a batch normalisation"),
    "read twice": (two_readers, "'bn' is used 2 times"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_named(case: str, tmp_path: Path) -> None:
    build, message = REFUSED[case]
    net = Net((8, 8, 3))
    build(net)
    with pytest.raises(ConvertError, match=message) as caught:
        convert(net.model(), tmp_path)
    assert caught.value.hint and "\n" not in str(caught.value)


def test_a_model_of_keras_3_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = types.ModuleType("keras")
    three.__version__ = "3.15.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", three)
    model = type("Functional", (), {"__module__": "keras.src.models.functional"})()
    with pytest.raises(ConvertError, match=r"Keras 3\.15\.1") as caught:
        plugin.from_keras(model, output_dir=tmp_path)
    assert "HGQ2" in caught.value.hint


def test_ternary_weights_with_their_scale_are_not_called_something_else() -> None:
    from tinyrobust.convert import lowering

    weight = types.SimpleNamespace(data=np.array([[-0.5, 0.0], [0.5, 0.5]]))
    layer = types.SimpleNamespace(name="odd", weights={"weight": weight})
    with pytest.raises(ConvertError, match="'odd' has ternary weights whose scale"):
        lowering._trits(layer)


def test_a_diverged_training_is_named(tmp_path: Path) -> None:
    model = keras_models.coarse_head_net()
    norm = model.get_layer("conv1_bn")
    values = norm.get_weights()
    values[0][3] = np.nan
    norm.set_weights(values)
    with pytest.raises(ConvertError, match="'conv1_bn' channel 3"):
        convert(model, tmp_path)


def test_a_scale_out_of_range_names_layer_and_channel(tmp_path: Path) -> None:
    model = keras_models.coarse_head_net()
    norm = model.get_layer("conv1_bn")
    values = norm.get_weights()
    values[0][2] = 1e9
    norm.set_weights(values)
    with pytest.raises(ConvertError, match="'conv1_bn' channel 2"):
        convert(model, tmp_path)


def test_without_the_training_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qkeras", None)
    with pytest.raises(ConvertError, match="needs the training extra") as caught:
        plugin.require_qkeras()
    assert "tinyrobust[train]" in caught.value.hint


# The trained folder and the zoo folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ZOO / "train", tmp_path / "trained"))


def test_the_zoo_model_comes_from_its_train_folder(tmp_path: Path) -> None:
    keep = not (ZOO / "order.json").is_file()
    made = zoo.make(
        ZOO / "train", tmp_path / "again", samples=300, oracle_images=0, keep_order=keep
    )
    assert made.graph.sha256 == file.load(ZOO / "model.graph.npz").sha256
    assert made.card["qkeras"]["beyond_rounding"] == 0
    assert made.card["qkeras"]["agreement"] > 0.98  # which values round otherwise: the processor's
    assert made.card["accuracy"]["integer"] >= 0.9
    assert made.card["hls4ml_simulation"] is None
    names = sorted(p.name for p in (tmp_path / "again").iterdir())
    ours = ["card.json", "card.md", "golden.npz", "model.graph.npz", "order.json", "train"]
    assert names == [name for name in ours if not (keep and name == "order.json")]
    with np.load(tmp_path / "again" / "golden.npz") as golden:
        images, scores = golden["images"], golden["scores"]
    np.testing.assert_array_equal(interpreter.run(made.graph, images), scores)


@pytest.mark.parametrize("piece", qkeras.PIECES)
def test_a_missing_piece_is_named(trained: Path, piece: str) -> None:
    (trained / piece).unlink()
    with pytest.raises(ConvertError, match=f"{piece} missing"):
        qkeras.convert_trained(trained)


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, 15000, 19000])
def test_truncated_weights_are_one_clear_error(trained: Path, keep: int) -> None:
    path = trained / "weights.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConvertError, match="trained"):
        qkeras.convert_trained(trained)


@pytest.mark.parametrize("seed", range(8))
def test_changed_bytes_are_an_error_or_another_model(trained: Path, seed: int) -> None:
    path = trained / "weights.npz"
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(data), 20):
        data[at] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    with pytest.raises(ConvertError):
        qkeras.convert_trained(trained)


@pytest.mark.parametrize("text", ["", "[1]", '{"seed": 1', "\x00"])
def test_a_damaged_history_is_one_clear_error(trained: Path, text: str) -> None:
    (trained / "training.json").write_text(text)
    with pytest.raises(ConvertError, match=r"training\.json"):
        qkeras.convert_trained(trained)


def test_no_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="no trained model"):
        qkeras.convert_trained(tmp_path / "nowhere")


def test_a_folder_that_is_no_model_is_not_replaced(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConvertError, match="is no model folder"):
        zoo.make(trained, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_failure_leaves_the_old_model_and_nothing_else(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(shutil.copytree(ZOO, tmp_path / "zoo" / "model"))
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zoo.artefact, "write_text", full)
    with pytest.raises(TinyRobustError, match="No space left on device; free some disk space"):
        zoo.make(trained, old, samples=50, oracle_images=0)
    assert {p: p.read_bytes() for p in old.rglob("*") if p.is_file()} == before
    assert [p.name for p in old.parent.iterdir()] == ["model"]


def test_a_rebuilt_model_keeps_its_adversarial_set(trained: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(ZOO, tmp_path / "model"))
    (old / "adversarial.npz").write_bytes(b"set")
    keep = not (ZOO / "order.json").is_file()
    zoo.make(trained, old, samples=50, oracle_images=0, keep_order=keep)
    assert (old / "adversarial.npz").read_bytes() == b"set"


def test_reordered_channels_give_the_same_scores_and_lead_back(tmp_path: Path) -> None:
    plain = zoo.make(ZOO / "train", tmp_path / "plain", samples=60, oracle_images=0,
                     keep_order=True)  # fmt: skip
    made = zoo.make(ZOO / "train", tmp_path / "made", samples=60, oracle_images=6)
    assert made.graph.sha256 != plain.graph.sha256
    checked = made.card["hls4ml_simulation"]
    assert checked["compared_integers"] > 0 and checked["differing_integers"] == 0
    assert order.load(tmp_path / "plain", plain.graph) == {}
    back = order.as_trained(tmp_path / "made", file.load(tmp_path / "made" / "model.graph.npz"))
    assert back.sha256 == plain.graph.sha256
    with np.load(tmp_path / "plain" / "golden.npz") as golden:
        images, scores = golden["images"], golden["scores"]
    np.testing.assert_array_equal(interpreter.run(made.graph, images), scores)
    with pytest.raises(ConvertError, match="another Graph"):
        order.load(tmp_path / "made", plain.graph)
    (tmp_path / "made" / "order.json").write_text("{")
    with pytest.raises(ConvertError, match="damaged"):
        order.load(tmp_path / "made", made.graph)
