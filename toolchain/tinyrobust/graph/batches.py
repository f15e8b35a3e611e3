"""How numpy computes a network quickly: few images at a time, a thread per core, im2col by rows.

In: a count of images and what to do with a slice of them; or one convolution's input. Out: the
work done, or its patches. For the interpreter's oracle and the numpy twins.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def in_batches(count: int, size: int, work: Callable[[slice], None]) -> None:
    """``work(slice)`` for 0..count in slices of ``size``, on every core, BLAS on one thread each.

    An error in ``work`` is raised here. Nothing is called when ``count`` is 0.
    """
    places = [slice(i, i + size) for i in range(0, count, size)]
    with _one_blas_thread():
        if len(places) < 2 or cores() == 1:
            for place in places:
                work(place)
        else:
            list(_pool().map(work, places))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def patches(
    x: Array, kernel: tuple[int, ...], strides: tuple[int, int], pads: tuple[int, int, int, int],
    out: tuple[int, ...], dtype: Any,
) -> Array:  # fmt: skip
    """im2col of ``x`` (N, H, W, C): (N x OH x OW, KH x KW x C), ``out`` = (OH, OW).

    The ``KW * C`` values under one kernel row lie side by side in the padded input already.
    """
    (kh, kw), (rows, columns) = kernel, strides
    top, bottom, left, right = pads
    n, channels = len(x), x.shape[3]
    padded = np.zeros((n, x.shape[1] + top + bottom, x.shape[2] + left + right, channels), dtype)
    padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    image, row, column, item = padded.strides
    found = np.empty((n, *out, kh, kw * channels), dtype)
    for i in range(kh):
        found[:, :, :, i] = np.lib.stride_tricks.as_strided(
            padded[:, i:], (n, *out, kw * channels),
            (image, row * rows, column * columns, item), writeable=False,
        )  # fmt: skip
    return found.reshape(n * out[0] * out[1], -1)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores())  # starts its threads when first used


def _one_blas_thread() -> AbstractContextManager[Any]:
    """BLAS on one thread inside, where threadpoolctl (which ART brings) can say so."""
    controller = _controller()
    return nullcontext() if controller is None else controller.limit(limits=1, user_api="blas")


@cache
def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
    except ImportError:
        return None
    return ThreadpoolController()  # looks for libraries, which takes some 20 ms: once
