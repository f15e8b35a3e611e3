"""The Jacobian penalty against the exact Jacobian, on a ternary network."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from tinyrobust.recipes import Recipe

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train.jacobian import directions, projected_norm
    from tinyrobust.train.layers import build_model, input_values
    from tinyrobust.train.quantizers import Draw

pytestmark = pytest.mark.train
CLASSES = 10


@pytest.fixture(scope="module")
def model() -> object:
    tf.keras.utils.set_random_seed(0)
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "task": "shapes",
            "network": {
                "blocks": [
                    {"kind": "conv", "filters": 4, "stride": 2},
                    {"kind": "residual", "filters": 6, "stride": 2},
                ]
            },
            "training": {"epochs": 1},
        }
    )
    return build_model(recipe, Draw(0))  # it samples once: nothing advances the draw


@pytest.fixture(scope="module")
def inputs() -> tf.Tensor:
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return tf.constant(input_values(images))


def exact_norms(model: object, inputs: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = model(inputs, training=False)  # type: ignore[operator]
    jacobian = tape.batch_jacobian(logits, inputs)
    return tf.reduce_sum(jacobian**2, axis=[1, 2, 3, 4])


def forward(model: object) -> object:
    return lambda x: model(x, training=False)  # type: ignore[operator]


def axes(count: int) -> tf.Tensor:
    """Every axis of the outputs as a direction: the projection is then exact."""
    return tf.tile(tf.eye(CLASSES)[:, None, :], [1, count, 1])


def test_all_axes_together_give_the_exact_norm(model: object, inputs: tf.Tensor) -> None:
    logits, norms = projected_norm(forward(model), inputs, axes(3))
    exact = exact_norms(model, inputs).numpy()
    assert exact.min() > 0.01
    assert np.allclose(norms.numpy(), exact, rtol=1e-4)
    assert np.array_equal(logits.numpy(), model(inputs, training=False).numpy())  # type: ignore[operator]


def test_random_directions_agree_with_the_exact_norm_on_average(
    model: object, inputs: tf.Tensor
) -> None:
    exact = exact_norms(model, inputs).numpy()

    @tf.function
    def estimate(seed: tf.Tensor) -> tf.Tensor:
        unit = directions(tf.random.stateless_normal((4, 3, CLASSES), [7, seed]))
        return projected_norm(forward(model), inputs, unit)[1]

    draws = [estimate(tf.constant(seed)).numpy() for seed in range(60)]
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(mean - exact) < 4 * error)
    assert np.all(error < 0.2 * exact)


def test_its_gradient_is_the_gradient_of_the_exact_norm(model: object, inputs: tf.Tensor) -> None:
    variables = model.trainable_variables  # type: ignore[attr-defined]
    with tf.GradientTape() as tape:
        estimate = tf.reduce_mean(projected_norm(forward(model), inputs, axes(3))[1])
    found = tape.gradient(estimate, variables, unconnected_gradients="zero")
    with tf.GradientTape() as tape:
        exact = tf.reduce_mean(exact_norms(model, inputs))
    expected = tape.gradient(exact, variables, unconnected_gradients="zero")
    size = max(float(tf.reduce_max(tf.abs(e))) for e in expected)
    assert size > 0.01
    for got, want in zip(found, expected, strict=True):
        assert np.allclose(got.numpy(), want.numpy(), atol=1e-4 * size, rtol=1e-3)


def test_directions_are_uniform_on_the_unit_sphere() -> None:
    unit = directions(tf.random.stateless_normal((1, 4000, CLASSES), [1, 2])).numpy()[0]
    assert np.allclose((unit**2).sum(axis=1), 1, atol=1e-5)
    assert np.allclose(unit.T @ unit / len(unit) * CLASSES, np.eye(CLASSES), atol=0.1)
