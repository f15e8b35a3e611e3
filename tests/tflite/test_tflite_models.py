"""Whole ``.tflite`` models: the numpy interpreter and the firmware's host build equal TensorFlow
Lite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tflite_architectures import convert
from tinyrobust import graph, image
from tinyrobust.tflite import importer as tflite
from tinyrobust.tflite.file import parse
from tinyrobust.tflite.reference import Reference

pytestmark = [pytest.mark.train, pytest.mark.slow]


def check(data: bytes, count: int, folder: Path) -> graph.Graph:
    """Equal scores on ``count`` random inputs, equal tensors on four; ``folder``: for the build."""
    net = tflite.from_bytes(data, name="model")
    x = np.random.default_rng(7).integers(0, 256, (count, *net.input.shape), dtype=np.uint8)
    reference = Reference(data, net)
    wanted = reference.scores(x)
    np.testing.assert_array_equal(graph.run(net, x), wanted)
    host = image.HostModel(image.host_library(net, folder))
    np.testing.assert_array_equal(host.predict(x), wanted)
    traced = graph.trace(net, x[:4])
    for name, values in reference.trace(x[:4]).items():
        np.testing.assert_array_equal(traced[name], values, err_msg=name)
    return net


@pytest.mark.data
@pytest.mark.parametrize("name", ["ic_resnet8", "kws_dscnn"])
def test_published_model(name: str, real_data: Path, tmp_path: Path) -> None:
    check((real_data / "mlperf-tiny" / f"{name}_int8.tflite").read_bytes(), 200, tmp_path)


@pytest.mark.parametrize(
    ("name", "macs", "count"),
    [("autoencoder", 264_192, 200), ("mobilenet", 7_489_664, 10), ("wakeword", None, 40)],
)
def test_architecture(name: str, macs: int | None, count: int, tmp_path: Path) -> None:
    net = check(convert(name), count, tmp_path)
    if macs is not None:
        assert sum(net.macs(node) for node in net.nodes) == macs


@pytest.mark.parametrize("edge", ["int8", "uint8", "float32"])
def test_many_operators(edge: str, tmp_path: Path) -> None:
    data = convert("many", edge)
    codes = {operator.code for operator in parse(data, "model").operators}
    assert len(codes) >= 20, codes
    check(data, 40 if edge == "int8" else 10, tmp_path)


def test_hard_swish(tmp_path: Path) -> None:
    data = convert("hard_swish")
    assert "HARD_SWISH" in {operator.code for operator in parse(data, "model").operators}
    check(data, 100, tmp_path)


def test_open_batch(tmp_path: Path) -> None:
    data = convert("open_batch")
    codes = {operator.code for operator in parse(data, "model").operators}
    assert {"SHAPE", "PACK", "GATHER", "REDUCE_PROD", "SPACE_TO_BATCH_ND"} <= codes
    check(data, 40, tmp_path)
