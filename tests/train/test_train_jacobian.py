"""The Jacobian term against exact Jacobians: of the logits of a ternary network, and per layer."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tinyrobust import recipes
from tinyrobust.recipes import Recipe

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train import data
    from tinyrobust.train.jacobian import directions, projected_norm, signs
    from tinyrobust.train.layers import build_model, input_values
    from tinyrobust.train.quantizers import Draw
    from tinyrobust.train.trainer import Trainer

pytestmark = pytest.mark.train
CLASSES = 10
TOP = 127 / 32

RECIPE = {
    "name": "tiny",
    "task": "shapes",
    "network": {
        "blocks": [
            {"kind": "conv", "filters": 4, "stride": 2},
            {"kind": "residual", "filters": 6, "stride": 2},
        ]
    },
    "training": {"epochs": 1, "batch_size": 16, "train_images": 16},
}


@pytest.fixture(scope="module")
def draw() -> Draw:
    return Draw(0)


@pytest.fixture(scope="module")
def model(draw: Draw) -> Any:
    tf.keras.utils.set_random_seed(0)
    return build_model(Recipe.model_validate(RECIPE), draw)  # it samples once: nothing advances


@pytest.fixture(scope="module")
def inputs() -> tf.Tensor:
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    return tf.constant(input_values(images))


def row_norms(forward: Any, inputs: Any) -> Any:
    """Squared Frobenius norm per image of d forward(inputs) / d inputs, one class at a time."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        logits = forward(inputs)
        rows = [tf.reduce_sum(logits[:, k]) for k in range(CLASSES)]
    return sum(tf.reduce_sum(tape.gradient(row, inputs) ** 2, axis=[1, 2, 3]) for row in rows)


def deployed(model: Any, inputs: Any) -> Any:
    """The model at inference, its statistics those of this very batch."""
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0
    model(inputs, training=True)
    return lambda x: model(x, training=False)


def training(model: Any) -> Any:
    return lambda x: [model(x, training=True)]


def axes(count: int) -> tf.Tensor:
    """Every axis of the outputs as a direction: the projection is then exact."""
    return tf.tile(tf.eye(CLASSES)[:, None, :], [1, count, 1])


def test_all_axes_together_give_the_exact_norm(model: Any, inputs: tf.Tensor) -> None:
    (logits,), norms = projected_norm(training(model), inputs, [axes(3)])
    exact = row_norms(deployed(model, inputs), inputs).numpy()
    assert exact.min() > 0.01
    assert np.allclose(norms.numpy(), exact, rtol=1e-3)
    assert np.allclose(logits.numpy(), model(inputs, training=True).numpy(), atol=1e-5)


def test_random_directions_agree_with_the_exact_norm_on_average(
    model: Any, inputs: tf.Tensor
) -> None:
    exact = row_norms(deployed(model, inputs), inputs).numpy()

    @tf.function
    def estimate(seed: tf.Tensor) -> tf.Tensor:
        unit = directions(tf.random.stateless_normal((4, 3, CLASSES), [7, seed]))
        return projected_norm(training(model), inputs, [unit])[1]

    draws = [estimate(tf.constant(seed)).numpy() for seed in range(60)]
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(mean - exact) < 4 * error)
    assert np.all(error < 0.2 * exact)


def test_a_layer_of_the_network_agrees_with_its_exact_jacobian(
    model: Any, inputs: tf.Tensor
) -> None:
    """The residual block's output and the logits, each by itself and both in one pass."""
    layers = [model.get_layer(name).output for name in ("res2_act", "dense_bn")]
    observed = tf.keras.Model(model.input, layers)
    deployed(model, inputs)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        outputs = observed(inputs, training=False)
    exact = [
        tf.reduce_sum(tape.batch_jacobian(y, inputs) ** 2, axis=list(range(1, len(y.shape) + 3)))
        for y in outputs
    ]
    assert min(float(tf.reduce_min(e)) for e in exact) > 0.01

    def estimate(seed: Any, strengths: tuple[float, float]) -> Any:
        units = [
            signs((8, 3, *outputs[0].shape[1:]), tf.stack([1, seed])),
            directions(tf.random.stateless_normal((8, 3, CLASSES), tf.stack([2, seed]))),
        ]
        forward = partial(observed, training=True)
        return projected_norm(forward, inputs, units, strengths)[1]

    for strengths in ((1.0, 0.0), (0.0, 1.0), (0.5, 2.0)):
        once = tf.function(partial(estimate, strengths=strengths))
        draws = np.array([once(tf.constant(seed)).numpy() for seed in range(40)])
        wanted = (strengths[0] * exact[0] + strengths[1] * exact[1]).numpy()
        error = draws.std(axis=0) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - wanted) < 4 * error)
        assert np.all(error < 0.1 * wanted)


class Plain:
    """The same network from TensorFlow's own operations, its batch-norm statistics given."""

    def __init__(self, model: Any, draw: Draw) -> None:
        self.model, self.draw = model, draw
        self.seen: dict[str, Any] = {}

    def block(self, name: str, x: Any, stride: int, given: dict[str, Any] | None) -> Any:
        layer = self.model.get_layer(name)
        kernel = layer.kernel_quantizer_internal(layer.kernel)
        x = x @ kernel if name == "dense" else tf.nn.conv2d(x, kernel, stride, "SAME")
        self.seen[name] = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        mean, variance = (given or self.seen)[name]
        bn = self.model.get_layer(f"{name}_bn")
        return (x - mean) * tf.math.rsqrt(variance + bn.epsilon) * bn.gamma + bn.beta

    def act(self, x: Any) -> Any:
        x = tf.clip_by_value(x, 0, TOP)
        return x + tf.stop_gradient(tf.floor(x * 32 + 0.5) / 32 - x)

    def __call__(self, x: Any, given: dict[str, Any] | None = None) -> Any:
        x = self.act(self.block("conv1", x, 2, given))
        y = self.act(self.block("res2_conv1", x, 2, given))
        y = self.block("res2_conv2", y, 1, given)
        x = self.act(y + self.block("res2_shortcut", x[:, ::2, ::2], 1, given))
        return self.block("dense", self.act(tf.reduce_mean(x, axis=[1, 2])), 1, given)


