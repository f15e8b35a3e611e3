"""The part of a recipe about weights that kernels compute cheaply."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tinyrobust.recipes.network import Strict


class Sparsity(Strict):
    """Weights that class-sharing kernels compute cheaply (``train/sparsity.py``).

    The loss gains ``zeros`` times the expected share of inputs that any of ``channels``
    neighbouring output channels uses, and ``patterns`` times the expected share of the patterns of
    their trits that occur. Both grow linearly from zero over the first ``warmup_epochs``.
    """

    zeros: float = Field(default=0.0, ge=0, le=100)
    patterns: float = Field(default=0.0, ge=0, le=100)
    channels: Literal[1, 2, 3, 4] = 4
    warmup_epochs: float = Field(default=0.0, ge=0)
