"""Distillation from a teacher; see ``recipes.Distillation`` for formula and papers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tinyrobust.recipes import Recipe
from tinyrobust.train import attack
from tinyrobust.train.terms import Step, Term


def build(recipe: Recipe, model: Any) -> Term | None:
    """The term of ``recipe.distillation``, None without a teacher."""
    wish = recipe.distillation
    if wish.teacher is None:
        return None

    def term(step: Step) -> Any:
        return wish.weight * distilled(step.taught, step.logits, wish.temperature)

    return term


def distilled(teacher_logits: Any, logits: Any, temperature: float) -> Any:
    """``temperature^2`` times the mean divergence of the softened predictions."""
    apart = attack.divergence(teacher_logits / temperature, logits / temperature)
    return temperature**2 * tf.reduce_mean(apart)
