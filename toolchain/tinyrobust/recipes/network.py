"""What a recipe may say about the network: its blocks, their weights and activations.

Comes in: plain values read from YAML. Goes out: frozen pydantic models. Unknown keys are errors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A part of a recipe: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Activation(Strict):
    """Unsigned activation: an integer of ``bits`` bits times 2^-(bits - integer).

    ``bits: null`` is a rectifier in float, for baselines.
    """

    bits: Literal[4, 7] | None = 7
    integer: int = Field(default=2, ge=0, le=4)

    @property
    def frac(self) -> int:
        """Fraction bits of an activation with ``bits``."""
        return (self.bits or 0) - self.integer


class Weights(Strict):
    """Weights: integers times a scale per output channel; gradients pass straight through
    (Y. Bengio, N. Leonard, A. Courville, 2013, arXiv:1308.3432).

    - ``ternary``: {-1, 0, +1}, zero below half the least-squares scale. F. Li, B. Zhang, B. Liu,
      "Ternary Weight Networks", 2016, arXiv:1605.04711;
    - ``stochastic_ternary``: {-1, 0, +1} sampled at every training step with probabilities that
      grow with the weight, rounded as ``ternary`` after training. QKeras: C. N. Coelho et al.,
      "Automatic heterogeneous quantization of deep neural networks", 2021, arXiv:2006.10159;
      sampling after M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", 2015,
      arXiv:1511.00363. ``temperature`` is the slope of the probability: the higher, the less
      random; it moves linearly to ``final_temperature``;
    - ``binary``: {-1, +1}. M. Rastegari et al., "XNOR-Net", 2016, arXiv:1603.05279;
    - ``int``: symmetric integers of ``bits`` bits, the largest weight of a channel at their end.
      B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
      Integer-Arithmetic-Only Inference", 2018, arXiv:1712.05877;
    - ``float``: not quantised.

    ``convert`` takes ternary weights; the others are trained, attacked and compared.
    """

    quantizer: Literal["stochastic_ternary", "ternary", "binary", "int", "float"] = (
        "stochastic_ternary"
    )
    bits: int = Field(default=8, ge=2, le=8)
    temperature: float = Field(default=8.0, gt=0, le=1000)
    final_temperature: float | None = Field(default=None, gt=0, le=1000)


Side = Annotated[int, Field(ge=1, le=64)]


class _Layer(Strict):
    """``kernel_size`` is one number or [rows, columns]; ``jacobian`` is the strength of the
    Jacobian term of this block's output; ``dropout`` follows the activation, in training only
    (N. Srivastava et al., "Dropout", 2014)."""

    stride: Literal[1, 2] = 1
    kernel_size: Literal[1, 3, 5] | tuple[Side, Side] = 3
    weights: Weights | None = None
    activation: Activation | None = None
    jacobian: float = Field(default=0.0, ge=0, le=1000)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Conv(_Layer):
    """Convolution, batch normalisation, activation."""

    kind: Literal["conv"]
    filters: int = Field(ge=1, le=4096)


class Depthwise(_Layer):
    """Depthwise convolution (a kernel per channel), batch normalisation, activation."""

    kind: Literal["depthwise"]


class Residual(_Layer):
    """Two convolutions beside a shortcut, added, then activated.

    The shortcut is the block's input itself, or where stride or width change (or ``shortcut`` is
    ``conv``) a 1x1 convolution with batch normalisation.
    """

    kind: Literal["residual"]
    filters: int = Field(ge=1, le=4096)
    shortcut: Literal["auto", "conv"] = "auto"


Block = Annotated[Conv | Depthwise | Residual, Field(discriminator="kind")]


class Head(Strict):
    """Global average pool, activation, dense layer, then batch normalisation: the logits.

    ``normalise: false`` puts a bias in the place of batch normalisation, as float networks have
    it; ``convert`` takes the former.
    """

    weights: Weights | None = None
    activation: Activation | None = None
    dropout: float = Field(default=0.0, ge=0, lt=1)
    normalise: bool = True


class Network(Strict):
    """Blocks from input to logits; ``weights`` and ``activation`` hold where a block says none.

    ``input_bits``: 7 drops the lowest bit of every input integer, as the device does for a network
    of family ``fixed`` (q = x >> 1); 8 keeps it, for baselines that become int8 .tflite files.
    """

    input_bits: Literal[7, 8] = 7
    weights: Weights = Weights()
    activation: Activation = Activation()
    blocks: tuple[Block, ...] = Field(min_length=1)
    head: Head = Head()
