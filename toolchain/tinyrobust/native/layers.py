"""The engine's functions on numpy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.native.load import library

Floats = npt.NDArray[np.float32]
Passes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

EXACT = 1 << 24  # sums of integers below this are exact in float32
_LANES = 16


@dataclass(frozen=True)
class Packed:
    """A convolution's weights as the engine reads them, and their shape (OC, KH, KW, IC).

    Depthwise weights are (KH, KW, C) as they are, ``shape`` (C, KH, KW, 1).
    """

    values: Floats
    shape: tuple[int, ...]


def pack(weights: Array) -> Packed:
    """``weights`` (OC, KH, KW, IC) for ``convolve``."""
    channels = len(weights)
    blocks = -(-channels // _LANES)
    padded = np.zeros((blocks * _LANES, *weights.shape[1:]), np.float32)
    padded[:channels] = weights
    lanes = padded.reshape(blocks, _LANES, *weights.shape[1:])
    return Packed(np.ascontiguousarray(lanes.transpose(0, 2, 3, 4, 1)), weights.shape)


def has_dot() -> bool:
    """Whether ``convolve_bytes`` is faster here than ``convolve``: with AVX-512 VNNI."""
    return bool(library().tr_has_dot())


@dataclass(frozen=True)
class PackedBytes:
    """Weights for ``convolve_bytes``: int8 ``values``, what sums begin at, shape (OC, KH, KW, IC).

    ``add`` makes the input's integers bytes; ``zero`` is the byte of what counts as 0.
    """

    values: npt.NDArray[np.int8]
    start: npt.NDArray[np.int32]
    shape: tuple[int, ...]
    add: int
    zero: int


def pack_bytes(weights: Array, zero_point: int = 0, add: int = 0) -> PackedBytes:
    """``weights`` (OC, KH, KW, IC), -128..127, for sums of (x - ``zero_point``) x weights.

    x + ``add`` must be in 0..255; ``zero_point`` is also what the pads hold.
    """
    channels, rows = weights.shape[:2]
    blocks, zero = -(-channels // _LANES), zero_point + add
    flat = weights.reshape(channels, rows, -1)
    padded = np.zeros((blocks * _LANES, rows, -(-flat.shape[2] // 4) * 4), np.int8)
    padded[:channels, :, : flat.shape[2]] = flat
    start = -zero * padded.astype(np.int64).sum(axis=(1, 2))
    lanes = padded.reshape(blocks, _LANES, rows, -1, 4).transpose(0, 2, 3, 1, 4)
    return PackedBytes(
        np.ascontiguousarray(lanes), start.astype(np.int32), weights.shape, add, zero
    )


def convolve_bytes(
    x: Floats, weights: PackedBytes, out: tuple[int, ...], *, strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0), floats: bool = True,
) -> Array:  # fmt: skip
    """``convolve`` of integers that fit a byte: several times faster where ``has_dot()``, else
    slower. Sums are float32, or, without ``floats``, int32, where EXACT is no limit."""
    x = _dense(x)
    shape = _checked(x, weights.shape, out, strides, pads, (1, 1), deep=False)
    found = np.empty((len(x), *out), np.float32 if floats else np.int32)
    library().tr_conv_bytes(
        shape, (ctypes.c_int32 * 4)(*pads), _at(x), _at(weights.values), _at(weights.start),
        weights.add, weights.zero, floats, _at(found),
    )  # fmt: skip
    return found


def convolve(
    x: Floats, weights: Packed, out: tuple[int, ...], *, strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0), insert: tuple[int, int] = (1, 1),
) -> Floats:  # fmt: skip
    """Sums (N, *out) of ``x`` (N, H, W, C); ``out`` = (OH, OW, OC).

    ``pads``: (top, bottom, left, right), zeros. ``insert`` (m, n) puts m - 1 and n - 1 zeros
    between rows and columns of ``x`` first, as the backward pass of a strided convolution needs.
    """
    return _windows("tr_conv", x, weights, out, strides, pads, insert)


def depthwise(
    x: Floats, weights: Packed, out: tuple[int, ...], *, strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0), insert: tuple[int, int] = (1, 1),
) -> Floats:  # fmt: skip
    """``convolve`` of every channel by itself."""
    return _windows("tr_depthwise", x, weights, out, strides, pads, insert)


def _windows(
    name: str, x: Floats, weights: Packed, out: tuple[int, ...], strides: tuple[int, int],
    pads: tuple[int, int, int, int], insert: tuple[int, int],
) -> Floats:  # fmt: skip
    x = _dense(x)
    shape = _checked(x, weights.shape, out, strides, pads, insert, deep=name == "tr_depthwise")
    found = np.empty((len(x), *out), np.float32)
    getattr(library(), name)(
        shape, (ctypes.c_int32 * 4)(*pads), (ctypes.c_int32 * 2)(*insert), _at(x),
        _at(weights.values), _at(found),
    )  # fmt: skip
    return found


def _checked(
    x: Floats, kernel: tuple[int, ...], out: tuple[int, ...], strides: tuple[int, int],
    pads: tuple[int, int, int, int], insert: tuple[int, int], *, deep: bool,
) -> Any:  # fmt: skip
    """The engine's ``shape``; ValueError where it would read outside."""
    rows, columns = kernel[1:3]
    height = (x.shape[1] - 1) * insert[0] + 1 + pads[0] + pads[1]
    width = (x.shape[2] - 1) * insert[1] + 1 + pads[2] + pads[3]
    fits = (
        min(pads) >= 0
        and (out[0] - 1) * strides[0] + rows <= height
        and (out[1] - 1) * strides[1] + columns <= width
        and out[2] == kernel[0]
        and (deep or x.shape[3] == kernel[3])
    )
    if not fits:
        raise ValueError(f"{x.shape} with pads {pads} and kernel {kernel} gives no {out}")
    return (ctypes.c_int32 * 11)(*x.shape, *out, rows, columns, *strides)


