"""Distillation from a teacher; see ``recipes.Distillation`` for formula and papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from tinyrobust import resources
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Recipe
from tinyrobust.train import attack, trained
from tinyrobust.train.terms import Step, Term


def build(recipe: Recipe, model: Any) -> Term | None:
    """The term of ``recipe.distillation``, None without a teacher.

    Raises RecipeError when the teacher's classes or input are others, TinyRobustError when its
    folder is broken.
    """
    wish = recipe.distillation
    if wish.teacher is None:
        return None
    teacher = trained.rebuild(_folder(wish.teacher))
    teacher.trainable = False
    if (teacher.input_shape, teacher.output_shape) != (model.input_shape, model.output_shape):
        raise RecipeError(
            f"the teacher in {wish.teacher} maps {teacher.input_shape[1:]} to "
            f"{teacher.output_shape[1]} classes, {recipe.name} {model.input_shape[1:]} to "
            f"{model.output_shape[1]}",
            "choose a teacher of the same task",
        )

    def term(step: Step) -> Any:
        taught = teacher(attack.network_input(step.integers, teacher.input_bits), training=False)
        return wish.weight * distilled(tf.stop_gradient(taught), step.logits, wish.temperature)

    return term


def _folder(teacher: str) -> Path:
    of_the_zoo = resources.root() / "models" / "zoo" / teacher / "train"
    return of_the_zoo if "/" not in teacher and of_the_zoo.is_dir() else Path(teacher)


def distilled(teacher_logits: Any, logits: Any, temperature: float) -> Any:
    """``temperature^2`` times the mean divergence of the softened predictions."""
    apart = attack.divergence(teacher_logits / temperature, logits / temperature)
    return temperature**2 * tf.reduce_mean(apart)
