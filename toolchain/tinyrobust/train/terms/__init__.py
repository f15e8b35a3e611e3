"""Further terms of the loss, one per file.

Comes in: a ``Recipe``, the model in training. Goes out: what the loss gains, by name.

A module here defines ``build(recipe, model)``, which gives a ``Term`` or, where the recipe does not
ask for it, None. A term is called once per step, inside the step's gradient tape and compiled with
it, while every kernel is quantised already (``draw.quantised(layer)`` of a training layer is the
step's own sample). Its value is added to the loss and recorded in the history under the module's
name. Whatever changes with progress must be a variable (``draw.progress`` is one).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinyrobust.recipes import Recipe
from tinyrobust.registry import discover


@dataclass(frozen=True)
class Step:
    """What a term may look at: all in TensorFlow's graph.

    ``integers``: the batch's clean input integers 0..255 as floats [N,H,W,C]; ``logits`` [N,K]: of
    the images that are trained on, attacked ones where there is an attack; ``labels`` [N];
    ``taught`` [N,K]: the teacher's logits of the clean images, None without a teacher.
    """

    integers: Any
    logits: Any
    labels: Any
    taught: Any = None


Term = Callable[[Step], Any]


def build(recipe: Recipe, model: Any) -> dict[str, Term]:
    """The terms that the recipe asks for, by name."""
    built = {
        name: make(recipe, model) for name, make in sorted(discover(__name__, "build").items())
    }
    return {name: term for name, term in built.items() if term is not None}
