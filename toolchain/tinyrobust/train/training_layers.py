"""Layers as they are while training: the same integers as the QKeras ones, in less time.

Comes in: what the QKeras layers get. Goes out: Keras layers with the same names and variables, so
that weights move between the model in training and the deterministic QKeras model. Every kernel is
quantised once per step, however often the step runs the network.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from qkeras import QConv2D, QDense

from tinyrobust.recipes import Activation
from tinyrobust.train.quantizers import Draw


class TrainedConv2D(QConv2D):
    """QConv2D that shares its quantised kernel and keeps clear of a fault in TensorFlow 2.15.1.

    The filter gradient of a 1x1 convolution with stride 2 writes outside its memory for some
    shapes (3x16x16x8 images, 8 filters: oneDNN corrupts the heap). The same convolution with
    stride 1 on every second pixel gives the same numbers, bit for bit.
    """

    def __init__(self, *args: Any, draw: Draw, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = draw

    def call(self, inputs: Any) -> Any:
        kernel = self.draw.quantised(self)
        rows, columns = self.strides
        if self.kernel_size == (1, 1) and (rows, columns) != (1, 1):
            return tf.nn.conv2d(inputs[:, ::rows, ::columns], kernel, 1, "SAME")
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())


class TrainedDense(QDense):
    """QDense that shares its quantised kernel."""

    def __init__(self, *args: Any, draw: Draw, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draw = draw

    def call(self, inputs: Any) -> Any:
        return tf.matmul(inputs, self.draw.quantised(self))


class TrainedActivation(tf.keras.layers.Layer):
    """``QActivation(quantized_relu(bits, integer))``, but halves go up, as on the device."""

    def __init__(self, activation: Activation, name: str) -> None:
        super().__init__(name=name)
        self.bits = activation.bits
        self.top = ((1 << activation.bits) - 1) / 2.0**activation.frac

    def call(self, inputs: Any) -> Any:
        return quantised_relu(inputs, self.bits, self.top)


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
