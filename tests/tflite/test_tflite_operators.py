"""Every operator of a ``.tflite`` file: the numpy interpreter equals TensorFlow Lite's reference
kernels (``BUILTIN_REF``) on every element, over random shapes, options and quantisation."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.tflite_cases import CASES
from tinyrobust import graph
from tinyrobust.tflite import importer as tflite
from tinyrobust.tflite.reference import Reference

pytestmark = pytest.mark.train

MODELS = int(os.environ.get("TINYROBUST_CASES", "60"))  # of each operator
INPUTS = 4


def inputs(rng: np.random.Generator, net: graph.Graph, count: int) -> np.ndarray:
    """Uniform bytes; the first two inputs are the smallest and the largest value everywhere."""
    x = rng.integers(0, 256, (count, *net.input.shape), dtype=np.uint8)
    x[0], x[1] = 0, 255
    return x


@pytest.mark.parametrize("operator", CASES)
def test_operator(operator: str, record_property: Callable[[str, object], None]) -> None:
    rng = np.random.default_rng(zlib.crc32(operator.encode()))
    elements = 0
    for case in range(MODELS):
        data = CASES[operator](rng)
        net = tflite.from_bytes(data, name="case")
        x = inputs(rng, net, INPUTS)
        found, wanted = graph.run(net, x), Reference(data, net).scores(x)
        np.testing.assert_array_equal(found, wanted, err_msg=f"{operator}, case {case}")
        elements += wanted.size
    record_property("models", MODELS)
    record_property("elements", elements)
    assert elements >= MODELS * INPUTS
