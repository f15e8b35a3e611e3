"""The regulariser towards cheap weights: exact expectations, and where its gradient leads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from qkeras.quantizers import ternary

from tinyrobust import recipes
from tinyrobust.graph.reorder import shared_cost
from tinyrobust.train.layers import build_model, kernel_layers
from tinyrobust.train.quantizers import SCALE, Draw, SampledTernary
from tinyrobust.train.terms import sparsity
from tinyrobust.train.trainer import Trainer

pytestmark = [pytest.mark.train]


def chances_of(trits: np.ndarray) -> tf.Tensor:
    """Certain trits (inputs, blocks, K)."""
    return tf.constant(np.stack([trits == t for t in (-1, 0, 1)]).astype(np.float32))


@pytest.mark.parametrize("share", [1, 2, 3, 4])
def test_every_pattern_but_zero_is_in_one_class(share: int) -> None:
    patterns = np.array(list(itertools.product((-1, 0, 1), repeat=share)), np.int8)
    found = sparsity.class_chances(chances_of(patterns[:, None])).numpy()[..., 0]
    assert found.shape == ((3**share - 1) // 2, 3**share)
    assert (found.sum(axis=0) == patterns.any(axis=1)).all()
    for members in found:
        first, second = patterns[members == 1]
        assert (first == -second).all()


def test_certain_trits_give_the_counts_of_the_kernel_s_cost() -> None:
    rng = np.random.default_rng(0)
    trits = rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=(30, 5, 4)).astype(np.int8)
    chances = chances_of(trits)
    inputs = sparsity.expected_inputs(chances).numpy() * 30
    classes = sparsity.expected_classes(chances).numpy() * 40
    for block in range(5):
        assert inputs[block] + 1.5 * classes[block] == pytest.approx(
            shared_cost(trits[:, block].T), abs=1e-2
        )


def test_expectations_are_those_of_every_outcome() -> None:
    """Two inputs, blocks of two channels: all 81 outcomes by hand."""
    rng = np.random.default_rng(1)
    table = rng.dirichlet([1, 1, 1], size=(2, 1, 2))  # inputs, blocks, K, trit
    chances = tf.constant(np.moveaxis(table, -1, 0).astype(np.float32))
    inputs = classes = 0.0
    for outcome in itertools.product((-1, 0, 1), repeat=4):
        trits = np.array(outcome).reshape(2, 2)
        chance = np.prod([table[i, 0, k, trits[i, k] + 1] for i in (0, 1) for k in (0, 1)])
        patterns = [tuple(row) for row in trits if row.any()]
        inputs += chance * len(patterns) / 2
        classes += chance * len({max(p, tuple(-t for t in p)) for p in patterns}) / 4
    assert sparsity.expected_inputs(chances).numpy()[0] == pytest.approx(inputs, abs=1e-5)
    assert sparsity.expected_classes(chances).numpy()[0] == pytest.approx(classes, abs=1e-5)


def test_the_chances_are_those_of_the_sampling_quantiser() -> None:
    kernel = tf.Variable(np.random.default_rng(2).normal(0, 1, (3, 3, 2, 4)).astype(np.float32))
    draw = Draw(3)
    quantizer = SampledTernary(draw, 1, 4.0, None)
    chances = sparsity.probabilities(kernel, 4.0).numpy()
    np.testing.assert_allclose(chances.sum(axis=0), 1.0, atol=1e-6)
    counts = np.zeros((3, *kernel.shape))
    draws = 400

    @tf.function
    def sample() -> tf.Tensor:
        return quantizer(kernel) / quantizer.scale

    for _ in range(draws):
        draw.advance()
        trits = np.rint(sample().numpy())
        counts += np.stack([trits == t for t in (-1, 0, 1)])
    assert np.abs(counts / draws - chances).max() < 4.5 * np.sqrt(0.25 / draws)
    assert np.abs(counts / draws - chances).mean() < 0.02


@pytest.mark.parametrize("term", ["expected_inputs", "expected_classes"])
def test_following_the_gradient_lowers_the_count_of_the_trits(term: str) -> None:
    rng = np.random.default_rng(4)
    kernel = tf.Variable(rng.normal(0, 1, (3, 3, 4, 8)).astype(np.float32))

    def count() -> float:
        quantizer = ternary(alpha=SCALE)
        trits = np.rint((quantizer(kernel) / quantizer.scale).numpy())
        chances = chances_of(trits.reshape(36, 2, 4))
        return float(tf.reduce_mean(getattr(sparsity, term)(chances)))

    @tf.function
    def gradient_of() -> tf.Tensor:
        with tf.GradientTape() as tape:
            chances = sparsity._blocks(sparsity.probabilities(kernel, 6.0), 4)
            loss = tf.reduce_mean(getattr(sparsity, term)(chances))
        return tape.gradient(loss, kernel)

    before = count()
    for _ in range(60):
        gradient = gradient_of()
        kernel.assign_sub(0.05 * gradient / (tf.reduce_max(tf.abs(gradient)) + 1e-12))
    assert np.isfinite(kernel.numpy()).all()
    assert count() < 0.8 * before


def test_blocks_that_are_not_full_are_filled_with_zeros() -> None:
    chances = tf.fill((3, 1, 1, 2, 6), 1.0 / 3.0)
    blocks = sparsity._blocks(chances, 4)
    assert blocks.shape == (3, 2, 2, 4)
    full, part = sparsity.expected_inputs(blocks).numpy()
    assert full == pytest.approx(1 - 3.0**-4, abs=1e-6)
    assert part == pytest.approx(1 - 3.0**-2, abs=1e-6)


@pytest.mark.slow
def test_a_recipe_s_regulariser_makes_zeros() -> None:
    """The same few steps with and without it."""
    zeros, terms = {}, {}
    for strength in (0, 4):
        wish = [f"sparsity.zeros={strength}", f"sparsity.patterns={strength}"]
        recipe = recipes.load("shapes-small", wish)
        trainer = Trainer(recipe)
        terms[strength] = "sparsity" in trainer.metrics
        rng = np.random.default_rng(0)
        size = recipe.training.batch_size
        for step in range(12):
            images = rng.integers(0, 256, (size, 32, 32, 3), np.uint8)
            means = trainer.step(images, rng.integers(0, trainer.classes, size), 0.1 * step)
            assert np.isfinite(means.numpy()).all()
        model = build_model(recipe)
        model.set_weights(trainer.weights())
        trits = [ternary(alpha=SCALE)(layer.kernel) for layer in kernel_layers(model)[:-1]]
        zeros[strength] = np.mean(np.concatenate([(t.numpy() == 0).ravel() for t in trits]))
    assert terms == {0: False, 4: True}
    assert zeros[4] > zeros[0] + 0.02