def test_its_gradient_is_the_gradient_of_the_exact_norm(
    model: Any, draw: Draw, inputs: tf.Tensor
) -> None:
    """The weights move the Jacobian directly and through the batch's statistics."""
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        estimate = tf.reduce_mean(projected_norm(training(model), inputs, [axes(3)])[1])
    found = tape.gradient(estimate, variables, unconnected_gradients="zero")
    plain = Plain(model, draw)
    with tf.GradientTape() as tape:
        plain(inputs)
        statistics = dict(plain.seen)
        exact = tf.reduce_mean(row_norms(lambda x: plain(x, statistics), inputs))
    assert float(estimate) == pytest.approx(float(exact), rel=1e-4)
    expected = tape.gradient(exact, variables, unconnected_gradients="zero")
    size = max(float(tf.reduce_max(tf.abs(e))) for e in expected)
    assert size > 0.01
    for got, want in zip(found, expected, strict=True):
        assert np.allclose(got.numpy(), want.numpy(), atol=1e-4 * size, rtol=1e-3)


def test_the_gradient_of_a_plain_loss_is_tensorflows(
    model: Any, draw: Draw, inputs: tf.Tensor
) -> None:
    variables = [*model.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(model(inputs, training=True) ** 3)
    found = tape.gradient(loss, [*variables, inputs])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(Plain(model, draw)(inputs) ** 3)
    expected = tape.gradient(loss, [*variables, inputs])
    for got, want in zip(found, expected, strict=True):
        size = float(tf.reduce_max(tf.abs(want)))
        assert np.allclose(got.numpy(), want.numpy(), atol=1e-3 * size)


def test_several_layers_share_one_pass_without_bias() -> None:
    """E ||sum_l sqrt(s_l K_l) v_l J_l||^2 = sum_l s_l ||J_l||^2, against exact Jacobians."""
    x = tf.random.stateless_normal((2, 6), [0, 1])
    w1, w2 = (
        tf.random.stateless_normal((6, 40), [0, 2]),
        tf.random.stateless_normal((40, 5), [0, 3]),
    )
    strengths = (0.3, 2.0)

    def forward(x: Any) -> list[Any]:
        hidden = tf.tanh(x @ w1)
        return [hidden, hidden @ w2]

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        outputs = forward(x)
    norms = [tf.reduce_sum(tape.batch_jacobian(y, x) ** 2, axis=[1, 2]).numpy() for y in outputs]
    exact = strengths[0] * norms[0] + strengths[1] * norms[1]

    @tf.function
    def estimate(seed: Any) -> Any:
        units = [
            signs((3, 2, 40), tf.stack([1, seed])),
            directions(tf.random.stateless_normal((3, 2, 5), tf.stack([2, seed]))),
        ]
        return projected_norm(forward, x, units, strengths)[1]

    draws = [estimate(tf.constant(seed)).numpy() for seed in range(400)]
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(error < 0.1 * exact)
    assert np.all(np.abs(mean - exact) < 4 * error)


@pytest.mark.parametrize("how", ["sphere", "signs"])
def test_directions_have_unit_length_and_no_preferred_axis(how: str) -> None:
    if how == "sphere":
        unit = directions(tf.random.stateless_normal((1, 4000, CLASSES), [1, 2])).numpy()[0]
    else:
        unit = signs((1, 4000, CLASSES), tf.constant([1, 2])).numpy()[0]
        assert np.allclose(np.abs(unit), CLASSES**-0.5)
    assert np.allclose((unit**2).sum(axis=1), 1, atol=1e-5)
    assert np.allclose(unit.T @ unit / len(unit) * CLASSES, np.eye(CLASSES), atol=0.1)
    assert np.allclose(unit.mean(axis=0), 0, atol=0.03)


def test_a_recipe_chooses_layers_and_strengths() -> None:
    recipe = recipes.override(
        Recipe.model_validate(RECIPE),
        ["network.blocks.0.jacobian=0.1", "network.blocks.1.jacobian=0.3", "jacobian.strength=0.4",
         "jacobian.projections=2"],
    )  # fmt: skip
    trainer = Trainer(recipe)
    assert trainer.observed.output_names[:-1] == ["conv1_act", "res2_act", "dense_bn"]
    assert trainer.shares == pytest.approx([0.125, 0.375, 0.5])
    images, labels = next(data.load(recipe).batches(0))
    trainer.step(images, labels, 0.5)
    assert float(trainer._strength) == pytest.approx(0.8)


def test_a_layers_own_term_lowers_that_layers_jacobian() -> None:
    """Without cross-entropy's help: the strength is far above it."""
    base = Recipe.model_validate(RECIPE)

    def norms(strength: float) -> list[float]:
        recipe = recipes.override(
            base, [f"network.blocks.0.jacobian={strength}", "training.optimizer.warmup_epochs=0",
                   "network.weights.quantizer=ternary", "training.optimizer.learning_rate=0.02"],
        )  # fmt: skip
        trainer = Trainer(recipe)
        batch = next(data.load(recipe).batches(0))
        return [float(trainer.step(*batch, 0.1)[1]) for _ in range(25)]

    strong, weak = norms(10.0), norms(1e-6)
    assert strong[0] == pytest.approx(weak[0], rel=1e-4)
    assert strong[-1] < 0.6 * weak[-1]
