"""How robust a model in training is: a short PGD on validation images.

Comes in: a deterministic Keras model with layers for training, uint8 images and labels. Goes out:
an accuracy. It is a quick look; `tinyrobust evaluate` attacks the converted integers, and harder.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tinyrobust.tasks import Images, Labels
from tinyrobust.train import attack
from tinyrobust.train.layers import kernel_layers
from tinyrobust.train.quantizers import Draw

STEPS = 10
_BATCH = 256


class PgdCheck:
    """PGD of ``STEPS`` steps of eps / 4 on a model traced once."""

    def __init__(self, model: Any, draw: Draw, eps_255: float) -> None:
        self.model = model
        self.draw = draw
        self.eps_255 = eps_255
        self._right = tf.function(self._attack_and_count, reduce_retracing=True)

    def accuracy(self, images: Images, labels: Labels) -> float:
        """Fraction of the images that are still classified as their label when attacked."""
        right = 0
        for i in range(0, len(images), _BATCH):
            seed = tf.constant([17, i], tf.int32)
            right += int(self._right(images[i : i + _BATCH], labels[i : i + _BATCH], seed))
        return right / len(images)

    def _attack_and_count(self, images: Any, labels: Any, seed: Any) -> Any:
        integers = tf.cast(images, tf.float32)
        bits = self.model.input_bits
        eps, step = tf.constant(self.eps_255), tf.constant(self.eps_255 / 4)
        with self.draw.sharing(kernel_layers(self.model)):
            found = attack.ascend(
                lambda x: attack.cross_entropy(self.model(x, training=False), labels),
                integers, attack.random_start(integers, eps, seed), eps, step, STEPS,
                bits=bits,
            )  # fmt: skip
            logits = self.model(attack.network_input(found, bits), training=False)
        return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int32))


def guard_trips(best: float, found: float, drop: float) -> bool:
    """Whether robust accuracy ``found`` lost more than the fraction ``drop`` of the ``best``."""
    return found < (1 - drop) * best
