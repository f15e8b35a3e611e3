"""What a recipe file may say: the keys, their types, their ranges and their defaults.

Comes in: plain values read from YAML. Goes out: frozen pydantic models. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Activation(_Strict):
    """Unsigned activation: an integer of ``bits`` bits times 2^-(bits - integer)."""

    bits: Literal[4, 7] = 7
    integer: int = Field(default=2, ge=0, le=4)

    @property
    def frac(self) -> int:
        """Fraction bits."""
        return self.bits - self.integer


class Weights(_Strict):
    """Ternary weights {-1, 0, +1} times a scale per output channel.

    ``stochastic_ternary`` samples the trits at every training step (and is deterministic after
    training); ``ternary`` rounds them in training too. ``temperature`` is the slope of the
    sampling probability: the higher, the less random; it moves linearly to ``final_temperature``.
    """

    quantizer: Literal["stochastic_ternary", "ternary"] = "stochastic_ternary"
    temperature: float = Field(default=8.0, gt=0, le=1000)
    final_temperature: float | None = Field(default=None, gt=0, le=1000)


class _Layer(_Strict):
    filters: int = Field(ge=1, le=4096)
    stride: Literal[1, 2] = 1
    kernel_size: Literal[1, 3, 5] = 3
    weights: Weights | None = None
    activation: Activation | None = None


class Conv(_Layer):
    """Convolution, batch normalisation, activation."""

    kind: Literal["conv"]


class Residual(_Layer):
    """Two convolutions beside a shortcut, added, then activated.

    The shortcut is the block's input itself, or where stride or width change (or ``shortcut`` is
    ``conv``) a 1x1 convolution with batch normalisation.
    """

    kind: Literal["residual"]
    shortcut: Literal["auto", "conv"] = "auto"


Block = Annotated[Conv | Residual, Field(discriminator="kind")]


class Head(_Strict):
    """Global average pool, activation, ternary dense layer, batch normalisation: the logits."""

    weights: Weights | None = None
    activation: Activation | None = None


class Network(_Strict):
    """Blocks from input to logits; ``weights`` and ``activation`` hold where a block says none."""

    weights: Weights = Weights()
    activation: Activation = Activation()
    blocks: tuple[Block, ...] = Field(min_length=1)
    head: Head = Head()


class Optimizer(_Strict):
    """Optimiser; the learning rate warms up linearly, then falls to zero along a cosine."""

    kind: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=2e-3, ge=0, le=10)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    warmup_epochs: float = Field(default=1.0, ge=0)


class Augmentation(_Strict):
    """Random change of training images: mirror left and right, shift by up to ``shift`` pixels."""

    flip: bool = False
    shift: int = Field(default=0, ge=0, le=16)


class Training(_Strict):
    """How long, on what, from which seed."""

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(default=128, ge=2, le=4096)
    seed: int = Field(default=0, ge=0, lt=2**31)
    train_images: int | None = Field(default=None, ge=2)
    validation_images: int = Field(default=1000, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    batch_norm_momentum: float = Field(default=0.9, gt=0, lt=1)
    batch_norm_images: int = Field(default=8192, ge=2)
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()


class Jacobian(_Strict):
    """Jacobian regularisation of the logits by random projection.

    J. Hoffman, D. A. Roberts, S. Yaida, "Robust Learning with Jacobian Regularization", 2019,
    arXiv:1908.02729. The loss gains ``strength / 2 * ||d logits / d input||_F^2``, estimated
    with ``projections`` random directions on the first ``batch_fraction`` of every batch.
    The strength grows linearly from zero over the first ``warmup_epochs``.
    """

    strength: float = Field(default=0.0, ge=0, le=1000)
    projections: int = Field(default=1, ge=1, le=64)
    batch_fraction: float = Field(default=1.0, gt=0, le=1)
    warmup_epochs: float = Field(default=0.0, ge=0)


class Recipe(_Strict):
    """A network, the task it learns, and how it is trained."""

    recipe_schema: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    task: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=32)
    description: str = ""
    network: Network
    training: Training
    jacobian: Jacobian = Jacobian()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _batch_parts(self) -> Recipe:
        if self.jacobian.strength > 0:
            part = round(self.training.batch_size * self.jacobian.batch_fraction)
            if part < 2 or self.training.batch_size - part == 1:
                raise ValueError(
                    f"jacobian.batch_fraction {self.jacobian.batch_fraction} of a batch of "
                    f"{self.training.batch_size} leaves a part with fewer than 2 images"
                )
        return self
