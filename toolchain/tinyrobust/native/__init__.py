"""Layers compiled for this very processor: what attacks ask hundreds of thousands of times.

In: float32 tensors (N, H, W, C) that hold integers (forward) or gradients (backward), dense and
contiguous, and weights packed once. Out: float32 tensors, equal to the interpreter's on every
integer; the caller proves that sums stay below EXACT. ``engine.cpp`` is compiled at first use and
kept in the object cache. It is no firmware: the device's kernels are in ``firmware/``.
"""

from tinyrobust.native.layers import (
    EXACT,
    Packed,
    PackedBytes,
    add_int8,
    clamp_back,
    convolve,
    convolve_bytes,
    depthwise,
    finish_int8,
    has_dot,
    pack,
    pack_bytes,
    requantize,
    requantize_back,
)
from tinyrobust.native.load import available, check

__all__ = [
    "EXACT", "Packed", "PackedBytes", "add_int8", "available", "check", "clamp_back", "convolve",
    "convolve_bytes", "depthwise", "finish_int8", "has_dot", "pack", "pack_bytes", "requantize",
    "requantize_back",
]  # fmt: skip
