"""What both arithmetic families are made of: tensors, the base of all nodes, and the Reshape.

The families' own nodes are in ``nodes.py`` (``fixed``) and ``int8.py`` (``tflite``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]

INT8 = (-128, 127)
INT16 = (-(1 << 15), (1 << 15) - 1)
INT32 = (-(1 << 31), (1 << 31) - 1)
NO_TASK = "none"  # the task of a Graph whose file names none


def aligned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with ones in front, three axes."""
    return (1,) * (3 - len(shape)) + tuple(shape)


@dataclass(frozen=True)
class Tensor:
    """An integer tensor: ``shape`` (H, W, C), (W, C) or (C,), values in ``lo..hi``.

    Its real value is ``integer * 2**-frac_bits``, or, where ``scale`` is given (family
    ``tflite``), ``(integer - zero_point) * scale``.
    """

    name: str
    shape: tuple[int, ...]
    lo: int
    hi: int
    frac_bits: int
    scale: float | None = None
    zero_point: int = 0

    def header(self) -> dict[str, Any]:
        """The tensor as plain data; scale and zero point only where there is a scale."""
        found = {"name": self.name, "shape": list(self.shape), "lo": self.lo, "hi": self.hi,
                 "frac_bits": self.frac_bits}  # fmt: skip
        if self.scale is None:
            return found
        return {**found, "scale": self.scale, "zero_point": self.zero_point}

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def storage(self) -> str:
        """Smallest of ``u8 i8 i16 i32`` that holds lo..hi; how a device stores an element."""
        if self.lo >= 0 and self.hi <= 255:
            return "u8"
        if self.lo >= -128 and self.hi <= 127:
            return "i8"
        return "i16" if INT16[0] <= self.lo and self.hi <= INT16[1] else "i32"

    @property
    def bytes(self) -> int:
        """Bytes in dense storage."""
        return self.size * {"u8": 1, "i8": 1, "i16": 2, "i32": 4}[self.storage]


@dataclass(frozen=True)
class Port:
    """Where a network meets the world: ``tensor`` of the Graph under the ``name`` that users know
    it by."""

    name: str
    tensor: str


@dataclass(frozen=True)
class Node:
    """Computes tensor ``output`` from tensors ``inputs``. ``name`` is unique in a Graph."""

    op: ClassVar[str]
    name: str
    inputs: tuple[str, ...]
    output: str

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The constant arrays of the node by field name."""
        return {
            f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), np.ndarray)
        }

    @property
    def scalars(self) -> dict[str, Any]:
        """Everything else that is plain data."""
        skip = {"name", "inputs", "output", *self.arrays}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip}

    def macs(self, shape: tuple[int, ...]) -> int:
        """Dense multiply-accumulates (zeros counted) for an output of ``shape``."""
        return 0


@dataclass(frozen=True)
class Reshape(Node):
    """The same integers under another shape, in C order; no computation."""

    op: ClassVar[str] = "reshape"
