"""Forward passes outside training: logits, accuracy, batch-norm statistics.

Comes in: a deterministic Keras model and uint8 images. Goes out: numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tinyrobust.tasks import Images, Labels
from tinyrobust.train.layers import keras, model_input

_BATCH = 256


class Predictor:
    """A model traced once for inference; sees later changes of the model's variables."""

    def __init__(self, model: Any) -> None:
        self.model = model
        shape = (None, *model.input_shape[1:])
        self._call = tf.function(
            lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )

    def logits(self, images: Images) -> npt.NDArray[np.float32]:
        """Logits [N,K] of uint8 images [N,H,W,C]."""
        parts = [
            self._call(model_input(self.model, images[i : i + _BATCH])).numpy()
            for i in range(0, len(images), _BATCH)
        ]
        return np.concatenate(parts)

    def accuracy(self, images: Images, labels: Labels) -> float:
        """Fraction of the images whose largest logit is their label's."""
        return float(np.mean(self.logits(images).argmax(axis=1) == labels))


def estimate_batch_norm(model: Any, images: Images) -> None:
    """Set the moving statistics of every batch norm to the model's own over ``images``.

    Statistics gathered while weights were sampled do not fit the deterministic weights. Each is
    the mean, over batches, of the batch's mean and variance.
    """
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    kept = [layer.momentum for layer in norms]
    size = min(512, len(images))
    for index in range(len(images) // size):
        for layer in norms:
            layer.momentum = index / (index + 1)
        model(model_input(model, images[index * size : (index + 1) * size]), training=True)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
