"""`.tflite` models under attack: the task is the user's word, and only black-box attacks apply."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tflite_models import Op, T, constant, write
from tinyrobust import graph
from tinyrobust.attacks import GraphVictim
from tinyrobust.convert import tflite
from tinyrobust.errors import GraphError, TaskError, TinyRobustError
from tinyrobust.evaluate.prepare import Wish, prepare
from tinyrobust.graph.model import Model


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


def test_white_box_attacks_are_refused(model: Model) -> None:
    with pytest.raises(TinyRobustError, match=r"pgd: 'net' is of family 'tflite'") as error:
        prepare(model, "nucleo-h743", "0" * 64, wish("shapes", "pgd"))
    assert "--attacks square" in str(error.value)


def test_the_victim_is_the_interpreter(model: Model) -> None:
    victim = GraphVictim(model.graph)
    x = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(victim.scores(x), graph.run(model.graph, x))
    with pytest.raises(GraphError, match="has no gradients"):
        victim.loss_and_gradient(x, np.zeros(5, np.int64))
