"""Recipes: the declarative description of a network and of its training.

Comes in: a name or a YAML file, and overrides such as ``jacobian.strength=0``.
Goes out: a validated ``Recipe``. Nothing here knows TensorFlow.
"""

from tinyrobust.recipes.load import dump, load, names, override
from tinyrobust.recipes.schema import (
    Activation,
    Adversarial,
    Augmentation,
    Conv,
    Guard,
    Head,
    Jacobian,
    Network,
    Optimizer,
    Recipe,
    Residual,
    Training,
    Weights,
)

__all__ = [
    "Activation",
    "Adversarial",
    "Augmentation",
    "Conv",
    "Guard",
    "Head",
    "Jacobian",
    "Network",
    "Optimizer",
    "Recipe",
    "Residual",
    "Training",
    "Weights",
    "dump",
    "load",
    "names",
    "override",
]
