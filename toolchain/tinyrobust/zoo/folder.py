"""What every folder of the zoo has in common: golden vectors, and being there whole or not at all.

In: a Graph and its test images. Out: ``golden.npz`` (no pickles): ``header`` (uint8, UTF-8 JSON:
schema, generator, version, seed, graph_sha256), ``images`` uint8 (N, H, W, C), ``labels`` int64
(N,), ``scores`` int32 (N, K), and ``trace/<tensor>`` int32 for the first ``traced`` images.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyrobust
from tinyrobust.graph import Graph, interpreter

GOLDEN_SCHEMA = "tinyrobust.golden/1"
GOLDEN_SEED = 2024
GOLDEN_IMAGES = 20
TRACED_IMAGES = 2
TRACED_INTEGERS = 1 << 18  # of a large network one image is enough
Say = Callable[[str], None]


def golden(graph: Graph, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> bytes:
    """The content of ``golden.npz``: GOLDEN_IMAGES of ``images``, drawn with GOLDEN_SEED."""
    size = sum(tensor.size for tensor in graph.tensors)
    traced = max(1, min(TRACED_IMAGES, TRACED_INTEGERS // size))
    rng = np.random.default_rng(GOLDEN_SEED)
    picked = np.sort(rng.permutation(len(images))[:GOLDEN_IMAGES])
    header = {
        "schema": GOLDEN_SCHEMA, "generator": "tinyrobust convert (numpy interpreter)",
        "version": tinyrobust.__version__, "seed": GOLDEN_SEED, "graph_sha256": graph.sha256,
        "test_indices": picked.tolist(), "traced": traced,
    }  # fmt: skip
    arrays: dict[str, Any] = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "images": images[picked],
        "labels": labels[picked],
        "scores": interpreter.run(graph, images[picked]),
    }
    for name, value in interpreter.trace(graph, images[picked[:traced]]).items():
        arrays[f"trace/{name}"] = value
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
