"""CIFAR-10's official file layouts.

Comes in: a split, or a batch file. Goes out: the batch files' paths; images and labels.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust.errors import TaskError
from tinyrobust.tasks import _data
from tinyrobust.tasks._task import Images, Labels, Split

ROWS = 10_000
PIXELS = 3 * 32 * 32
BATCH_BYTES = ROWS * (1 + PIXELS)
BINARY = {
    "train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["cifar-10-batches-bin/test_batch.bin"],
}
PYTHON = {
    "train": [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)],
    "test": ["cifar-10-batches-py/test_batch"],
}
ARCHIVE = _data.Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    n_bytes=170_052_171,
)


def folder() -> Path | None:
    """The first folder that holds a whole layout, or None; never downloads."""
    for root in _data.folders():
        for layout in (BINARY, PYTHON):
            paths = [root / name for name in (*layout["train"], *layout["test"])]
            if all(path.is_file() for path in paths):
                return paths[0].parent
    return None


def batches(split: Split) -> list[Path]:
    """The split's batch files, in order; downloads the official archive when there are none.

    Raises TaskError when some batches are missing or the download fails.
    """
    for folder in _data.folders():
        for layout in (BINARY, PYTHON):
            paths = [folder / name for name in layout[split]]
            missing = [path for path in paths if not path.is_file()]
            if not missing:
                return paths
            if len(missing) < len(paths):
                raise TaskError(
                    f"cifar10: {missing[0]} is missing, its neighbours are there",
                    f"put the whole {missing[0].parent.name} folder there again",
                )
    where = _data.fetch(ARCHIVE, "cifar10", [*BINARY["train"], *BINARY["test"]])
    return [where / name for name in BINARY[split]]


# What unpickling damaged bytes raises: an encoding's name may be among them.
_DAMAGE = (
    pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, MemoryError,
    TypeError, ValueError,
)  # fmt: skip


def read(path: Path) -> tuple[Images, Labels]:
    """Images uint8 [10000,32,32,3] and labels int64 [10000] of one batch file, either layout.

    Raises TaskError naming the file and its size when it is truncated or not CIFAR-10.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(
            f"cifar10: cannot read {path}: {error.strerror}", "check the file's permissions"
        ) from error
    return _binary(path, data) if path.suffix == ".bin" else _python(path, data)


def _binary(path: Path, data: bytes) -> tuple[Images, Labels]:
    if len(data) != BATCH_BYTES:
        raise TaskError(
            f"cifar10: {path} has {len(data):,} bytes, a batch has {BATCH_BYTES:,}",
            "the file is truncated or not a CIFAR-10 batch: fetch it again",
        )
    rows = np.frombuffer(data, np.uint8).reshape(ROWS, 1 + PIXELS)
    return _arrange(path, rows[:, 1:], rows[:, 0].astype(np.int64))


def _python(path: Path, data: bytes) -> tuple[Images, Labels]:
    try:
        batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except _DAMAGE as error:
        raise TaskError(
            f"cifar10: {path} ({len(data):,} bytes) is not a whole CIFAR-10 batch: {error}",
            "the file is truncated or not a CIFAR-10 batch: fetch it again",
        ) from error
    pixels = batch.get(b"data") if isinstance(batch, dict) else None
    labels = batch.get(b"labels") if isinstance(batch, dict) else None
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape != (ROWS, PIXELS)
        or not isinstance(labels, list)
        or len(labels) != ROWS
    ):
        raise TaskError(
            f"cifar10: {path} does not hold {ROWS:,} x {PIXELS:,} uint8 'data' with 'labels'",
            "put the official archive's files there again",
        )
    return _arrange(path, pixels, np.asarray(labels, np.int64))


def _arrange(path: Path, pixels: Any, labels: Labels) -> tuple[Images, Labels]:
    if labels.min() < 0 or labels.max() > 9:
        raise TaskError(
            f"cifar10: {path} holds a label outside 0..9; it is not CIFAR-10",
            "put the official archive's files there again",
        )
    planes = pixels.reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


class _Unpickler(pickle.Unpickler):
    """Only what a CIFAR-10 batch needs: a pickle can otherwise run any program."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return super().find_class(module, name)
