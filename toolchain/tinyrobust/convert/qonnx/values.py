"""What a tensor of an ONNX file is, while it is turned into a Graph.

``Raw``: the network's input before its Quant. ``Activation``: integers of a Graph tensor times one
scale. ``Linear``: real values not yet quantised, a sum of scaled exact integers. ``Mean``: an
average that waits for its Quant. Constants are numpy arrays.

``axes`` names the axes of the ONNX tensor, one letter each: n, c, h, w, or f for features; Graph
tensors are (H, W, C) or (C,) whatever the file's layout is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.graph import Tensor

Real = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Raw:
    """The network's input; ``shape`` is that of the Graph."""

    shape: tuple[int, ...]
    axes: str


@dataclass(frozen=True)
class Activation:
    """``real = scale * q``. ``order``: where feature i of ours is in the file, if elsewhere."""

    tensor: Tensor
    scale: float
    axes: str
    order: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Part:
    """``scale[c] * acc[..., c]``: exact integers of ``tensor`` within lo..hi per channel."""

    tensor: Tensor
    lo: npt.NDArray[np.int64]
    hi: npt.NDArray[np.int64]
    scale: Real


@dataclass(frozen=True)
class Linear:
    """``sum of parts + bias[c]``, then ReLU where ``relu`` says so, then ``later``.

    ``later``: steps that commute with quantisation (flatten, maximum), done behind it.
    """

    parts: tuple[Part, ...]
    bias: Real
    axes: str
    relu: bool = False
    later: tuple[Callable[[Activation], Activation], ...] = ()

    @property
    def channels(self) -> int:
        """Channels, the last axis of the Graph's tensors."""
        return len(self.bias)

    def scaled(self, factor: Real) -> Linear:
        """Every value times ``factor`` (per channel)."""
        parts = tuple(replace(p, scale=p.scale * factor) for p in self.parts)
        return replace(self, parts=parts, bias=self.bias * factor)

    def shifted(self, by: Real) -> Linear:
        """Every value plus ``by`` (per channel)."""
        return replace(self, bias=self.bias + by)


@dataclass(frozen=True)
class Mean:
    """The mean of ``source`` over windows of ``size``; ``whole``: over all of it."""

    name: str
    source: Activation
    size: tuple[int, int]
    strides: tuple[int, int]
    whole: bool
    axes: str
    later: tuple[Callable[[Activation], Activation], ...] = ()


Value = Any  # Raw | Activation | Linear | Mean | numpy array


def full_range(tensor: Tensor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The range of every channel of ``tensor``, from the whole tensor's."""
    channels = tensor.shape[-1]
    return np.full(channels, tensor.lo, np.int64), np.full(channels, tensor.hi, np.int64)


def as_linear(value: Activation) -> Linear:
    """An activation as the real values that it stands for."""
    channels = value.tensor.shape[-1]
    part = Part(value.tensor, *full_range(value.tensor), np.full(channels, value.scale))
    return Linear((part,), np.zeros(channels), value.axes)
