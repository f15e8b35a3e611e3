"""Crafted images of finished batches, so that a killed run crafts nothing twice.

In: a CraftedBatch and where it belongs. Out: the same one later, or None. Files are
``<out>/adversarial/<series>-<first>-<hash>.npz``, written atomically; the hash is that of all that
crafting depends on, which is neither the board nor its firmware image.
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

from tinyrobust.artefact import canonical_json, sha256, write_bytes
from tinyrobust.attacks import within
from tinyrobust.attacks._victim import Int64
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
    """The crafted batches under ``out`` that belong to a Config."""

    def __init__(self, out: Path, config: Config) -> None:
        self._folder = out / _FOLDER
        self._config = config

    @staticmethod
    def clear(out: Path) -> None:
        """Forget all crafted images under ``out``."""
        if (out / _FOLDER).is_dir():
            shutil.rmtree(out / _FOLDER)

    def put(
        self, series: Series, first: int, clean: UInt8, labels: Int64, batch: CraftedBatch
    ) -> None:
        """Keep ``batch``, made of ``clean`` images with ``labels``.

        Raises TinyRobustError when the disk is full.
        """
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, images=batch.images, queries=np.int64(batch.queries or 0),
            seconds=np.float64(batch.seconds or 0.0),
        )  # fmt: skip
        write_bytes(self._path(series, first, clean, labels), buffer.getvalue())

    def get(self, series: Series, first: int, clean: UInt8, labels: Int64) -> CraftedBatch | None:
        """The batch kept for ``clean`` images, None when there is none that is whole."""
        try:
            with np.load(self._path(series, first, clean, labels), allow_pickle=False) as file:
                images = file["images"]
                batch = CraftedBatch(images, int(file["queries"]), float(file["seconds"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return batch if within(images, clean, series.eps_255) else None

    def _path(self, series: Series, first: int, clean: UInt8, labels: Int64) -> Path:
        depends = {
            "graph": self._config.graph_sha256, "seed": self._config.seed,
            "parameters": self._config.parameters.get(series.key),
            "generator": dict(self._config.generator),
            "images": sha256(clean.tobytes()), "labels": labels.tolist(),
        }  # fmt: skip
        mark = sha256(canonical_json(depends).encode())[:16]
        return self._folder / f"{series.key}-{first:06d}-{mark}.npz"
