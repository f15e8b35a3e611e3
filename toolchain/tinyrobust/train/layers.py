"""From a recipe to a QKeras model.

Comes in: ``Recipe``. Goes out: a Keras model from float images (``input_values``) to logits, made
of plain QConv2D, QDense, BatchNormalization, QActivation, Add and GlobalAveragePooling2D, which
hls4ml reads. Names: ``conv1``, ``res2_conv1``, ``res2_conv2``, ``res2_shortcut``, ``dense``;
each kernel layer's batch norm is ``<name>_bn``, activations are ``<name>_act``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from qkeras import QActivation, QConv2D, QDense, quantized_relu, ternary

from tinyrobust import tasks
from tinyrobust.recipes import Activation, Conv, Recipe, Residual, Weights
from tinyrobust.train.quantizers import SCALE, Draw, SampledTernary
from tinyrobust.train.training_layers import (
    TrainedActivation,
    TrainedBatchNormalization,
    TrainedConv2D,
    TrainedDense,
)

INPUT_BITS = 7
_PREFIX = {"conv": "conv", "residual": "res"}
_LOGITS = "dense_bn"
keras = tf.keras


def input_values(images_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The network's float input for uint8 images: (x >> 1) / 128, in 0 .. 127/128."""
    return (images_u8 >> 1).astype(np.float32) / np.float32(1 << INPUT_BITS)


def build_model(recipe: Recipe, draw: Draw | None = None, *, sample: bool = True) -> Any:
    """The recipe's network as an untrained Keras model from [N,H,W,C] floats to [N,K] logits.

    Without ``draw`` every weight quantiser is the deterministic ``ternary('auto')``; with it the
    layers whose recipe says ``stochastic_ternary`` sample their trits from ``draw`` (not if
    ``sample`` is False), and layers are those of ``training_layers``: faster, with the same
    integers except that halves go up when rounding.
    """
    task = tasks.get(recipe.task)
    build = _Builder(recipe, draw, sample)
    inputs = keras.Input(task.input_shape, name="image")  # hls4ml reserves "input"
    x = inputs
    for index, block in enumerate(recipe.network.blocks, start=1):
        if isinstance(block, Conv):
            x = build.conv_block(f"conv{index}", block, x)
        else:
            x = build.residual_block(f"res{index}", block, x)
    logits = build.head(x, len(task.labels))
    return keras.Model(inputs, logits, name=recipe.name.replace("-", "_").replace(".", "_"))


def kernel_layers(model: Any) -> list[Any]:
    """The model's ternary layers (QConv2D and QDense), from input to logits."""
    return [layer for layer in model.layers if isinstance(layer, QConv2D | QDense)]


def jacobian_strengths(recipe: Recipe) -> dict[str, float]:
    """Keras layers whose Jacobian the loss holds, with their strengths; logits come last."""
    names = {
        f"{_PREFIX[block.kind]}{index}_act": block.jacobian
        for index, block in enumerate(recipe.network.blocks, start=1)
    }
    names[_LOGITS] = recipe.jacobian.strength
    return {name: strength for name, strength in names.items() if strength > 0}


class _Builder:
    def __init__(self, recipe: Recipe, draw: Draw | None, sample: bool) -> None:
        self.recipe = recipe
        self.draw = draw
        self.sample = sample
        self.kernels = 0

    def conv_block(self, name: str, block: Conv, x: Any) -> Any:
        x = self._conv_bn(name, block, x, block.stride)
        return self._activate(name, block.activation, x)

    def residual_block(self, name: str, block: Residual, x: Any) -> Any:
        y = self._conv_bn(f"{name}_conv1", block, x, block.stride)
        y = self._activate(f"{name}_conv1", block.activation, y)
        y = self._conv_bn(f"{name}_conv2", block, y, 1)
        changes = block.stride != 1 or int(x.shape[-1]) != block.filters
        if changes or block.shortcut == "conv":
            x = self._conv_bn(f"{name}_shortcut", block, x, block.stride, kernel_size=1)
        y = keras.layers.Add(name=f"{name}_add")([y, x])
        return self._activate(name, block.activation, y)

    def head(self, x: Any, classes: int) -> Any:
        head = self.recipe.network.head
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        x = self._activate("pool", head.activation, x)
        x = self._layer(QDense, TrainedDense)(
            classes, use_bias=False, kernel_quantizer=self._quantizer(head.weights), name="dense"
        )(x)
        return self._batch_norm("dense", x)

    def _conv_bn(
        self, name: str, block: Conv | Residual, x: Any, stride: int, kernel_size: int | None = None
    ) -> Any:
        x = self._layer(QConv2D, TrainedConv2D)(
            block.filters,
            kernel_size or block.kernel_size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_quantizer=self._quantizer(block.weights),
            name=name,
        )(x)
        return self._batch_norm(name, x)

    def _layer(self, plain: Any, trained: Any) -> Any:
        return plain if self.draw is None else partial(trained, draw=self.draw)

    def _quantizer(self, weights: Weights | None) -> Any:
        weights = weights or self.recipe.network.weights
        self.kernels += 1
        if self.draw is None or not self.sample or weights.quantizer == "ternary":
            return ternary(alpha=SCALE)
        return SampledTernary(
            self.draw, self.kernels, weights.temperature, weights.final_temperature
        )

    def _batch_norm(self, name: str, x: Any) -> Any:
        momentum = self.recipe.training.batch_norm_momentum
        kind = keras.layers.BatchNormalization if self.draw is None else TrainedBatchNormalization
        return kind(momentum=momentum, name=f"{name}_bn")(x)

    def _activate(self, name: str, activation: Activation | None, x: Any) -> Any:
        activation = activation or self.recipe.network.activation
        if self.draw is not None:
            return TrainedActivation(activation, f"{name}_act")(x)
        quantizer = quantized_relu(activation.bits, activation.integer)
        return QActivation(quantizer, name=f"{name}_act")(x)
