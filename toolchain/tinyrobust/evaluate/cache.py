"""Crafted images of finished batches, so that a killed run crafts nothing twice.

In: a CraftedBatch and where it belongs. Out: the same one later, or None. Files are
``<out>/adversarial/<config hash>/<series>-<first>.npz``, written atomically.
"""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust.artefact import write_bytes
from tinyrobust.attacks import within
from tinyrobust.evaluate.adversarial import UInt8
from tinyrobust.evaluate.config import Config, Series

_FOLDER = "adversarial"


@dataclass(frozen=True)
class CraftedBatch:
    """Adversarial images of one batch; ``queries`` and ``seconds`` are None when replayed."""

    images: UInt8
    queries: int | None = None
    seconds: float | None = None

    def record(self, clean: UInt8) -> dict[str, Any]:
        """The fields of the batch record that come from crafting."""
        distance = np.abs(self.images.astype(np.int16) - clean.astype(np.int16))
        return {
            "queries": self.queries,
            "craft_s": self.seconds,
            "distance_255": int(distance.max(initial=0)),
        }


class Cache:
    """The crafted batches of one Config under ``out``."""

    def __init__(self, out: Path, config: Config) -> None:
        self._folder = out / _FOLDER / config.sha256[:16]

    @staticmethod
    def clear(out: Path) -> None:
        """Forget all crafted images under ``out``."""
        if (out / _FOLDER).is_dir():
            shutil.rmtree(out / _FOLDER)

    def put(self, series: Series, first: int, batch: CraftedBatch) -> None:
        """Keep ``batch``. Raises TinyRobustError when the disk is full."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, images=batch.images, queries=np.int64(batch.queries or 0),
            seconds=np.float64(batch.seconds or 0.0),
        )  # fmt: skip
        write_bytes(self._path(series, first), buffer.getvalue())

    def get(self, series: Series, first: int, clean: UInt8) -> CraftedBatch | None:
        """The batch kept for ``clean`` images, None when there is none that is whole."""
        try:
            with np.load(self._path(series, first), allow_pickle=False) as file:
                images = file["images"]
                batch = CraftedBatch(images, int(file["queries"]), float(file["seconds"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return batch if within(images, clean, series.eps_255) else None

    def _path(self, series: Series, first: int) -> Path:
        return self._folder / f"{series.key}-{first:06d}.npz"
