"""QUANOS: sensitivity and bits by hand on a small network, and a whole training."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyrobust import recipes
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Recipe

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train import quanos, rebuild, train, trained

pytestmark = pytest.mark.train

TINY = {
    "name": "tiny",
    "task": "shapes",
    "network": {
        "blocks": [
            {"kind": "conv", "filters": 4, "stride": 2},
            {"kind": "depthwise", "stride": 2},
        ]
    },
    "training": {
        "epochs": 1, "batch_size": 16, "train_images": 32, "validation_images": 16,
        "batch_norm_images": 32,
    },
    "quanos": {"epochs": 1, "images": 32, "least_bits": 2, "most_bits": 6},
}  # fmt: skip


class Silent:
    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        pass

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        pass


def by_hand() -> Any:
    """One pixel of two channels: a = relu(W x), then logits b = V a; input (x >> 1) / 128."""
    inputs = tf.keras.Input((1, 1, 2))
    a = tf.keras.layers.Dense(2, activation="relu", use_bias=False, name="a")(inputs)
    b = tf.keras.layers.Dense(2, use_bias=False, name="b")(tf.keras.layers.Flatten()(a))
    model = tf.keras.Model(inputs, b)
    model.get_layer("a").kernel.assign([[1.0, 0.0], [1.0, -1.0]])
    model.get_layer("b").kernel.assign([[1.0, 0.0], [0.0, 2.0]])
    return model


def test_sensitivity_by_hand() -> None:
    """x = (64, 32) / 128 for bytes (128, 64): a = (0.75, 0), as the second unit is off.

    b = (0.75, 0), label 0: the loss falls as b_0 grows, so the attack lowers both inputs: bytes
    (120, 56), x = (60, 28) / 128, a = (0.6875, 0), b = (0.6875, 0). Both moved by 0.0625 of 0.75.
    Label 1 raises both: a = (0.8125, 0), the same distance. For the second image (64, 64) with
    label 0: a = (0.5, 0) falls to 0.4375.
    """
    images = np.array([[[[128, 64]]], [[[64, 64]]]], np.uint8)
    model = by_hand()
    one = quanos.sensitivities(model, {"first": "a", "last": "b"}, images[:1], np.array([0]), 8.0)
    assert one == {"first": pytest.approx(0.0625 / 0.75), "last": pytest.approx(0.0625 / 0.75)}
    two = quanos.sensitivities(model, {"first": "a"}, images, np.array([0, 0]), 8.0)
    wanted = np.sqrt(2 * 0.0625**2) / np.sqrt(0.75**2 + 0.5**2)
    assert two == {"first": pytest.approx(wanted)}


def test_bits_by_hand() -> None:
    found = {"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.2}
    assert quanos.allocate(found, 2, 8) == {"a": 8, "b": 2, "c": 5, "d": 7}  # 6.5 goes up
    assert quanos.allocate({"a": 0.2, "b": 0.2}, 2, 8) == {"a": 8, "b": 8}


def test_a_training_measures_assigns_and_goes_on(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(TINY)
    out = train(recipe, tmp_path / "out", listener=Silent())
    saved = recipes.load(out / "recipe.yaml")
    assert saved.quanos is not None
    bits, found = saved.quanos.bits, saved.quanos.sensitivity
    assert list(bits) == list(found) == ["conv1", "dw2", "dense"]
    assert bits == quanos.allocate(found, 2, 6)
    assert {min(bits.values()), max(bits.values())} == {2, 6}
    _, weights = trained.read(out)
    for name, count in bits.items():
        assert np.abs(weights[f"{name}/codes"]).max() == (1 << (count - 1)) - 1
    equal = recipes.load(out / "quanos" / "recipe.yaml")
    assert equal.network.weights.bits == 6 and equal.quanos is None
    assert rebuild(out)(tf.zeros((1, 32, 32, 3))).shape == (1, 10)
    assert train(recipe, out, resume=True, listener=Silent()) == out
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipes.override(recipe, ["training.seed=4"]), out, resume=True, listener=Silent())
