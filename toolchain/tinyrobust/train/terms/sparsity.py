"""A regulariser towards weights that class-sharing kernels compute cheaply.

Comes in: a recipe whose ``sparsity`` asks for it, the latent kernels of a model in training. Goes
out: a term of the loss.

Such a kernel takes K neighbouring output channels together. For every input the K trits form a
pattern; inputs of one class (a pattern up to its sign) are added up once, then each class's sum is
spread to the channels. So a layer costs one addition per input whose pattern is not all zero, and
something per class that occurs (``graph/reorder.shared_cost`` counts it for given trits). Under the
sampling quantiser (``quantizers.SampledTernary``) trits are independent with known probabilities,
so the expectation of both counts is exact and differentiable:

* ``zeros``: sum over inputs of ``1 - prod_k P(trit k = 0)``, over all inputs;
* ``patterns``: sum over classes of ``1 - prod_inputs (1 - P(pattern in class))``, over all classes.

Both are between 0 and 1, averaged over the blocks of all layers by their share of the additions
that dense weights would take.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from qkeras import QConv2D
from qkeras.quantizers import ternary

from tinyrobust.recipes import Recipe
from tinyrobust.train.layers import kernel_layers
from tinyrobust.train.quantizers import EPSILON, SCALE, SampledTernary
from tinyrobust.train.terms import Step, Term

_TINY = 1e-6


def probabilities(kernel: Any, slope: Any) -> Any:
    """``(3, ..., OC)``: the chance that each trit of a latent kernel is -1, 0, +1.

    As SampledTernary draws them; scale and deviation of a channel are constants here, so that the
    gradient moves single weights across their threshold instead of rescaling the channel.
    """
    axes = list(range(len(kernel.shape) - 1))
    quantizer = ternary(alpha=SCALE)
    quantizer(kernel)
    deviation = tf.stop_gradient(tf.math.reduce_std(kernel, axis=axes, keepdims=True)) + EPSILON
    threshold = tf.stop_gradient(quantizer.scale) / (2.0 * deviation)
    normal = kernel / deviation
    low, high = tf.sigmoid(slope * (normal - threshold)), tf.sigmoid(slope * (normal + threshold))
    plus, minus = low * high, (1.0 - low) * (1.0 - high)
    return tf.stack([minus, 1.0 - plus - minus, plus])


def expected_inputs(chances: Any) -> Any:
    """Per block the expected share of inputs whose pattern is not all zero.

    ``chances``: (3, inputs, blocks, K), as ``probabilities`` gives them.
    """
    return tf.reduce_mean(1.0 - tf.reduce_prod(chances[1], axis=-1), axis=0)


def expected_classes(chances: Any) -> Any:
    """Per block the expected share of the classes that occur; ``chances`` as above."""
    absent = tf.math.log(1.0 - tf.minimum(class_chances(chances), 1.0 - _TINY))
    return 1.0 - tf.reduce_mean(tf.exp(tf.reduce_sum(absent, axis=1)), axis=0)


def class_chances(chances: Any) -> Any:
    """((3**K - 1) / 2, inputs, blocks): the chance that an input's pattern is in each class.

    Patterns count in base 3 with digits -1, 0, +1, so that r and 3**K - 1 - r are negatives.
    """
    patterns = chances[..., 0]
    for k in range(1, int(chances.shape[-1])):
        longer = patterns[:, None] * chances[None, ..., k]
        patterns = tf.reshape(longer, (-1, *chances.shape[1:3]))
    half = int(patterns.shape[0]) // 2
    return patterns[:half] + tf.reverse(patterns, [0])[:half]


def build(recipe: Recipe, model: Any) -> Term | None:
    """The term of ``recipe.sparsity``, None when both strengths are 0."""
    wish = recipe.sparsity
    if not (wish.zeros or wish.patterns):
        return None
    # Depthwise layers share nothing, and the dense layer's part of the work is nothing.
    layers = [layer for layer in kernel_layers(model) if isinstance(layer, QConv2D)]
    work = np.array([
        float(np.prod(layer.output.shape[1:3])) * float(np.prod(layer.kernel.shape))
        for layer in layers
    ])  # fmt: skip
    shares = work / work.sum()

    def term(step: Step) -> Any:
        total = tf.constant(0.0)
        for layer, share in zip(layers, shares, strict=True):
            slope = _slope(layer, recipe.network.weights.temperature)
            chances = _blocks(probabilities(layer.kernel, slope), wish.channels)
            if wish.zeros:
                total += wish.zeros * share * tf.reduce_mean(expected_inputs(chances))
            if wish.patterns:
                total += wish.patterns * share * tf.reduce_mean(expected_classes(chances))
        if not wish.warmup_epochs:
            return total
        epochs = layers[0].draw.progress * recipe.training.epochs
        return total * tf.minimum(1.0, epochs / wish.warmup_epochs)

    return term


def _slope(layer: Any, otherwise: float) -> Any:
    """How sharply the layer's own quantiser samples now."""
    quantizer = layer.kernel_quantizer_internal
    if isinstance(quantizer, SampledTernary):
        change = quantizer.final_temperature - quantizer.temperature
        return quantizer.temperature + quantizer.draw.progress * change
    return otherwise


def _blocks(chances: Any, share: int) -> Any:
    """(3, kh, kw, ic, OC) -> (3, inputs, blocks, K); channels that fill no block are 0."""
    flat = tf.reshape(chances, (3, -1, chances.shape[-1]))
    missing = -int(chances.shape[-1]) % share
    if missing:
        zero = tf.constant([0.0, 1.0, 0.0])[:, None, None]
        filler = tf.ones_like(flat[:, :, :missing]) * zero
        flat = tf.concat([flat, filler], axis=2)
    return tf.reshape(flat, (3, flat.shape[1], -1, share))
