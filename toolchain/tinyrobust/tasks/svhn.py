"""``svhn``: 32x32 colour photographs of house-number digits (Netzer et al. 2011).

Comes in: the official ``train_32x32.mat`` and ``test_32x32.mat`` under ``$TINYROBUST_DATA`` or the
cache folder, there or in a folder ``svhn``. Goes out: uint8 images and labels; 73,257 train,
26,032 test. The files call the digit 0 "10"; here its label is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyrobust.errors import TaskError
from tinyrobust.tasks import _data, _mat
from tinyrobust.tasks._task import Images, Labels, Split

URL = "http://ufldl.stanford.edu/housenumbers/"
LABELS = tuple("0123456789")


@dataclass(frozen=True)
class Svhn:
    """The SVHN task, cropped digits; see the module's text."""

    name: str = "svhn"
    input_shape: tuple[int, int, int] = (32, 32, 3)
    labels: tuple[str, ...] = LABELS

    def where(self) -> str | None:
        """The folder with both official files, if there is one."""
        found = [_find(split) for split in ("train", "test")]
        return None if found[0] is None or found[1] is None else str(found[0].parent)

    def load(self, split: Split, limit: int | None = None) -> tuple[Images, Labels]:
        """Images uint8 [N,32,32,3] and labels int64 [N] of a split, in file order.

        Raises TaskError when the file is missing, truncated or another one.
        """
        path = _find(split)
        if path is None:
            raise TaskError(
                f"svhn: {_file(split)} is nowhere under {' or '.join(map(str, _data.folders()))}",
                f"fetch {URL}{_file(split)} and put it there",
            )
        images, labels = read(path)
        if limit is not None and not 0 <= limit <= len(images):
            raise TaskError(
                f"svhn has {len(images):,} {split} images, not {limit:,}",
                "ask for fewer with --samples",
            )
        return images[:limit], labels[:limit]


task = Svhn()


def read(path: Path) -> tuple[Images, Labels]:
    """Images and labels of one official file; raises TaskError naming it and what is wrong."""
    try:
        arrays = _mat.read(path.read_bytes())
    except OSError as error:
        raise TaskError(
            f"svhn: cannot read {path}: {error.strerror}", "check the file's permissions"
        ) from error
    except ValueError as error:
        raise TaskError(
            f"svhn: {path} is no whole SVHN file: {error}", f"fetch it again from {URL}"
        ) from error
    images, labels = arrays.get("X"), arrays.get("y")
    if (
        images is None
        or labels is None
        or images.dtype != np.uint8
        or images.shape[:3] != (32, 32, 3)
        or images.ndim != 4
        or labels.size != images.shape[3]
    ):
        raise TaskError(
            f"svhn: {path} does not hold 32x32 uint8 'X' with as many 'y'",
            "take the cropped digits, train_32x32.mat and test_32x32.mat",
        )
    digits = labels.astype(np.int64).reshape(-1)
    if digits.size and (digits.min() < 1 or digits.max() > 10):
        raise TaskError(
            f"svhn: {path} holds a label outside 1..10; it is not SVHN",
            "take the cropped digits, train_32x32.mat and test_32x32.mat",
        )
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), digits % 10


def _file(split: str) -> str:
    return f"{split}_32x32.mat"


def _find(split: str) -> Path | None:
    for folder in _data.folders():
        for path in (folder / _file(split), folder / "svhn" / _file(split)):
            if path.is_file():
                return path
    return None
