"""Constants of a QONNX file: weights through their quantisers, and trits out of weights.

In: numpy arrays of initialisers. Out: the real values, in the file's own float32 arithmetic, so
that a weight on the edge of two codes falls where qonnx's executor puts it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import ConvertError

Real = npt.NDArray[np.float64]
ROUNDING: dict[str, Any] = {
    "ROUND": np.round, "HALF_EVEN": np.round, "FLOOR": np.floor, "CEIL": np.ceil, "DOWN": np.fix,
    "ROUND_TO_ZERO": np.fix,
}  # fmt: skip


def code_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The smallest and largest code of a Quant node (qonnx, ``min_int`` and ``max_int``)."""
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def quantize(
    where: str, x: Any, scale: Any, zero: Any, bits: int, *, signed: bool, narrow: bool, mode: str
) -> Any:
    """Quant of a constant ``x``. Raises ConvertError for a rounding mode that is not known."""
    y = x / scale + zero
    if bits == 1 and signed:
        codes = np.where(y >= 0, 1, -1).astype(y.dtype)
    else:
        if mode not in ROUNDING:
            raise ConvertError(
                f"{where} rounds its weights by {mode}", f"use one of {', '.join(ROUNDING)}"
            )
        low, high = code_range(bits, signed, narrow)
        codes = ROUNDING[mode](np.clip(y, low, high))
    return (codes - zero) * scale


def trits(where: str, weights: Any) -> tuple[npt.NDArray[np.int8], Real]:
    """Trits and one scale per output channel of real ``weights`` (OC, ...).

    A channel may hold one size besides zero. Raises ConvertError naming the first that does not.
    """
    flat = np.abs(np.asarray(weights, np.float64).reshape(len(weights), -1))
    if not np.isfinite(flat).all():
        raise ConvertError(f"{where} has weights that are not finite", "train again")
    scale = flat.max(axis=1)
    bad = np.flatnonzero(((flat != 0) & (flat != scale[:, None])).any(axis=1))
    if bad.size:
        levels = len(np.unique(np.asarray(weights)[bad[0]]))
        raise ConvertError(
            f"{where} has {levels} levels of weights in output channel {bad[0]}, a ternary layer "
            "has -s, 0 and +s", "use a ternary or binary weight quantiser with one scale per "
            "tensor or per output channel",
        )  # fmt: skip
    return np.sign(weights).astype(np.int8), scale
