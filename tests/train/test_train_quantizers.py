"""The sampled ternary quantiser: random when it should be, and QKeras's distribution."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf
    from qkeras.quantizers import stochastic_ternary, ternary

    from tinyrobust.train.quantizers import Draw, SampledTernary

pytestmark = pytest.mark.train


@pytest.fixture
def kernel() -> tf.Tensor:
    values = np.random.default_rng(0).normal(0, 0.1, (3, 3, 8, 6)).astype(np.float32)
    return tf.constant(values)


def sampled(draw: Draw, stream: int = 1, temperature: float = 8.0) -> SampledTernary:
    return SampledTernary(draw, stream, temperature, None)


def test_values_are_three_per_channel(kernel: tf.Tensor) -> None:
    quantizer = sampled(Draw(0))
    trits = quantizer(kernel).numpy() / quantizer.scale.numpy()
    assert np.allclose(trits, np.rint(trits), atol=1e-5)
    assert set(np.rint(trits).ravel()) == {-1, 0, 1}


def test_a_draw_repeats_until_advanced_and_differs_between_streams(kernel: tf.Tensor) -> None:
    draw = Draw(3)
    quantizer = sampled(draw)
    first = quantizer(kernel).numpy()
    assert np.array_equal(quantizer(kernel).numpy(), first)
    assert not np.array_equal(sampled(draw, stream=2)(kernel).numpy(), first)
    draw.advance()
    assert not np.array_equal(quantizer(kernel).numpy(), first)
    assert np.array_equal(sampled(Draw(3))(kernel).numpy(), first)
    assert not np.array_equal(sampled(Draw(4))(kernel).numpy(), first)


def test_mean_over_draws_equals_qkeras_stochastic_ternary(kernel: tf.Tensor) -> None:
    draw, count = Draw(0), 200
    ours = sampled(draw)

    @tf.function
    def our_draw() -> tf.Tensor:
        draw.advance()
        return ours(kernel)

    total = sum(our_draw().numpy() for _ in range(count))
    scale = ternary(alpha="auto")
    scale(kernel)
    theirs = stochastic_ternary(alpha="auto")
    before = tf.keras.backend.learning_phase()
    tf.keras.backend.set_learning_phase(1)
    try:
        their_draw = tf.function(lambda: theirs(kernel))
        expected = sum(their_draw().numpy() for _ in range(count))
    finally:
        tf.keras.backend.set_learning_phase(before)
    difference = (total - expected) / count / scale.scale.numpy()
    assert np.abs(difference).max() < 6 / np.sqrt(count)  # a trit's deviation is below 1
    assert np.sqrt((difference**2).mean()) < 1.5 * np.sqrt(2 / count)


def close_to_deterministic(values: np.ndarray, kernel: tf.Tensor) -> bool:
    """Equal to QKeras's deterministic quantiser but at the threshold, which it keeps one
    iteration behind the scale."""
    exact = ternary(alpha="auto")
    wanted, scale = exact(kernel).numpy(), exact.scale.numpy()
    differs = ~np.isclose(values, wanted, atol=1e-6)
    distance = np.abs(np.abs(kernel.numpy()) - scale / 2) / scale
    return bool(differs.mean() < 0.03 and (not differs.any() or distance[differs].max() < 0.05))


def test_high_temperature_gives_the_deterministic_trits(kernel: tf.Tensor) -> None:
    assert close_to_deterministic(sampled(Draw(0), temperature=1e6)(kernel).numpy(), kernel)
    assert not close_to_deterministic(sampled(Draw(0), temperature=8)(kernel).numpy(), kernel)


def test_temperature_moves_with_progress(kernel: tf.Tensor) -> None:
    draw = Draw(0)
    quantizer = SampledTernary(draw, 1, 1.0, 1e6)
    assert not close_to_deterministic(quantizer(kernel).numpy(), kernel)
    draw.progress.assign(1.0)
    assert close_to_deterministic(quantizer(kernel).numpy(), kernel)


def test_the_gradient_passes_straight_through(kernel: tf.Tensor) -> None:
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        loss = tf.reduce_sum(sampled(Draw(0))(kernel) * 3.0)
    assert np.array_equal(tape.gradient(loss, kernel).numpy(), np.full(kernel.shape, 3.0))


def test_sampling_frequencies_follow_the_formula(kernel: tf.Tensor) -> None:
    """P(+1) = a b, P(-1) = (1 - a)(1 - b) with a, b the logistic of temperature (x -+ T) / s."""
    draw, count, temperature = Draw(5), 600, 4.0
    quantizer = sampled(draw, temperature=temperature)

    @tf.function
    def trits() -> tf.Tensor:
        draw.advance()
        return tf.round(quantizer(kernel) / quantizer.scale)

    found = np.stack([trits().numpy() for _ in range(count)])
    exact = ternary(alpha="auto")
    exact(kernel)
    x, threshold = kernel.numpy().astype(np.float64), exact.scale.numpy() / 2
    deviation = x.std(axis=(0, 1, 2))
    low = 1 / (1 + np.exp(-temperature * (x - threshold) / deviation))
    high = 1 / (1 + np.exp(-temperature * (x + threshold) / deviation))
    for trit, chance in ((1, low * high), (-1, (1 - low) * (1 - high))):
        frequency = (found == trit).mean(axis=0)
        error = np.sqrt(chance * (1 - chance) / count) + 1e-3
        assert np.abs((frequency - chance) / error).max() < 5.5  # 432 weights, each normal
        assert np.abs(frequency - chance).mean() < 0.02
