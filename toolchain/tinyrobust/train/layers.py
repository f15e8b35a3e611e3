"""From a recipe to a QKeras model.

Comes in: ``Recipe``. Goes out: a Keras model from float images (``input_values``) to logits, made
of plain QConv2D, QDepthwiseConv2D, QDense, BatchNormalization, QActivation, Add and
GlobalAveragePooling2D, which hls4ml reads. Names: ``conv1``, ``dw2``, ``res3_conv1``,
``res3_conv2``, ``res3_shortcut``, ``dense``; each kernel layer's batch norm is ``<name>_bn``,
activations are ``<name>_act``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from qkeras import QActivation, QConv2D, QDense, QDepthwiseConv2D, quantized_relu

from tinyrobust import tasks
from tinyrobust.recipes import Activation, Conv, Depthwise, Head, Recipe, Residual, Weights
from tinyrobust.train.quantizers import Draw, SampledTernary, deterministic
from tinyrobust.train.training_layers import (
    BN_SUFFIX,
    TrainedActivation,
    TrainedBatchNormalization,
    TrainedConv2D,
    TrainedDense,
    TrainedDepthwiseConv2D,
    TrainedDropout,
)

INPUT_BITS = 7
_PREFIX = {"conv": "conv", "depthwise": "dw", "residual": "res"}
_DROPOUT_STREAM = 1000  # random streams of dropout come after those of the quantisers
keras = tf.keras


def input_values(
    images_u8: npt.NDArray[np.uint8], bits: int = INPUT_BITS
) -> npt.NDArray[np.float32]:
    """The network's float input for uint8 images: (x >> (8 - bits)) / 2^bits, below 1."""
    return (images_u8 >> (8 - bits)).astype(np.float32) / np.float32(1 << bits)


def build_model(recipe: Recipe, draw: Draw | None = None, *, sample: bool = True) -> Any:
    """The recipe's network as an untrained Keras model from [N,H,W,C] floats to [N,K] logits.

    Without ``draw`` every weight quantiser is deterministic; with it the layers whose recipe says
    ``stochastic_ternary`` sample their trits from ``draw`` (not if ``sample`` is False), and layers
    are those of ``training_layers``: faster, with the same integers except that halves go up when
    rounding.
    """
    task = tasks.get(recipe.task)
    build = _Builder(recipe, draw, sample)
    inputs = keras.Input(task.input_shape, name="image")  # hls4ml reserves "input"
    x = inputs
    for index, block in enumerate(recipe.network.blocks, start=1):
        name = f"{_PREFIX[block.kind]}{index}"
        if isinstance(block, Residual):
            x = build.residual_block(name, block, x)
        else:
            x = build.plain_block(name, block, x)
        x = build.dropout(name, block.dropout, x)
    logits = build.head(x, len(task.labels))
    model = keras.Model(inputs, logits, name=recipe.name.replace("-", "_").replace(".", "_"))
    model.input_bits = recipe.network.input_bits
    return model


def model_input(model: Any, images_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What ``model`` takes for uint8 images."""
    return input_values(images_u8, getattr(model, "input_bits", INPUT_BITS))


def kernel_layers(model: Any) -> list[Any]:
    """The model's layers with quantised kernels, from input to logits."""
    kinds = QConv2D | QDepthwiseConv2D | QDense
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def block_outputs(recipe: Recipe) -> dict[str, str]:
    """Every block's name, and the Keras layer whose output is the block's; the head comes last."""
    names = {
        f"{_PREFIX[block.kind]}{index}": f"{_PREFIX[block.kind]}{index}_act"
        for index, block in enumerate(recipe.network.blocks, start=1)
    }
    return names | {"dense": "dense" + BN_SUFFIX * recipe.network.head.normalise}


def jacobian_strengths(recipe: Recipe) -> dict[str, float]:
    """Keras layers whose Jacobian the loss holds, with their strengths; logits come last."""
    strengths = [*(block.jacobian for block in recipe.network.blocks), recipe.jacobian.strength]
    outputs = zip(block_outputs(recipe).values(), strengths, strict=True)
    return {name: strength for name, strength in outputs if strength > 0}


class _Builder:
    def __init__(self, recipe: Recipe, draw: Draw | None, sample: bool) -> None:
        self.recipe = recipe
        self.draw = draw
        self.sample = sample
        self.kernels = 0
        self.dropouts = 0

    def plain_block(self, name: str, block: Conv | Depthwise, x: Any) -> Any:
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
        head: Head = self.recipe.network.head
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        x = self._activate("pool", head.activation, x)
        x = self.dropout("pool", head.dropout, x)
        x = self._layer(QDense, TrainedDense)(
            classes,
            use_bias=not head.normalise,
            kernel_quantizer=self._quantizer(head.weights),
            name="dense",
        )(x)
        return self._batch_norm("dense", x) if head.normalise else x

    def dropout(self, name: str, rate: float, x: Any) -> Any:
        self.dropouts += 1
        if not rate or self.draw is None or not self.sample:
            return x
        stream = _DROPOUT_STREAM + self.dropouts
        return TrainedDropout(rate, self.draw, stream, f"{name}_dropout")(x)

    def _conv_bn(
        self,
        name: str,
        block: Conv | Depthwise | Residual,
        x: Any,
        stride: int,
        kernel_size: int | None = None,
    ) -> Any:
        common = {"strides": stride, "padding": "same", "use_bias": False, "name": name}
        size, quantizer = kernel_size or block.kernel_size, self._quantizer(block.weights)
        if isinstance(block, Depthwise):
            layer = self._layer(QDepthwiseConv2D, TrainedDepthwiseConv2D)(
                size, depthwise_quantizer=quantizer, **common
            )
        else:
            layer = self._layer(QConv2D, TrainedConv2D)(
                block.filters, size, kernel_quantizer=quantizer, **common
            )
        return self._batch_norm(name, layer(x))

    def _layer(self, plain: Any, trained: Any) -> Any:
        return plain if self.draw is None else partial(trained, draw=self.draw)

    def _quantizer(self, weights: Weights | None) -> Any:
        weights = weights or self.recipe.network.weights
        self.kernels += 1
        if self.draw is None or not self.sample or weights.quantizer != "stochastic_ternary":
            return deterministic(weights)
        return SampledTernary(
            self.draw, self.kernels, weights.temperature, weights.final_temperature
        )

    def _batch_norm(self, name: str, x: Any) -> Any:
        momentum = self.recipe.training.batch_norm_momentum
        kind = keras.layers.BatchNormalization if self.draw is None else TrainedBatchNormalization
        return kind(momentum=momentum, name=f"{name}{BN_SUFFIX}")(x)

    def _activate(self, name: str, activation: Activation | None, x: Any) -> Any:
        activation = activation or self.recipe.network.activation
        name = f"{name}_act"
        if self.draw is not None:
            return TrainedActivation(activation, name)(x)
        if activation.bits is None:
            return keras.layers.ReLU(name=name)(x)
        return QActivation(quantized_relu(activation.bits, activation.integer), name=name)(x)
