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
    jacobian: float = Field(default=0.0, ge=0, le=1000)


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
    """Optimiser and schedule: the learning rate warms up linearly over ``warmup_epochs``, then

    - ``cosine``: falls to zero along a cosine (I. Loshchilov, F. Hutter, "SGDR: Stochastic
      Gradient Descent with Warm Restarts", 2017, arXiv:1608.03983, without restarts);
    - ``one_cycle``: falls to zero along a line (L. N. Smith, N. Topin, "Super-Convergence", 2018,
      arXiv:1708.07120, as Wong et al. 2020 use it); give it a long warm-up, a third or so;
    - ``constant``: stays.
    """

    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    kind: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=2e-3, ge=0, le=10)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    warmup_epochs: float = Field(default=1.0, ge=0)


class Augmentation(_Strict):
    """Random change of training images.

    ``flip`` mirrors left and right; ``shift`` crops from the image padded with that many pixels
    of zero; ``cutout`` zeroes one square of that side per image (T. DeVries, G. W. Taylor,
    "Improved Regularization of Convolutional Neural Networks with Cutout", 2017,
    arXiv:1708.04552), partly outside where its centre is near the border.
    """

    flip: bool = False
    shift: int = Field(default=0, ge=0, le=16)
    cutout: int = Field(default=0, ge=0, le=128)


class Training(_Strict):
    """How long, on what, from which seed.

    ``average`` above zero is the decay per step of an exponential average of the latent weights,
    which replaces them in validation and in the result (B. T. Polyak, A. B. Juditsky,
    "Acceleration of Stochastic Approximation by Averaging", 1992; in adversarial training
    S. Gowal et al., "Uncovering the Limits of Adversarial Training", 2020, arXiv:2010.03593).
    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(default=128, ge=2, le=4096)
    seed: int = Field(default=0, ge=0, lt=2**31)
    train_images: int | None = Field(default=None, ge=2)
    validation_images: int = Field(default=1000, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    average: float = Field(default=0.0, ge=0, lt=1)
    batch_norm_momentum: float = Field(default=0.9, gt=0, lt=1)
    batch_norm_images: int = Field(default=8192, ge=2)
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()


class Jacobian(_Strict):
    """Jacobian regularisation of the logits, and of blocks that say so, by random projection.

    J. Hoffman, D. A. Roberts, S. Yaida, "Robust Learning with Jacobian Regularization", 2019,
    arXiv:1908.02729. The loss gains ``strength / 2 * ||d logits / d input||_F^2``, and for every
    block with ``jacobian`` above zero ``jacobian / 2 * ||d block's output / d input||_F^2``. All
    are estimated together with ``projections`` random directions on the first ``batch_fraction``
    of every batch. The strengths grow linearly from zero over the first ``warmup_epochs``.
    """

    strength: float = Field(default=0.0, ge=0, le=1000)
    projections: int = Field(default=1, ge=1, le=64)
    batch_fraction: float = Field(default=1.0, gt=0, le=1)
    warmup_epochs: float = Field(default=0.0, ge=0)


class Guard(_Strict):
    """Guard against catastrophic overfitting (Wong et al. 2020, section 5.4).

    After every epoch PGD of 10 steps attacks ``images`` validation images. When the accuracy has
    lost more than the fraction ``drop`` of the best so far, the epoch is thrown away and training
    goes on from the one before, with one more attack step of ``eps_255 / steps``.
    """

    images: int = Field(default=512, ge=16)
    drop: float = Field(default=0.5, gt=0, le=1)


class Adversarial(_Strict):
    """Adversarial training: the loss is taken on images attacked in the model's integer input.

    - ``single_step``: one step of the gradient's sign from a random start. E. Wong, L. Rice,
      J. Z. Kolter, "Fast is better than free", 2020, arXiv:2001.03994;
    - ``pgd``: ``steps`` projected steps from a random start. A. Madry et al., "Towards Deep
      Learning Models Resistant to Adversarial Attacks", 2018, arXiv:1706.06083;
    - ``trades``: cross-entropy of the clean image plus ``beta`` times the divergence of the
      attacked image's prediction from it. H. Zhang et al., "Theoretically Principled Trade-off
      between Robustness and Accuracy", 2019, arXiv:1901.08573.

    ``eps_255`` bounds every input integer's change, ``step_255`` is a step's size (left out: 5/4
    of ``eps_255`` for single_step, 1/4 for the others); ``eps_255`` grows linearly from zero over
    the first ``warmup_epochs``.
    """

    method: Literal["none", "single_step", "pgd", "trades"] = "none"
    eps_255: float = Field(default=8.0, gt=0, le=255)
    step_255: float | None = Field(default=None, gt=0, le=255)
    steps: int = Field(default=7, ge=1, le=100)
    beta: float = Field(default=6.0, ge=0, le=1000)
    warmup_epochs: float = Field(default=0.0, ge=0)
    guard: Guard | None = Guard()


class Recipe(_Strict):
    """A network, the task it learns, and how it is trained."""

    recipe_schema: Literal[1] = Field(default=1, alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    task: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=32)
    description: str = ""
    network: Network
    training: Training
    jacobian: Jacobian = Jacobian()
    adversarial: Adversarial = Adversarial()

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

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
