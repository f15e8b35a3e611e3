"""Networks that a training learns or starts from: trained before, in the zoo or in a folder.

Comes in: a name or a folder, the model in training. Goes out: a teacher's scores of input
integers, and weights to start from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tinyrobust import resources
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Recipe
from tinyrobust.train import attack, trained

Teacher = Callable[[Any], Any]  # the batch's input integers [N,H,W,C] to logits [N,K], no gradient


def load(recipe: Recipe, model: Any) -> Teacher | None:
    """The teacher of ``recipe.distillation``, None without one.

    Raises RecipeError when its classes or input are others than those of ``model``,
    TinyRobustError when its folder is broken.
    """
    named = recipe.distillation.teacher
    if named is None:
        return None
    teacher = trained.rebuild(folder(named))
    teacher.trainable = False
    if (teacher.input_shape, teacher.output_shape) != (model.input_shape, model.output_shape):
        raise RecipeError(
            f"the teacher in {named} maps {teacher.input_shape[1:]} to "
            f"{teacher.output_shape[1]} classes, {recipe.name} {model.input_shape[1:]} to "
            f"{model.output_shape[1]}",
            "choose a teacher of the same task",
        )

    def taught(integers: Any) -> Any:
        x = attack.network_input(integers, teacher.input_bits)
        return tf.stop_gradient(teacher(x, training=False))

    return taught


def start(recipe: Recipe, model: Any) -> list[Any] | None:
    """The weights that ``training.start`` names, as ``model.set_weights`` takes them, else None.

    Raises RecipeError when they are not of a network of this shape.
    """
    named = recipe.training.start
    if named is None:
        return None
    weights = trained.rebuild(folder(named)).get_weights()
    if [w.shape for w in weights] != [tuple(w.shape) for w in model.weights]:
        raise RecipeError(
            f"{named} cannot start {recipe.name}: its layers have other shapes",
            "name a training of the same network, or leave training.start out",
        )
    return weights


def folder(named: str) -> Path:
    """Where a model of the zoo keeps its training; what is no such name is a folder itself."""
    of_the_zoo = resources.root() / "models" / "zoo" / named / "train"
    return of_the_zoo if "/" not in named and of_the_zoo.is_dir() else Path(named)
