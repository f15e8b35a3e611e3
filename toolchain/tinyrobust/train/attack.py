"""Attacks inside adversarial training, in the input's own integers.

Comes in: a model's forward pass and a batch of input integers 0..255 (as floats), in TensorFlow's
graph. Goes out: attacked integers within ``eps_255`` of them. Gradients pass straight through the
dropped low bit of the input and through the quantisers.

Images are whole integers at every step: the random start is a uniform integer perturbation, and
a step's size is rounded, to one at least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

INPUT_MAX = 255.0
Forward = Callable[[Any], Any]


def network_input(integers: Any, bits: int = 7) -> Any:
    """The network's float input for input integers x 0..255: (x >> (8 - bits)) / 2^bits."""
    return tf.floor(integers / 2.0 ** (8 - bits)) / 2.0**bits


def random_start(integers: Any, eps_255: Any, seed: Any) -> Any:
    """Integers plus a uniform integer in -eps..eps each, within 0..255; ``seed`` int32 [2]."""
    span = tf.floor(eps_255)
    noise = tf.random.stateless_uniform(tf.shape(integers), seed)
    noise = tf.floor(noise * (2.0 * span + 1.0)) - span
    return tf.clip_by_value(integers + noise, 0.0, INPUT_MAX)


def ascend(
    loss: Callable[[Any], Any], integers: Any, start: Any, eps_255: Any, step_255: Any, steps: int,
    *, bits: int = 7,
) -> Any:  # fmt: skip
    """``steps`` steps of the gradient's sign that raise ``loss``, from ``start``.

    ``loss`` maps the network's float input, of ``bits`` bits, to a scalar. Each step is projected
    onto the ball of ``eps_255`` around ``integers`` and onto 0..255; the result is whole integers.
    """
    low = tf.maximum(integers - tf.floor(eps_255), 0.0)
    high = tf.minimum(integers + tf.floor(eps_255), INPUT_MAX)
    size = tf.maximum(tf.round(step_255), 1.0)

    def step(found: Any) -> Any:
        x = network_input(found, bits)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = loss(x)
        return tf.clip_by_value(found + size * tf.sign(tape.gradient(value, x)), low, high)

    if steps == 1:
        return tf.stop_gradient(step(start))
    (found,) = tf.while_loop(
        lambda _: True, lambda found: (step(found),), (start,), maximum_iterations=steps
    )
    return tf.stop_gradient(found)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Sum over the batch of the cross-entropy with integer labels."""
    return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def divergence(clean_logits: Any, logits: Any) -> Any:
    """Kullback-Leibler divergence of softmax(logits) from softmax(clean_logits), per image."""
    clean = tf.nn.log_softmax(clean_logits)
    return tf.reduce_sum(tf.exp(clean) * (clean - tf.nn.log_softmax(logits)), axis=-1)


def mean_cross_entropy(logits: Any, labels: Any, smoothing: float) -> Any:
    """Mean cross-entropy with labels smoothed by ``smoothing`` (0: not at all)."""
    classes = logits.shape[-1]
    target = tf.one_hot(labels, classes, dtype=logits.dtype) * (1 - smoothing)
    target += smoothing / classes
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))


def trades(entropy: Any, beta: float, clean_logits: Any, logits: Any) -> tuple[Any, Any]:
    """TRADES's loss (Zhang et al. 2019, equation 5) and its mean divergence, without ``beta``."""
    apart = tf.reduce_mean(divergence(clean_logits, logits))
    return entropy + beta * apart, apart
