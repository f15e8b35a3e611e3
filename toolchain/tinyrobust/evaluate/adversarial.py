"""The adversarial file, ``*.npz``; this docstring is its specification.

A numpy ``.npz`` archive without pickles:

* ``header``: uint8, UTF-8 JSON: ``schema`` "tinyrobust.adversarial/1", ``graph_sha256``,
  ``model``, ``task``, ``split``, ``seed``, ``parameters`` (by array name), ``generator``
  (versions), ``content_sha256`` over all other arrays.
* ``images_u8``: uint8 (N, H, W, C), the clean images; ``labels``: int64 (N,).
* ``<attack>[_l2][_targeted]_eps<k>``: uint8 (N, H, W, C), the adversarial images minus
  ``images_u8`` modulo 256, one for each series; they lie within k/255 of ``images_u8`` in Linf,
  or in L2 where the name says so. Differences pack far better.

A file whose hash, shapes or norms do not hold is refused. Replaying one needs no ART.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust.artefact import write_bytes
from tinyrobust.attacks import within
from tinyrobust.errors import TinyRobustError
from tinyrobust.evaluate.config import Config, Series
from tinyrobust.graph.nodes import Graph
from tinyrobust.reading import NPZ_DAMAGE

SCHEMA = "tinyrobust.adversarial/1"
MAX_FILE_BYTES = 1 << 30
_HINT = "make it again with `tinyrobust evaluate --save-adversarial FILE`"

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class AdversarialSet:
    """Clean images with labels, and their adversarial versions by Series."""

    header: Mapping[str, Any]
    images: UInt8
    labels: npt.NDArray[np.int64]
    crafted: Mapping[Series, UInt8]

    def to_bytes(self) -> bytes:
        """The file's content."""
        arrays: dict[str, npt.NDArray[Any]] = {"images_u8": self.images, "labels": self.labels}
        arrays |= {series.key: images - self.images for series, images in self.crafted.items()}
        header = dict(self.header) | {"schema": SCHEMA, "content_sha256": _hash(arrays)}
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> AdversarialSet:
        """Read and check a file. Raises TinyRobustError, in one line, when anything is wrong."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise TinyRobustError(
                    f"{path} is larger than {MAX_FILE_BYTES:,} bytes",
                    "craft fewer images into it: evaluate --samples N --save-adversarial FILE",
                )
            data = path.read_bytes()
        except OSError as error:
            raise TinyRobustError(f"cannot read {path}: {error.strerror}", "check the path") from (
                error
            )
        try:
            return _parse(data)
        except TinyRobustError as error:
            raise TinyRobustError(f"{path}: {error.message}", _HINT) from error
        except NPZ_DAMAGE as error:
            raise TinyRobustError(f"{path} is damaged or truncated ({error})", _HINT) from error

    def check_graph(self, graph: Graph) -> None:
        """Raise TinyRobustError unless the set was crafted on ``graph``."""
        made_on = str(self.header.get("graph_sha256"))
        if made_on != graph.sha256:
            raise TinyRobustError(
                f"the adversarial set was crafted on graph {made_on[:12]} "
                f"('{self.header.get('model')}'), this model is {graph.sha256[:12]}",
                "take the set of this model, or craft one with --attacks and --save-adversarial",
            )


def header_of(config: Config) -> dict[str, Any]:
    """The header of a set that an evaluation with ``config`` crafted."""
    return {
        "graph_sha256": config.graph_sha256,
        "model": config.model,
        "task": config.task,
        "split": config.split,
        "seed": config.seed,
        "parameters": dict(config.parameters),
        "generator": dict(config.generator),
    }


def _hash(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(f"{key}{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _parse(data: bytes) -> AdversarialSet:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > 8 * MAX_FILE_BYTES:
        raise TinyRobustError(f"unpacks to {size:,} bytes")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    header = json.loads(bytes(arrays.pop("header")))
    if header["schema"] != SCHEMA:
        raise TinyRobustError(f"has schema '{header['schema']}', need '{SCHEMA}'")
    if header["content_sha256"] != _hash(arrays):
        raise TinyRobustError("its content does not have the recorded hash")
    images, labels = arrays.pop("images_u8"), arrays.pop("labels")
    if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
        raise TinyRobustError(
            f"images {images.dtype} {images.shape} and labels {labels.shape} do not match"
        )
    for key, array in arrays.items():
        if array.dtype != np.uint8 or array.shape != images.shape:
            raise TinyRobustError(f"'{key}' {array.dtype} {array.shape} does not fit the images")
    crafted = {Series.parse(key): images + array for key, array in arrays.items()}
    for series, array in crafted.items():
        if series.attack is None or not within(array, images, series.eps_255, norm=series.norm):
            raise TinyRobustError(
                f"'{series.key}' is not within {series.eps_255:g}/255 of the images"
            )
    return AdversarialSet(header, images, labels.astype(np.int64), crafted)
