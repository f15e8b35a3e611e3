"""Crafted images of finished batches, so that a killed run crafts nothing twice.

In: a CraftedBatch and where it belongs. Out: the same one later, or None. Files are
``<out>/adversarial/<series>-<first>-<hash>.npz``, written atomically; the hash is that of all that
crafting depends on, which is neither the board nor its firmware image.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust.artefact import canonical_json, sha256, write_bytes
from tinyrobust.attacks import distance, within
from tinyrobust.attacks._victim import Int64
from tinyrobust.evaluate.adversarial import UInt8
from tinyrobust.evaluate.config import Config, Series
from tinyrobust.reading import NPZ_DAMAGE

_FOLDER = "adversarial"
# Oracles on the host that give the same integers, and so the same images. A device does too, but
# one that was asked is to be asked.
_EXACT = ("interpreter", "native", "host")


@dataclass(frozen=True)
class CraftedBatch:
    """Adversarial images of one batch, and what is known of them: ``details`` is plain data, the
    fields of a batch record that come from crafting (``journal.py``); empty when replayed.
    ``found``: a minimum-norm attack's images, whatever their size."""

    images: UInt8
    details: Mapping[str, Any] = field(default_factory=dict)
    found: UInt8 | None = None

    def record(self, clean: UInt8) -> dict[str, Any]:
        """The fields of the batch record that come from crafting."""
        return {
            "queries": None, "craft_s": None, **self.details,
            "distance_255": int(distance(self.images, clean, "linf").max(initial=0)),
            "distance_l2": round(float(distance(self.images, clean, "l2").max(initial=0)), 2),
        }  # fmt: skip


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
        details = np.frombuffer(canonical_json(dict(batch.details)).encode(), np.uint8)
        arrays = {"images": batch.images, "details": details}
        if batch.found is not None:
            arrays["found"] = batch.found
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_bytes(self._path(series, first, clean, labels), buffer.getvalue())

    def get(self, series: Series, first: int, clean: UInt8, labels: Int64) -> CraftedBatch | None:
        """The batch kept for ``clean`` images, None when there is none that is whole."""
        try:
            with np.load(self._path(series, first, clean, labels), allow_pickle=False) as file:
                images = file["images"]
                found = file["found"] if "found" in file.files else None
                batch = CraftedBatch(images, json.loads(bytes(file["details"])), found)
        except NPZ_DAMAGE:
            return None
        if found is not None and found.shape != clean.shape:
            return None
        return batch if within(images, clean, series.eps_255, norm=series.norm) else None

    def first_of(self, series: Series) -> Series:
        """The first wanted series that shares the search of ``series``; for a minimum-norm attack
        (eps 0: what it keeps) its parameters do not depend on the size."""
        wanted = (s for s in self._config.attacks if s.search == series.search)
        return next(wanted, series)

    def _path(self, series: Series, first: int, clean: UInt8, labels: Int64) -> Path:
        depends: dict[str, Any] = {
            "graph": self._config.graph_sha256, "seed": self._config.seed,
            "parameters": self._config.parameters.get(
                series.key if series.eps_255 else self.first_of(series).key
            ),
            "generator": dict(self._config.generator),
            "images": sha256(clean.tobytes()), "labels": labels.tolist(),
        }  # fmt: skip
        if self._config.oracle not in _EXACT:
            depends["oracle"] = self._config.oracle
        mark = sha256(canonical_json(depends).encode())[:16]
        return self._folder / f"{series.key}-{first:06d}-{mark}.npz"
