"""A trained QKeras model as attacks see one: logits and gradients of integer images.

Comes in: a Keras model (floats [N,H,W,C] to logits [N,K]) and uint8 images. Goes out: logits, and
gradients by the pixels, straight-through as in training: the dropped low bit passes, the quantisers
pass what QKeras lets them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyrobust.train.attack import network_input

Float64 = npt.NDArray[np.float64]
BATCH = 128


class Differentiable:
    """Logits and gradients of ``model``, whose input has ``bits`` bits."""

    def __init__(self, model: Any, bits: int = 7) -> None:
        self._model = model
        self._bits = bits
        self._forward = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
        self._backward = tf.function(self._pull, reduce_retracing=True)

    def logits(self, images: npt.NDArray[Any]) -> Float64:
        """Logits (N, K) of uint8 images (N, H, W, C)."""
        parts = [self._forward(self._input(part)).numpy() for part in _parts(images)]
        return np.concatenate(parts).astype(np.float64)

    def gradient(self, images: npt.NDArray[Any], d_logits: Float64) -> Float64:
        """``d_logits`` (N, K) pulled back to the pixels, (N, H, W, C)."""
        parts = [
            self._backward(self._input(part), tf.constant(flow, tf.float32)).numpy()
            for part, flow in zip(_parts(images), _parts(d_logits), strict=True)
        ]
        return np.concatenate(parts).astype(np.float64) / 256.0

    def _input(self, images: npt.NDArray[Any]) -> Any:
        return network_input(tf.constant(images, tf.float32), self._bits)

    def _pull(self, x: Any, flow: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = tf.reduce_sum(self._model(x, training=False) * flow)
        return tape.gradient(value, x)


def _parts(values: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [values[i : i + BATCH] for i in range(0, len(values), BATCH)] or [values]
