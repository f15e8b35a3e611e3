"""A quick look at robustness on the Keras model, while training goes on.

Comes in: a deterministic Keras model, uint8 images, labels. Goes out: accuracy under attack.
What counts is measured later on the integer Graph and the device; this only guides training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tinyrobust.tasks import Images, Labels
from tinyrobust.train.inference import Predictor
from tinyrobust.train.layers import input_values


def pgd(
    model: Any, images: Images, labels: Labels, eps_255: int, steps: int = 20, seed: int = 0
) -> Images:
    """Images uint8 within ``eps_255`` (infinity norm) that raise the cross-entropy.

    Projected gradient descent (Madry et al. 2018, arXiv:1706.06083) from a random start, with
    steps of eps / 4, straight-through gradients, and the result rounded to integers.
    """

    @tf.function(reduce_retracing=True)
    def gradient(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=False))
        return tape.gradient(loss, x)

    random = np.random.default_rng(seed)
    results = []
    for start in range(0, len(images), 250):
        clean = images[start : start + 250].astype(np.float32)
        truth = labels[start : start + 250]
        low, high = np.maximum(clean - eps_255, 0), np.minimum(clean + eps_255, 255)
        x = clean + random.uniform(-eps_255, eps_255, clean.shape).astype(np.float32)
        for _ in range(steps):
            x = np.clip(x, low, high)
            values = input_values(np.rint(x).astype(np.uint8))
            x = x + eps_255 / 4 * np.sign(gradient(values, truth).numpy())
        results.append(np.rint(np.clip(x, low, high)).astype(np.uint8))
    return np.concatenate(results)


def pgd_accuracy(
    model: Any, images: Images, labels: Labels, eps_255: int, steps: int = 20, seed: int = 0
) -> float:
    """Accuracy on the images that ``pgd`` makes."""
    return Predictor(model).accuracy(pgd(model, images, labels, eps_255, steps, seed), labels)
