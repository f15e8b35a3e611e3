"""The interpreter of family ``tflite`` against TensorFlow Lite's committed outputs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.golden.make_tflite_golden import FILE, SCHEMA
from tests.tflite_cases import CASES
from tinyrobust import graph
from tinyrobust.graph import file
from tinyrobust.tflite import importer as tflite


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(FILE, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def test_the_header_names_generator_version_and_seed(golden: dict[str, np.ndarray]) -> None:
    header = json.loads(bytes(golden["header"]))
    assert header["schema"] == SCHEMA and header["version"] == "2.15.1"
    assert {"generator", "seed"} <= set(header)
    assert header["operators"] == list(CASES)


@pytest.mark.parametrize("operator", CASES)
def test_operator(operator: str, golden: dict[str, np.ndarray]) -> None:
    keys = [k.removesuffix("/model") for k in golden if k.startswith(f"{operator}/")]
    models = sorted({k for k in keys if f"{k}/model" in golden})
    assert len(models) == json.loads(bytes(golden["header"]))["models"]
    for key in models:
        net = tflite.from_bytes(bytes(golden[f"{key}/model"]), name="case")
        scores = graph.run(net, golden[f"{key}/inputs"])
        np.testing.assert_array_equal(scores, golden[f"{key}/scores"], err_msg=key)
        again = file.from_bytes(file.to_bytes(net))
        assert again.sha256 == net.sha256
        np.testing.assert_array_equal(graph.run(again, golden[f"{key}/inputs"]), scores)
