"""PyTorch networks as litert-torch and ai-edge-quantizer write them: int8, their default settings.

Each is channels first, so that the converter puts transposes around its convolutions; heads are a
mean over the image, an adaptive average pool, an average pool, and a flatten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyrobust.graph import interpreter
from tinyrobust.tflite import importer

pytestmark = [pytest.mark.cases, pytest.mark.train]


@pytest.mark.parametrize(
    "name", ["pt_int8", "pt_nhwc_int8", "h_adapt_i8", "h_avgpool_i8", "h_flatten_i8"]
)
def test_the_integers_are_tensorflow_lite_s(name: str, public_cases: Path) -> None:
    from tinyrobust.tflite.reference import Reference

    path = public_cases / "tflite" / f"{name}.tflite"
    graph = importer.load(path)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3, *graph.input.shape), dtype=np.uint8)
    found = interpreter.run(graph, images)
    np.testing.assert_array_equal(Reference(path.read_bytes(), graph).scores(images), found)
    assert np.ptp(found) > 0
