"""What a recipe may say about training: schedule, augmentation, regularisers, attacks.

Comes in: plain values read from YAML. Goes out: frozen pydantic models. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tinyrobust.recipes.network import Strict


class Optimizer(Strict):
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


class Augmentation(Strict):
    """Random change of training images.

    ``flip`` mirrors left and right; ``shift`` crops from the image padded with that many pixels
    of zero (both as K. He et al., "Deep Residual Learning for Image Recognition", 2016,
    arXiv:1512.03385, section 4.2); ``cutout`` zeroes one square of that side per image
    (T. DeVries, G. W. Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout", 2017, arXiv:1708.04552), partly outside where its centre is near the border.
    Recordings are shifted by up to ``shift_ms`` either way, and with probability ``noise`` have
    background noise, before their features are taken.
    """

    flip: bool = False
    shift: int = Field(default=0, ge=0, le=16)
    cutout: int = Field(default=0, ge=0, le=128)
    shift_ms: int = Field(default=0, ge=0, le=500)
    noise: float = Field(default=0.0, ge=0, le=1)


class Training(Strict):
    """How long, on what, from which seed.

    ``average`` above zero is the decay per step of an exponential average of the latent weights,
    which replaces them in validation and in the result (B. T. Polyak, A. B. Juditsky,
    "Acceleration of Stochastic Approximation by Averaging", 1992; in adversarial training
    S. Gowal et al., "Uncovering the Limits of Adversarial Training", 2020, arXiv:2010.03593).
    ``label_smoothing`` spreads that part of a label over all classes (C. Szegedy et al.,
    "Rethinking the Inception Architecture", 2016, arXiv:1512.00567); ``weight_decay`` is decoupled
    (I. Loshchilov, F. Hutter, 2019, arXiv:1711.05101).
    ``start`` is a model of the zoo, by name, or a folder that ``train`` wrote, whose weights this
    training starts from: the same network with the same quantiser.
    ``check_eps_255`` is the size of the PGD that validation images are attacked with after every
    epoch; left out, that of adversarial training, and no attack without it.
    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(default=128, ge=2, le=4096)
    seed: int = Field(default=0, ge=0, lt=2**31)
    start: str | None = None
    train_images: int | None = Field(default=None, ge=2)
    validation_images: int = Field(default=1000, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    average: float = Field(default=0.0, ge=0, lt=1)
    batch_norm_momentum: float = Field(default=0.9, gt=0, lt=1)
    batch_norm_images: int = Field(default=8192, ge=2)
    check_eps_255: float | None = Field(default=None, gt=0, le=255)
    optimizer: Optimizer = Optimizer()
    augmentation: Augmentation = Augmentation()


class Jacobian(Strict):
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


class Guard(Strict):
    """Guard against catastrophic overfitting (Wong et al. 2020, section 5.4).

    After every epoch PGD of 10 steps attacks ``images`` validation images. When the accuracy has
    lost more than the fraction ``drop`` of the best so far, the epoch is thrown away and training
    goes on from the one before, with one more attack step of ``eps_255 / steps``.
    """

    images: int = Field(default=512, ge=16)
    drop: float = Field(default=0.5, gt=0, le=1)


class Adversarial(Strict):
    """Adversarial training: the loss is taken on images attacked in the model's integer input.

    - ``single_step``: one step of the gradient's sign from a random start. E. Wong, L. Rice,
      J. Z. Kolter, "Fast is better than free", 2020, arXiv:2001.03994;
    - ``noisy_step``: one step of ``eps_255`` from a start with noise of up to twice ``eps_255``,
      not projected. P. de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step
      Adversarial Training" (N-FGSM), 2022, arXiv:2202.01181;
    - ``pgd``: ``steps`` projected steps from a random start. A. Madry et al., "Towards Deep
      Learning Models Resistant to Adversarial Attacks", 2018, arXiv:1706.06083;
    - ``trades``: cross-entropy of the clean image plus ``beta`` times the divergence of the
      attacked image's prediction from it. H. Zhang et al., "Theoretically Principled Trade-off
      between Robustness and Accuracy", 2019, arXiv:1901.08573.

    ``follows`` says what the attack of the first three raises: ``labels``, the cross-entropy with
    them; ``teacher``, the divergence from what the teacher of ``distillation`` says of the clean
    image, its soft labels (RSLAD: B. Zi et al., "Revisiting Adversarial Robustness Distillation:
    Robust Soft Labels Make Student Better", 2021, arXiv:2108.07969, equation 4).

    ``eps_255`` bounds every input integer's change (but see ``noisy_step``). ``step_255`` is a
    step's size; left out, it is 5/4 of ``eps_255`` for single_step, all of it for noisy_step, 1/4
    for the others. ``eps_255`` grows linearly from zero over the first ``warmup_epochs``.
    """

    method: Literal["none", "single_step", "noisy_step", "pgd", "trades"] = "none"
    follows: Literal["labels", "teacher"] = "labels"
    eps_255: float = Field(default=8.0, gt=0, le=255)
    step_255: float | None = Field(default=None, gt=0, le=255)
    steps: int = Field(default=7, ge=1, le=100)
    beta: float = Field(default=6.0, ge=0, le=1000)
    warmup_epochs: float = Field(default=0.0, ge=0)
    guard: Guard | None = Guard()


class Distillation(Strict):
    """Learn from a teacher's predictions too (G. Hinton, O. Vinyals, J. Dean, "Distilling the
    Knowledge in a Neural Network", 2015, arXiv:1503.02531).

    The loss is ``(1 - weight)`` times cross-entropy plus ``weight * temperature^2`` times the
    divergence of the network's softened prediction from that of the teacher: a model of the zoo,
    by name, or a folder that ``train`` wrote. With adversarial training the network sees the
    attacked image, the teacher the clean one (M. Goldblum et al., "Adversarially Robust
    Distillation", 2020, arXiv:1905.09747).
    """

    teacher: str | None = None
    weight: float = Field(default=0.7, ge=0, le=1)
    temperature: float = Field(default=4.0, gt=0, le=100)


class Quanos(Strict):
    """Hybrid bit widths (P. Panda, "QUANOS", 2020, arXiv:2004.11233; see ``train/quanos.py``).

    The network is first trained for ``epochs`` with integer weights of ``most_bits`` everywhere.
    Then the sensitivity of every block to an attack of ``eps_255`` on ``images`` training images
    decides its bits, between ``least_bits`` (the most sensitive) and ``most_bits``, and training
    goes on with these. ``bits`` and ``sensitivity`` are what was found; leave them out.
    """

    epochs: int = Field(default=5, ge=1, le=1000)
    eps_255: float = Field(default=8.0, gt=0, le=255)
    images: int = Field(default=1024, ge=1)
    least_bits: int = Field(default=2, ge=2, le=8)
    most_bits: int = Field(default=8, ge=2, le=8)
    bits: dict[str, int] = Field(default_factory=dict)
    sensitivity: dict[str, float] = Field(default_factory=dict)
