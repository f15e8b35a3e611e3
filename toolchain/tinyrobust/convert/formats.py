"""Fixed-point formats of a requantisation: how many fraction bits, and the integers they give.

In: the real scale and bias of each batch normalisation that feeds one activation (or the scores).
Out: int32 multipliers and bias with proved ranges, and the hls4ml types that mean the same.

A branch's integer sum has F fraction bits. Its batch-norm scale has F_m fraction bits,
``m = floor(scale * 2**F_m + 1/2)``; the product is truncated to ``F_t = F + F_m - 16`` fraction
bits, ``(m * acc) >> 16``; the bias has F_t fraction bits too. All branches share F_t, and the
activation with F_out fraction bits shifts by ``s = F_t - F_out``. F_t is chosen as large as
0 <= s <= 16 and int32 allow, which keeps as many bits of ``m`` as there can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph.nodes import INT32, Requantize, Tensor
from tinyrobust.graph.verify import MAX_SHIFT, requantize_range

Real = npt.NDArray[np.float64]
PRODUCT_SHIFT = 16
_HINT = "train with smaller batch-norm scales, or fewer inputs to this layer"


@dataclass(frozen=True)
class Branch:
    """One summand: an integer tensor times a real scale per channel, plus a real bias.

    ``layer`` is the batch normalisation; None for an activation that is added as it is.
    ``lo``/``hi``: the range of the tensor's integers per channel.
    """

    tensor: Tensor
    lo: npt.NDArray[np.int64]
    hi: npt.NDArray[np.int64]
    layer: str | None = None
    scale: Real | None = None
    bias: Real | None = None


@dataclass(frozen=True)
class Formats:
    """The chosen formats: a Requantize node, F_t, and F_m of each branch (None: as it is)."""

    node: Requantize
    sum_frac: int
    scale_frac: tuple[int | None, ...]
    lo: int
    hi: int

    @property
    def significant_bits(self) -> int:
        """Bits of the smallest multiplier that is not zero: its relative error is 2**-bits."""
        magnitudes = np.abs(self.node.multipliers.astype(np.int64))
        magnitudes = magnitudes[magnitudes > 0]
        return int(magnitudes.min()).bit_length() if magnitudes.size else 32


def as_written(values: Real, frac: int) -> Real:
    """``values`` as hls4ml writes them for a type of ``frac`` fraction bits: that many decimals."""
    return np.array([float(f"{v:.{max(frac, 0)}f}") for v in values.ravel()], np.float64)


def rounded(values: Real, frac: int) -> Real:
    """``ap_fixed<..., AP_RND>``: ``floor(value * 2**frac + 1/2)``, as a float64 integer."""
    return np.floor(as_written(values, frac) * 2.0**frac + 0.5)


def choose(
    name: str, output: str, branches: list[Branch], *, out_frac: int | None, hi: int = 127
) -> Formats:
    """The formats with the most fraction bits for node ``name``.

    ``out_frac``: fraction bits of the activation, None for scores. Raises ConvertError naming the
    layer and the channel when no choice keeps every partial sum within int32.
    """
    scores = out_frac is None
    least = max((b.tensor.frac_bits for b in branches if b.layer is None), default=0)
    if out_frac is None:
        top = max(b.tensor.frac_bits for b in branches) + PRODUCT_SHIFT
    else:
        top, least = out_frac + MAX_SHIFT, max(least, out_frac)
    problem = f"layer '{name}' has no common number of fraction bits for its branches"
    for sum_frac in range(top, least - 1, -1):
        try:
            node, fracs = _node(name, output, branches, sum_frac, out_frac, hi)
            low, high = requantize_range(node, [(b.lo, b.hi) for b in branches])
        except GraphError as error:
            problem = error.message
            continue
        if scores:
            return Formats(node, sum_frac, fracs, int(low.min()), int(high.max()))
        return Formats(node, sum_frac, fracs, node.lo, node.hi)
    raise ConvertError(problem, _HINT)


def _node(
    name: str, output: str, branches: list[Branch], sum_frac: int, out_frac: int | None, hi: int
) -> tuple[Requantize, tuple[int | None, ...]]:
    channels = branches[0].tensor.shape[-1]
    multipliers: list[Real] = []
    fracs: list[int | None] = []
    bias: Real = np.zeros(channels)
    for branch in branches:
        frac = sum_frac + PRODUCT_SHIFT - branch.tensor.frac_bits
        if branch.scale is None or branch.bias is None:
            m: Any = np.full(channels, 2.0**frac)
            fracs.append(None)
        else:
            m = rounded(branch.scale, frac)
            bias = bias + _int32(branch.layer or name, rounded(branch.bias, sum_frac), "bias")
            fracs.append(frac)
        multipliers.append(_int32(branch.layer or name, m, "multiplier"))
    node = Requantize(
        name,
        tuple(b.tensor.name for b in branches),
        output,
        np.array(multipliers).astype(np.int32),
        _int32(name, bias, "bias").astype(np.int32),
        0 if out_frac is None else sum_frac - out_frac,
        0,
        hi,
        out_frac is None,
    )
    return node, tuple(fracs)


def _int32(layer: str, values: Real, what: str) -> Real:
    bad = np.flatnonzero(~((values >= INT32[0]) & (values <= INT32[1])))
    if bad.size:
        raise GraphError(
            f"layer '{layer}' channel {bad[0]}: the {what} is {values[bad[0]]:,.6g}, outside int32",
            "look for a dead channel there, or train with fewer bits",
        )
    return values


def signed(width: int, frac: int, mode: str = "") -> str:
    """An hls4ml type: signed, ``width`` bits, ``frac`` of them behind the point."""
    return f"fixed<{width},{width - frac}{mode}>"


def unsigned(width: int, frac: int, mode: str = "") -> str:
    """An hls4ml type: unsigned, ``width`` bits, ``frac`` of them behind the point."""
    return f"ufixed<{width},{width - frac}{mode}>"


def sum_width(lo: int, hi: int) -> int:
    """Bits of a signed integer that holds lo..hi."""
    return max(hi.bit_length(), (-lo - 1).bit_length() if lo < 0 else 0) + 1
