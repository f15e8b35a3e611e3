"""Weight quantisers, and the source of randomness of those that sample.

Comes in: latent float kernels. Goes out: integer codes times a scale per output channel, as float
kernels whose gradient passes straight through. All are QKeras's, with the scale that fits best.

QKeras's ``stochastic_ternary`` decides by the global ``K.learning_phase()`` when a function is
traced, so it is silently deterministic in a custom loop, or silently random after one. Here the
sampling model and the deterministic model are two models: this class always samples, and the
deterministic one uses QKeras's ``ternary``.

A depthwise kernel (H, W, C, 1) has one scale in all, as QKeras gives it; its batch norm has one
per channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from qkeras.quantizers import binary, quantized_bits, stochastic_ternary, ternary

from tinyrobust.recipes import Weights

SCALE = "auto"  # least-squares scale per output channel
EPSILON = 1e-7


def latent(layer: Any) -> Any:
    """The latent kernel of a kernel layer: a variable."""
    return layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel


def quantizer_of(layer: Any) -> Any:
    """The weight quantiser of a kernel layer, None if it has none."""
    if hasattr(layer, "depthwise_kernel"):
        return layer.depthwise_quantizer_internal
    return layer.kernel_quantizer_internal


def deterministic(weights: Weights) -> Any:
    """QKeras's quantiser for ``weights`` as it is after training; None for float weights."""
    if weights.quantizer == "float":
        return None
    if weights.quantizer == "binary":
        return binary(alpha=SCALE)
    if weights.quantizer == "int":
        return quantized_bits(weights.bits, 0, symmetric=1, alpha=SCALE)
    return ternary(alpha=SCALE)


def codes(layer: Any) -> tuple[Any, Any]:
    """Integer codes (int8) of a layer's latent kernel, and their scales (float32, 1-dimensional).

    Codes times scales is what the layer's quantiser gives but for the last bit of a scale, which
    is chosen so that it can be found again in the product (``top_code`` times it, divided).
    """
    quantizer = quantizer_of(layer)
    if isinstance(quantizer, SampledTernary):
        quantizer = ternary(alpha=SCALE)
    values = quantizer(latent(layer)).numpy()
    scale = np.asarray(quantizer.scale, np.float32).reshape(-1)
    top = top_code(quantizer)
    if isinstance(quantizer, quantized_bits):
        scale = scale / np.float32(top + 1)  # QKeras's scale is that of a fraction in -1..1
    integers = np.rint(values / scale).astype(np.int8)
    while not np.array_equal(scale, found := scale * np.float32(top) / np.float32(top)):
        scale = found
    return integers, scale


def top_code(quantizer: Any) -> int:
    """The largest code of a quantiser; its smallest is the same below zero."""
    return (1 << (quantizer.bits - 1)) - 1 if isinstance(quantizer, quantized_bits) else 1


class Draw:
    """Where the sampled quantisers of one model get their randomness and temperature.

    ``counter`` must be advanced before every forward pass that shall sample anew; seed and
    counter fix the samples, so that a resumed run repeats an unbroken one.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.counter = tf.Variable(0, dtype=tf.int32, trainable=False, name="draw_counter")
        self.progress = tf.Variable(0.0, dtype=tf.float32, trainable=False, name="draw_progress")
        self._shared: dict[str, Any] | None = None

    def advance(self) -> None:
        """Make the next forward pass sample new trits."""
        self.counter.assign_add(1)

    @contextmanager
    def sharing(self, layers: Iterable[Any]) -> Iterator[None]:
        """Within this block the kernels of ``layers`` are quantised once, at its start."""
        self._shared = {layer.name: _quantised(layer) for layer in layers}
        try:
            yield
        finally:
            self._shared = None

    def quantised(self, layer: Any) -> Any:
        """The quantised kernel of a QKeras layer, shared within ``sharing``."""
        if self._shared is not None and layer.name in self._shared:
            return self._shared[layer.name]
        return _quantised(layer)

    def uniform(self, stream: int, shape: tf.Tensor) -> tf.Tensor:
        """Uniform numbers in [0, 1) that depend on seed, stream and counter only."""
        seed = tf.stack([tf.constant(self.seed * 1009 + stream, tf.int32), self.counter])
        return tf.random.stateless_uniform(shape, seed)


def _quantised(layer: Any) -> Any:
    quantizer = quantizer_of(layer)
    return tf.convert_to_tensor(latent(layer)) if quantizer is None else quantizer(latent(layer))


class SampledTernary(stochastic_ternary):
    """QKeras's ``stochastic_ternary(alpha='auto')``, always sampling, from a stated source.

    With threshold T = scale / 2 and s the standard deviation of the channel's kernel, a trit is
    (sign(u1) + sign(u2)) / 2 with P(u1 = +1) = sigmoid(temperature (x - T) / s) and
    P(u2 = +1) = sigmoid(temperature (x + T) / s); the gradient passes straight through.
    """

    def __init__(
        self, draw: Draw, stream: int, temperature: float, final_temperature: float | None
    ) -> None:
        super().__init__(alpha=SCALE, temperature=temperature)
        self.draw = draw
        self.stream = stream
        self.final_temperature = temperature if final_temperature is None else final_temperature

    def __call__(self, x: Any) -> Any:
        axes = list(range(len(x.shape) - 1))
        deterministic = ternary(alpha=SCALE)
        deterministic(x)
        scale = deterministic.scale
        deviation = tf.math.reduce_std(x, axis=axes, keepdims=True) + EPSILON
        slope = self.temperature + self.draw.progress * (self.final_temperature - self.temperature)
        normal, threshold = x / deviation, scale / (2.0 * deviation)
        random = self.draw.uniform(self.stream, tf.concat([[2], tf.shape(x)], axis=0))
        low = tf.where(tf.sigmoid(slope * (normal - threshold)) >= random[0], 1.0, -1.0)
        high = tf.where(tf.sigmoid(slope * (normal + threshold)) >= random[1], 1.0, -1.0)
        self.scale = scale
        return x + tf.stop_gradient(scale * (low + high) / 2.0 - x)

    def get_config(self) -> dict[str, Any]:
        """As the QKeras quantiser that a saved model should name."""
        return {"alpha": SCALE, "temperature": self.temperature}
