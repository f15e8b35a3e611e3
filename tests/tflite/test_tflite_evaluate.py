"""`.tflite` models under attack: the task is the user's word; the twin's gradients are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tflite_cases import CASES
from tests.tflite_models import Op, T, constant, write
from tinyrobust import graph
from tinyrobust.attacks import GraphVictim
from tinyrobust.errors import TaskError
from tinyrobust.evaluate.prepare import Wish, prepare
from tinyrobust.graph.model import Model
from tinyrobust.tflite import importer as tflite
from tinyrobust.twin.int8 import TwinInt8


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """32x32x3 to ten classes: a strided average and one dense layer."""
    rng = np.random.default_rng(2)
    tensors = [
        T((1, 32, 32, 3), 1.0, -128), T((1, 4, 4, 3), 1.0, -128), T((1, 48), 1.0, -128),
        constant(rng.integers(-127, 128, (10, 48)).astype(np.int8), 0.01), T((1, 10), 4.0, 3),
    ]  # fmt: skip
    pool = {"Padding": 1, "StrideH": 8, "StrideW": 8, "FilterHeight": 8, "FilterWidth": 8,
            "FusedActivationFunction": 0}  # fmt: skip
    ops = [
        Op("AVERAGE_POOL_2D", [0], [1], "Pool2DOptions", pool),
        Op("RESHAPE", [1], [2]),
        Op("FULLY_CONNECTED", [2, 3], [4], "FullyConnectedOptions", {"FusedActivationFunction": 0}),
    ]
    path = tmp_path / "net.tflite"
    path.write_bytes(write(tensors, ops, [0], [4]))
    return Model("net", tflite.load(path), path)


def wish(task: str | None, attack: str) -> Wish:
    return Wish(task, 3, (attack,), (8,), 0, None)


def test_a_task_must_be_named(model: Model) -> None:
    with pytest.raises(TaskError, match="names no task") as error:
        prepare(model, "nucleo-h743", "0" * 64, wish(None, "noise"))
    assert "give --task: cifar10, shapes" in str(error.value)


def test_the_classes_need_no_names(model: Model) -> None:
    ready = prepare(model, "nucleo-h743", "0" * 64, wish("shapes", "noise"))
    assert ready.config.task == "shapes" and len(ready.images) == 3


def test_the_victim_is_the_interpreter(model: Model) -> None:
    victim = GraphVictim(model.graph)
    x = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(victim.scores(x), graph.run(model.graph, x))
    loss, gradient = victim.loss_and_gradient(x, np.zeros(5, np.int64))
    assert loss.shape == (5,) and gradient.shape == x.shape and np.abs(gradient).max() > 0


TABLES = {
    "LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "QUANTIZE",
    "ABS", "EXP", "LOG", "RSQRT", "ELU", "GELU", "PRELU", "several samples",
    "SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND",
}  # fmt: skip
# Operators whose smooth form is differentiable almost everywhere.
SMOOTH = [name for name in CASES if "edges" not in name]


@pytest.mark.parametrize("operator", SMOOTH)
def test_gradients_are_those_of_the_smooth_function(operator: str) -> None:
    rng = np.random.default_rng(7)
    checked = 0
    for _ in range(3):
        net = tflite.from_bytes(CASES[operator](rng), name="case")
        twin = TwinInt8(net, smooth=True)
        x = rng.uniform(60, 200, (1, *net.input.shape))
        values = twin._forward(x)
        flow = rng.normal(size=(1, twin.logits(x).size))
        gradient = twin.gradient_of(values, flow)
        for _ in range(4):  # along random directions, from both sides
            step = rng.normal(size=x.shape) * 1e-4
            ends = [(twin.logits(x + s * step) / twin.logit_scale * flow).sum() for s in (1, -1)]
            middle = (twin.logits(x) / twin.logit_scale * flow).sum()
            if not np.isclose(ends[0] - middle, middle - ends[1], rtol=1e-3, atol=1e-9):
                continue  # a corner between the two
            slope = (gradient * step).sum()
            if operator in TABLES:
                continue
            np.testing.assert_allclose((ends[0] - ends[1]) / 2, slope, rtol=1e-3, atol=1e-8)
            checked += 1
        exact = TwinInt8(net).logits(x.astype(np.uint8))
        assert np.all(np.isfinite(exact)) and gradient.shape == x.shape
    assert checked >= 4 or operator in TABLES


def test_a_table_passes_half_the_difference_of_its_neighbours() -> None:
    net = tflite.from_bytes(CASES["TANH"](np.random.default_rng(1)), name="case")
    table = net.nodes[1].arrays["table"].astype(float)
    x = np.full((1, *net.input.shape), 128 + 5, np.uint8)
    twin = TwinInt8(net)
    gradient = twin.gradient_of(twin._forward(x), np.ones((1, net.output.size)))
    assert np.all(gradient == (table[5 + 129] - table[5 + 127]) / 2)


def test_the_loss_looks_behind_a_softmax() -> None:
    rng = np.random.default_rng(3)
    tensors = [T((1, 1, 1, 6), 0.5, 0), T((1, 6), 0.5, 0), T((1, 6), 1 / 256, -128)]
    ops = [Op("RESHAPE", [0], [1]), Op("SOFTMAX", [1], [2], "SoftmaxOptions", {"Beta": 1.0})]
    net = tflite.from_bytes(write(tensors, ops, [0], [2]), name="case")
    x = rng.integers(0, 256, (4, 1, 1, 6), dtype=np.uint8)
    loss, gradient = TwinInt8(net).loss_and_gradient(x, np.arange(4))
    z = (x.reshape(4, 6).astype(float) - 128) * 0.5
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(loss, -np.log(p[np.arange(4), np.arange(4)]))
    np.testing.assert_allclose(gradient.reshape(4, 6), (p - np.eye(6)[:4]) * 0.5, atol=1e-12)
