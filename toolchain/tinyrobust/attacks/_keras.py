"""The QKeras model that a Graph was converted from, as a Victim.

In: a Model with its trained folder beside it. Out: a Victim whose scores and gradients are those
of the floats that were trained. They agree with the device's integers on nearly every class, but
not on every number: what is crafted here is judged by the device afterwards.
"""

from __future__ import annotations

import numpy as np

from tinyrobust.attacks._victim import Float64, Metered, UInt8
from tinyrobust.errors import TinyRobustError
from tinyrobust.graph.model import Model
from tinyrobust.graph.nodes import Input
from tinyrobust.twin.losses import Loss, Pulled

FOLDER = "train"


class KerasVictim(Metered):
    """Scores and gradients of the QKeras model of ``model``.

    Raises TinyRobustError when TensorFlow or the trained model is not there.
    """

    oracle_name = "qkeras"

    def __init__(self, model: Model) -> None:
        from tinyrobust import train

        folder = model.folder / FOLDER
        first = model.graph.nodes[0]
        if not folder.is_dir() or not isinstance(first, Input):
            raise TinyRobustError(
                f"'{model.name}' has no trained QKeras model beside it ({folder})",
                "take a model that `tinyrobust convert` made, or another --oracle",
            )
        train.require()
        from tinyrobust.train.gradients import Differentiable

        self.input_shape = model.graph.input.shape
        self.classes = model.graph.output.size
        self._model = Differentiable(train.rebuild(folder), 8 - first.shift)
        super().__init__()

    def _scores(self, images: UInt8) -> Float64:
        return self._model.logits(images)

    def _pull(self, images: UInt8, loss: Loss) -> Pulled:
        logits = self._model.logits(images)
        value, flow = loss(logits, slice(0, len(images)))
        return Pulled(logits, value, self._model.gradient(images, flow))

    def _jacobian(self, images: UInt8) -> tuple[Float64, Float64]:
        logits = self._model.logits(images)
        each = []
        for k in range(self.classes):
            flow = np.zeros(logits.shape)
            flow[:, k] = 1.0
            each.append(self._model.gradient(images, flow))
        return logits, np.stack(each, axis=1)
