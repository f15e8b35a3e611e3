"""Hybrid bit widths from adversarial noise sensitivity.

Comes in: a recipe with ``quanos``, a folder. Goes out: the recipe with a bit width for every block,
and weights to start from.

P. Panda, "QUANOS: Adversarial Noise Sensitivity Driven Hybrid Quantization of Neural Networks",
2020, arXiv:2004.11233. A layer's sensitivity is how much an attack on the input moves its output,
``||a_attacked - a||_2 / ||a||_2``; the more sensitive a layer, the fewer bits it gets, so that
rounding swallows the attack. Here a layer is a block of the recipe, the attack one step of the
gradient's sign, and bits fall along a line from the least sensitive block's to the most
sensitive one's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tinyrobust.recipes import Quanos, Recipe, Weights
from tinyrobust.tasks import Images, Labels
from tinyrobust.train import attack, trained
from tinyrobust.train.folder import is_finished, is_resumable
from tinyrobust.train.layers import block_outputs, keras

FOLDER = "quanos"
_BATCH = 256


def prepare(
    recipe: Recipe, wish: Quanos, folder: Path, train: Callable[..., Path], sets: Any, listener: Any
) -> tuple[Recipe, list[Any]]:
    """Train with equal bits for a while, measure, assign.

    The short training has a folder of its own in ``folder``, from which it goes on when it was
    interrupted. Raises as ``train`` does.
    """
    part = folder / FOLDER
    if not is_finished(part):
        train(_equal(recipe, wish), part, resume=is_resumable(part), listener=listener)
    model = trained.rebuild(part)
    images, labels = sets.images[: wish.images], sets.labels[: wish.images]
    found = sensitivities(model, block_outputs(recipe), images, labels, wish.eps_255)
    bits = allocate(found, wish.least_bits, wish.most_bits)
    return assign(recipe, bits, found), model.get_weights()


def sensitivities(
    model: Any, outputs: Mapping[str, str], images: Images, labels: Labels, eps_255: float
) -> dict[str, float]:
    """Sensitivity of every block to one step of ``eps_255`` on uint8 images.

    ``outputs``: block to the Keras layer whose output is the block's.
    """
    watched = keras.Model(model.input, [model.get_layer(name).output for name in outputs.values()])
    bits, moved = getattr(model, "input_bits", 7), np.zeros((2, len(outputs)))
    for i in range(0, len(images), _BATCH):
        x = tf.cast(images[i : i + _BATCH], tf.float32)
        attacked = _attacked(model, x, labels[i : i + _BATCH], eps_255)
        clean, other = (
            tf.nest.flatten(watched(attack.network_input(v, bits), training=False))
            for v in (x, attacked)
        )
        for column, (before, after) in enumerate(zip(clean, other, strict=True)):
            moved[:, column] += squares(before.numpy(), after.numpy())
    return dict(zip(outputs, np.sqrt(moved[0] / np.maximum(moved[1], 1e-30)).tolist(), strict=True))


def _attacked(model: Any, x: Any, labels: Labels, eps_255: float) -> Any:
    eps = tf.constant(eps_255)
    return attack.ascend(
        lambda v: attack.cross_entropy(model(v, training=False), labels),
        x, x, eps, eps, 1, bits=getattr(model, "input_bits", 7),
    )  # fmt: skip


def squares(clean: Any, attacked: Any) -> tuple[float, float]:
    """Squared length of the change, and of the clean output."""
    change = attacked.astype(np.float64) - clean
    return float((change**2).sum()), float((clean.astype(np.float64) ** 2).sum())


def allocate(found: Mapping[str, float], least: int, most: int) -> dict[str, int]:
    """Bits per block: ``most`` for the least sensitive, ``least`` for the most sensitive."""
    low, high = min(found.values()), max(found.values())
    span = (high - low) or 1.0
    return {
        name: int(np.floor(most - (most - least) * (value - low) / span + 0.5))
        for name, value in found.items()
    }


def assign(
    recipe: Recipe, bits: Mapping[str, int], found: Mapping[str, float] | None = None
) -> Recipe:
    """The recipe whose blocks have these bits; its ``quanos`` says them and the sensitivities."""
    names = list(block_outputs(recipe))
    tree = recipe.model_dump(mode="json", by_alias=True)
    parts = [*tree["network"]["blocks"], tree["network"]["head"]]
    for name, part in zip(names, parts, strict=True):
        part["weights"] = _integers(bits[name])
    tree["quanos"] |= {"bits": dict(bits), "sensitivity": dict(found or {})}
    return Recipe.model_validate(tree)


def _equal(recipe: Recipe, wish: Quanos) -> Recipe:
    """The recipe of the short training: every weight of the most bits."""
    tree = recipe.model_dump(mode="json", by_alias=True)
    for part in (*tree["network"]["blocks"], tree["network"]["head"]):
        part["weights"] = None
    tree["network"]["weights"] = _integers(wish.most_bits)
    tree["training"]["epochs"] = wish.epochs
    tree["quanos"] = None
    return Recipe.model_validate(tree)


def _integers(bits: int) -> dict[str, Any]:
    return Weights(quantizer="int", bits=bits).model_dump(mode="json")
