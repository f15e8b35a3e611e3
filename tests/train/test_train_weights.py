"""Every kind of weights: its mathematics, and that a trained folder gives it back."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyrobust.errors import TinyRobustError
from tinyrobust.recipes import Recipe, Weights

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train import trained
    from tinyrobust.train.layers import build_model, input_values, kernel_layers, model_input
    from tinyrobust.train.quantizers import Draw, deterministic, latent, quantizer_of
    from tinyrobust.train.terms.distillation import distilled
    from tinyrobust.train.training_layers import TrainedDropout

pytestmark = pytest.mark.train
KINDS = ["ternary", "binary", "int2", "int4", "int8"]


def weights(kind: str) -> Weights:
    if kind.startswith("int"):
        return Weights(quantizer="int", bits=int(kind[3:]))
    return Weights.model_validate({"quantizer": kind})


@pytest.fixture(scope="module")
def kernel() -> tf.Tensor:
    values = np.random.default_rng(0).normal(0, 0.1, (3, 3, 8, 6)).astype(np.float32)
    return tf.constant(values)


def per_channel(kernel: Any) -> np.ndarray:
    return np.asarray(kernel).reshape(-1, kernel.shape[-1])


def test_binary_is_the_sign_times_the_mean_magnitude(kernel: tf.Tensor) -> None:
    """XNOR-Net, equation 6: the least-squares scale of sign(W) is the mean of |W|."""
    values = per_channel(deterministic(weights("binary"))(kernel))
    exact = per_channel(kernel)
    assert np.allclose(values, np.sign(exact) * np.abs(exact).mean(axis=0), atol=1e-6)


def test_ternary_is_zero_below_half_its_scale_and_the_scale_fits(kernel: tf.Tensor) -> None:
    """Ternary Weight Networks: trits of |w| > threshold, scale = mean |w| over those."""
    quantizer = deterministic(weights("ternary"))
    values, exact = per_channel(quantizer(kernel)), per_channel(kernel)
    scale = np.abs(values).max(axis=0)
    kept = values != 0
    assert np.array_equal(np.sign(values[kept]), np.sign(exact[kept]))
    for channel in range(exact.shape[1]):
        magnitudes = np.abs(exact[:, channel])
        chosen = magnitudes[kept[:, channel]]
        assert chosen.min() > magnitudes[~kept[:, channel]].max()
        assert scale[channel] == pytest.approx(chosen.mean(), rel=1e-5)
        assert chosen.min() == pytest.approx(scale[channel] / 2, rel=0.1)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_round_to_steps_of_the_largest_weight(kernel: tf.Tensor, bits: int) -> None:
    values, exact = per_channel(deterministic(weights(f"int{bits}"))(kernel)), per_channel(kernel)
    step = np.abs(exact).max(axis=0) / ((1 << (bits - 1)) - 1)
    assert np.allclose(values / step, np.rint(values / step), atol=1e-3)
    assert np.abs(values - exact).max() <= step.max() / 2 * 1.001
    assert np.all(np.abs(values - exact) <= step / 2 * 1.001)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_straight_through(kernel: tf.Tensor, kind: str) -> None:
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        loss = tf.reduce_sum(deterministic(weights(kind))(kernel) * 3.0)
    assert np.array_equal(tape.gradient(loss, kernel).numpy(), np.full(kernel.shape, 3.0))


def mixed(**head: Any) -> Recipe:
    """Every kind of weights in one network, with a depthwise block."""
    return Recipe.model_validate(
        {
            "name": "mixed",
            "task": "shapes",
            "network": {
                "input_bits": 8,
                "weights": {"quantizer": "ternary"},
                "blocks": [
                    {"kind": "conv", "filters": 6, "stride": 2, "kernel_size": [4, 10],
                     "weights": {"quantizer": "int", "bits": 8}},
                    {"kind": "depthwise", "stride": 2, "dropout": 0.5},
                    {"kind": "conv", "filters": 8, "kernel_size": 1,
                     "weights": {"quantizer": "binary"}},
                    {"kind": "depthwise", "weights": {"quantizer": "int", "bits": 4}},
                    {"kind": "residual", "filters": 8, "activation": {"bits": None},
                     "weights": {"quantizer": "float"}},
                ],
                "head": head,
            },
            "training": {"epochs": 1, "batch_size": 8},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)


def test_a_frozen_network_of_every_kind_is_written_and_read_back(
    images: np.ndarray, tmp_path: Path
) -> None:
    recipe = mixed(normalise=False)
    tf.keras.utils.set_random_seed(3)
    model = trained.frozen(recipe, build_model(recipe))
    model.get_layer("dense").bias.assign(np.arange(10, dtype=np.float32))
    trained.save(tmp_path, recipe, model, {})
    _, found = trained.read(tmp_path)
    again = trained.rebuild(tmp_path)
    x = model_input(model, images)
    assert np.array_equal(again(x).numpy(), model(x).numpy())
    assert set(np.unique(found["conv3/codes"])) == {-1, 1}
    assert np.abs(found["conv1/codes"]).max() == 127 and np.abs(found["dw4/codes"]).max() == 7
    assert set(np.unique(found["dw2/trits"])) <= {-1, 0, 1} and found["dw2/alpha"].shape == (1,)
    assert found["res5_conv1/kernel"].dtype == np.float32
    found["conv1/codes"][:] = -128
    with pytest.raises(TinyRobustError, match=r"must be int8 in -127..127"):
        trained.assemble(recipe, found)


def test_a_kernel_that_is_not_quantised_is_refused() -> None:
    recipe = mixed()
    with pytest.raises(TinyRobustError, match="not frozen"):
        trained.extract(build_model(recipe))


def test_training_layers_compute_what_qkeras_computes(images: np.ndarray) -> None:
    """In float: batch norms in training, and activations but for a tie."""
    recipe = mixed()
    tf.keras.utils.set_random_seed(3)
    plain = build_model(recipe)
    quick = build_model(recipe, Draw(0), sample=False)
    quick.set_weights(plain.get_weights())
    x = input_values(images, 8)
    for training in (False, True):
        want, got = plain(x, training=training), quick(x, training=training)
        assert np.allclose(got.numpy(), want.numpy(), atol=0.05)
        assert np.median(np.abs(got.numpy() - want.numpy())) < 1e-4
    for old, new in zip(plain.get_weights(), quick.get_weights(), strict=True):
        assert np.allclose(old, new, atol=1e-3)


def test_shared_kernels_are_those_of_the_quantisers() -> None:
    draw = Draw(0)
    model = build_model(mixed(), draw)
    layers = kernel_layers(model)
    assert len(layers) == 7
    apart = [np.asarray(draw.quantised(layer)) for layer in layers]
    with draw.sharing(layers):
        shared = [draw.quantised(layer) for layer in layers]
        assert all(draw.quantised(a) is b for a, b in zip(layers, shared, strict=True))
    for a, b in zip(apart, shared, strict=True):
        assert np.array_equal(a, b.numpy())
    floats = [layer for layer in layers if quantizer_of(layer) is None]
    assert [layer.name for layer in floats] == ["res5_conv1", "res5_conv2"]
    assert np.array_equal(draw.quantised(floats[0]).numpy(), latent(floats[0]).numpy())


def test_dropout_keeps_the_mean_and_depends_on_the_draw() -> None:
    draw = Draw(0)
    layer = TrainedDropout(0.3, draw, 5, "drop")
    x = tf.ones((40, 500))
    first = layer(x, training=True).numpy()
    assert (first == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert first.max() == pytest.approx(1 / 0.7) and first.mean() == pytest.approx(1, abs=0.03)
    assert np.array_equal(layer(x, training=True).numpy(), first)
    draw.advance()
    assert not np.array_equal(layer(x, training=True).numpy(), first)
    assert np.array_equal(layer(x, training=False).numpy(), x.numpy())


def test_distillation_is_its_definition() -> None:
    """Hinton et al. 2015: T^2 KL(softmax(teacher / T) || softmax(student / T))."""
    teacher, student = np.random.default_rng(0).normal(0, 3, (2, 6, 10))
    p, q = (np.exp(v / 4) / np.exp(v / 4).sum(axis=1, keepdims=True) for v in (teacher, student))
    wanted = 16 * (p * np.log(p / q)).sum(axis=1).mean()
    assert float(distilled(teacher, student, 4.0)) == pytest.approx(wanted)
