"""``cifar10``: 32x32 colour photographs of ten classes (Krizhevsky 2009).

Comes in: the official binary (``cifar-10-batches-bin``) or python (``cifar-10-batches-py``)
layout under ``$TINYROBUST_DATA`` or the cache folder, else a download of the official archive.
Goes out: uint8 images and labels; 50,000 train, 10,000 test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyrobust.errors import TaskError
from tinyrobust.tasks import _cifar_files
from tinyrobust.tasks._task import Images, Labels, Split

LABELS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class Cifar10:
    """The CIFAR-10 task; see the module's text."""

    name: str = "cifar10"
    input_shape: tuple[int, int, int] = (32, 32, 3)
    labels: tuple[str, ...] = LABELS

    def where(self) -> str | None:
        """The folder with the official batches, if there is one."""
        found = _cifar_files.folder()
        return None if found is None else str(found)

    def load(self, split: Split, limit: int | None = None) -> tuple[Images, Labels]:
        """Images uint8 [N,32,32,3] and labels int64 [N] of a split, in file order.

        Raises TaskError when the files are missing, truncated, or cannot be downloaded.
        """
        images: list[Images] = []
        labels: list[Labels] = []
        wanted = {"train": 50_000, "test": 10_000}[split] if limit is None else limit
        if wanted < 0 or wanted > {"train": 50_000, "test": 10_000}[split]:
            raise TaskError(
                f"cifar10 has no {wanted:,} {split} images", "ask for fewer with --samples"
            )
        for path in _cifar_files.batches(split):
            if sum(map(len, labels)) >= wanted:
                break
            part, truth = _cifar_files.read(Path(path))
            images.append(part)
            labels.append(truth)
        if not images:
            return np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.int64)
        return np.concatenate(images)[:wanted], np.concatenate(labels)[:wanted]


task = Cifar10()