def requantize(
    sums: Sequence[Floats], factors: Array, bias: Array, shift: int, lo: int, hi: int
) -> tuple[Floats, Passes]:
    """Node ``requantize`` of one or two branches ``sums`` (..., C), and where t is inside.

    ``factors`` float64 (branches, C): multipliers / 2**16; ``bias`` float64 (C,).
    """
    parts = [_dense(part) for part in sums]
    out, passes = np.empty(parts[0].shape, np.float32), np.empty(parts[0].shape, np.uint8)
    library().tr_requantize(
        *_rows(out), len(parts), _at(parts[0]), _at(parts[-1]), _at(factors), _at(bias), shift,
        lo, hi, _at(out), _at(passes),
    )  # fmt: skip
    return out, passes


def requantize_back(flow: Floats, passes: Passes, factors: Floats) -> Floats:
    """``flow`` (..., C) where it passes, times ``factors`` (C,)."""
    flow, out = _dense(flow), np.empty(flow.shape, np.float32)
    library().tr_requantize_back(*_rows(out), _at(flow), _at(passes), _at(factors), _at(out))
    return out


def finish_int8(
    sums: Array, bias: Array, multipliers: Array, shifts: Array, zero: int, lo: int, hi: int
) -> Floats:
    """``clamp(mbqm(sums + bias) + zero)`` per channel; (C,) each (``graph/int8.py``)."""
    sums, out = np.ascontiguousarray(sums, np.int32), np.empty(sums.shape, np.float32)
    shift = np.asarray(shifts, np.int64)
    lefts, rights = 1 << np.maximum(shift, 0), np.maximum(-shift, 0)
    masks = (1 << rights) - 1
    bias, multipliers = np.asarray(bias, np.int64), np.asarray(multipliers, np.int64)
    library().tr_finish_int8(
        *_rows(out), _at(sums), _at(bias), _at(multipliers), _at(lefts), _at(rights), _at(masks),
        zero, lo, hi, _at(out),
    )  # fmt: skip
    return out


def add_int8(
    first: Floats, second: Floats, tables: tuple[Array, Array], multiplier: int, shift: int,
    zero: int, lo: int, hi: int,
) -> Floats:  # fmt: skip
    """Node ``add_int8`` of equal shapes; ``tables``: int32 (256,) scaled value by code + 128;
    ``shift`` is at most 0."""
    first, second = _dense(first), _dense(second)
    out = np.empty(first.shape, np.float32)
    library().tr_add_int8(
        out.size, _at(first), _at(second), _at(tables[0]), _at(tables[1]), multiplier, -shift,
        zero, lo, hi, _at(out),
    )  # fmt: skip
    return out


def clamp_back(flow: Floats, values: Floats, lo: int, hi: int, factors: Floats) -> Floats:
    """``flow`` (..., C) times ``factors`` (C,) where ``values`` are strictly inside lo..hi."""
    flow, values, out = _dense(flow), _dense(values), np.empty(flow.shape, np.float32)
    library().tr_clamp_back(
        *_rows(out), _at(flow), _at(values), ctypes.c_float(lo), ctypes.c_float(hi),
        _at(factors), _at(out),
    )  # fmt: skip
    return out


def _dense(x: Array) -> Floats:
    return np.ascontiguousarray(x, np.float32)


def _rows(x: Array) -> tuple[int, int]:
    return x.size // x.shape[-1], x.shape[-1]


def _at(x: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.ctypes.data)
