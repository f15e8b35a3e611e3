"""What a recipe file may say: the keys, their types, their ranges and their defaults.

Comes in: plain values read from YAML. Goes out: frozen pydantic models. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from tinyrobust.recipes.network import Network, Strict
from tinyrobust.recipes.sparsity import Sparsity
from tinyrobust.recipes.training import Adversarial, Distillation, Jacobian, Quanos, Training


class Recipe(Strict):
    """A network, the task it learns, and how it is trained."""

    recipe_schema: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    task: str = Field(pattern=r"^[a-z0-9][a-z0-9_:/+]*$", max_length=100)
    description: str = ""
    network: Network
    training: Training
    jacobian: Jacobian = Jacobian()
    adversarial: Adversarial = Adversarial()
    distillation: Distillation = Distillation()
    sparsity: Sparsity = Sparsity()
    quanos: Quanos | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _has_whom_it_follows(self) -> Recipe:
        if self.adversarial.follows == "teacher":
            if self.distillation.teacher is None:
                raise ValueError(
                    "adversarial.follows is teacher, but distillation.teacher names none"
                )
            if self.adversarial.method in ("none", "trades"):
                raise ValueError(
                    f"adversarial.method {self.adversarial.method} cannot follow a teacher; "
                    "single_step, noisy_step and pgd can"
                )
        return self

    @model_validator(mode="after")
    def _batch_parts(self) -> Recipe:
        if self.jacobian.strength > 0 or any(block.jacobian for block in self.network.blocks):
            part = round(self.training.batch_size * self.jacobian.batch_fraction)
            if part < 2 or self.training.batch_size - part == 1:
                raise ValueError(
                    f"jacobian.batch_fraction {self.jacobian.batch_fraction} of a batch of "
                    f"{self.training.batch_size} leaves a part with fewer than 2 images"
                )
        return self
