"""Recipes: the declarative description of a network and of its training.

Comes in: a name or a YAML file, and overrides such as ``jacobian.strength=0``.
Goes out: a validated ``Recipe``. Nothing here knows TensorFlow.
"""

from tinyrobust.recipes.load import dump, load, names, override
from tinyrobust.recipes.network import (
    Activation,
    Conv,
    Depthwise,
    Head,
    Network,
    Residual,
    Weights,
)
from tinyrobust.recipes.schema import Recipe
from tinyrobust.recipes.sparsity import Sparsity
from tinyrobust.recipes.training import (
    Adversarial,
    Augmentation,
    Distillation,
    Guard,
    Jacobian,
    Optimizer,
    Quanos,
    Training,
)

__all__ = [
    "Activation",
    "Adversarial",
    "Augmentation",
    "Conv",
    "Depthwise",
    "Distillation",
    "Guard",
    "Head",
    "Jacobian",
    "Network",
    "Optimizer",
    "Quanos",
    "Recipe",
    "Residual",
    "Sparsity",
    "Training",
    "Weights",
    "dump",
    "load",
    "names",
    "override",
]
