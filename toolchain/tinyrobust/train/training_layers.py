"""Layers as they are while training: the same integers as the QKeras ones, in less time.

Comes in: what the QKeras layers get. Goes out: Keras layers with the same names and variables, so
that weights move between the model in training and the deterministic QKeras model. Every kernel is
quantised once per step, however often the step runs the network.

Within ``deployed_gradients`` the gradient with respect to a layer's input is that of the network
as it is deployed: batch normalisation is an affine map there, and no image influences another. A
kernel layer and the batch normalisation behind it (named ``<kernel layer>_bn``) then are one
linear map with kernel ``kernel * gamma / deviation``, which costs nothing per pixel. Where that
gradient is differentiated again, the deviation is a function of the inputs as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from qkeras import QConv2D, QDense, QDepthwiseConv2D

from tinyrobust.recipes import Activation
from tinyrobust.train.quantizers import Draw

BN_SUFFIX = "_bn"
_slopes: dict[str, Any] | None = None  # per kernel layer: gamma / deviation of its batch norm


@contextmanager
def deployed_gradients() -> Iterator[None]:
    """Gradients taken within this block are those of the deployed network; see the module."""
    global _slopes
    _slopes = {}
    try:
        yield
    finally:
        _slopes = None


def linear(
    name: str, x: Any, kernel: Any, forward: Callable[..., Any], adjoint: Callable[..., Any],
    *, channels: int = -1,
) -> Any:  # fmt: skip
    """``forward(x, kernel)``, bilinear, of the layer ``name``.

    ``adjoint(x, kernel, upstream)`` gives its gradient with respect to ``x``. The gradient with
    respect to ``kernel`` is TensorFlow's. ``channels``: the kernel's axis of output channels.
    """

    @tf.custom_gradient
    def apply(x: Any, kernel: Any) -> tuple[Any, Any]:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            if _slopes is not None:
                slope = _slopes.get(name)
                if slope is not None:
                    slope = slope if channels == -1 else slope[:, None]
                return adjoint(x, kernel if slope is None else kernel * slope, upstream), None
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(kernel)
                y = forward(x, kernel)
            return adjoint(x, kernel, upstream), tape.gradient(y, kernel, upstream)

        return forward(x, kernel), gradient

    return apply(x, kernel)


class TrainedConv2D(QConv2D):
    """QConv2D that shares its quantised kernel and keeps clear of a fault in TensorFlow 2.15.1.

    The filter gradient of a 1x1 convolution with stride 2 writes outside its memory for some
    shapes (3x16x16x8 images, 8 filters: oneDNN corrupts the heap). The same convolution with
    stride 1 on every second pixel gives the same numbers, bit for bit; an average pool over one
    pixel takes them several times faster than a slice.
    """

    def __init__(self, *args: Any, draw: Draw, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = draw

    def call(self, inputs: Any) -> Any:
        kernel, strides = self.draw.quantised(self), self.strides
        if self.kernel_size == (1, 1) and strides != (1, 1):
            inputs = tf.nn.avg_pool2d(inputs, 1, strides, "VALID")
            strides = (1, 1)
        padding = self.padding.upper()
        return linear(
            self.name, inputs, kernel,
            lambda x, k: tf.nn.conv2d(x, k, strides, padding),
            lambda x, k, dy: tf.nn.conv2d_transpose(dy, k, tf.shape(x), strides, padding),
        )  # fmt: skip


class TrainedDepthwiseConv2D(QDepthwiseConv2D):
    """QDepthwiseConv2D that shares its quantised kernel."""

    def __init__(self, *args: Any, draw: Draw, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = draw

    def call(self, inputs: Any) -> Any:
        strides, padding = [1, *self.strides, 1], self.padding.upper()
        return linear(
            self.name, inputs, self.draw.quantised(self),
            lambda x, k: tf.nn.depthwise_conv2d(x, k, strides, padding),
            lambda x, k, dy: tf.nn.depthwise_conv2d_backprop_input(
                tf.shape(x), k, dy, strides, padding
            ),
            channels=2,
        )  # fmt: skip


class TrainedDense(QDense):
    """QDense that shares its quantised kernel."""

    def __init__(self, *args: Any, draw: Draw, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = draw

    def call(self, inputs: Any) -> Any:
        y = linear(
            self.name, inputs, self.draw.quantised(self), tf.matmul,
            lambda x, k, dy: tf.matmul(dy, k, transpose_b=True),
        )  # fmt: skip
        return y + self.bias if self.use_bias else y


class TrainedBatchNormalization(tf.keras.layers.BatchNormalization):
    """BatchNormalization by one fused operation that knows ``deployed_gradients``."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return super().call(inputs, training=False)
        shape = tf.shape(inputs)
        flat = inputs if inputs.shape.rank == 4 else inputs[:, None, None, :]
        y, mean, variance = self._normalised(flat, self.gamma.value(), self.beta.value())
        mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
        self.moving_mean.assign_sub((self.moving_mean - mean) * (1 - self.momentum))
        self.moving_variance.assign_sub((self.moving_variance - variance) * (1 - self.momentum))
        return tf.ensure_shape(tf.reshape(y, shape), inputs.shape)

    def _normalised(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
        """``x`` [N,H,W,C] normalised, the batch's mean and its variance (of the population)."""
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
        epsilon, kernel_layer = self.epsilon, self.name.removesuffix(BN_SUFFIX)

        @tf.custom_gradient
        def apply(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
            y, mean, variance, r1, r2, r3 = tf.raw_ops.FusedBatchNormV3(
                x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon,
                is_training=True,
            )  # fmt: skip
            variance *= (count - 1) / count  # TensorFlow's is that of a sample

            def gradient(upstream: Any, _mean: Any, _variance: Any) -> tuple[Any, Any, Any]:
                if _slopes is not None:
                    _slopes[kernel_layer] = gamma * inverse_deviation(
                        x, mean, variance + epsilon, count
                    )
                    return upstream, None, None
                dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                    y_backprop=upstream, x=x, scale=gamma, reserve_space_1=r1,
                    reserve_space_2=r2, reserve_space_3=r3, epsilon=epsilon, is_training=True,
                )  # fmt: skip
                return dx, dgamma, dbeta

            return (y, mean, variance), gradient

        return apply(x, gamma, beta)


def inverse_deviation(x: Any, mean: Any, variance: Any, count: Any) -> Any:
    """``1 / sqrt(variance)``, differentiable by ``x`` [N,H,W,C] whose statistics over ``count``
    pixels these are: d variance / d x = 2 (x - mean) / count."""

    @tf.custom_gradient
    def apply(x: Any) -> tuple[Any, Any]:
        value = tf.math.rsqrt(variance)

        def gradient(upstream: Any) -> Any:
            slope = -upstream * value**3 / count
            ones = tf.ones_like(mean)
            affine = tf.raw_ops.FusedBatchNormV3(  # x * slope - mean * slope in one pass
                x=x, scale=slope, offset=tf.zeros_like(mean), mean=mean, variance=ones,
                epsilon=0.0, is_training=False,
            )  # fmt: skip
            return affine.y

        return value, gradient

    return apply(x)


class TrainedDropout(tf.keras.layers.Layer):
    """Dropout that depends on seed and step only, so that a resumed run repeats an unbroken one.

    N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    2014: in training each value is zero with probability ``rate``, else divided by 1 - rate.
    """

    def __init__(self, rate: float, draw: Draw, stream: int, name: str) -> None:
        super().__init__(name=name)
        self.rate, self.draw, self.stream = rate, draw, stream

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return inputs
        kept = self.draw.uniform(self.stream, tf.shape(inputs)) >= self.rate
        return tf.where(kept, inputs / (1.0 - self.rate), 0.0)


class TrainedActivation(tf.keras.layers.Layer):
    """``QActivation(quantized_relu(bits, integer))``, but halves go up, as on the device.

    Without bits it is a rectifier in float.
    """

    def __init__(self, activation: Activation, name: str) -> None:
        super().__init__(name=name)
        self.bits = activation.bits or 0
        self.top = ((1 << self.bits) - 1) / 2.0**activation.frac

    def call(self, inputs: Any) -> Any:
        return quantised_relu(inputs, self.bits, self.top) if self.bits else tf.nn.relu(inputs)


def quantised_relu(x: Any, bits: int, top: float) -> Any:
    """``x`` clipped to 0..top and rounded to 2**bits values; its gradient is one within 0..top."""

    @tf.custom_gradient
    def quantised(x: Any) -> tuple[Any, Any]:
        y = tf.quantization.fake_quant_with_min_max_args(x, 0.0, top, bits)
        return y, lambda upstream: _within(upstream, x, bits, top)

    return quantised(x)


def _within(upstream: Any, x: Any, bits: int, top: float) -> Any:
    """``upstream`` where ``x`` is in 0..top, else zero; can be differentiated again."""

    @tf.custom_gradient
    def masked(upstream: Any) -> tuple[Any, Any]:
        kept = tf.quantization.fake_quant_with_min_max_args_gradient(upstream, x, 0.0, top, bits)
        return kept, lambda second: _within(second, x, bits, top)

    return masked(upstream)
