"""`tinyrobust tasks --difference`: integer features against librosa's, and what a model says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder
from tinyrobust import tasks
from tinyrobust.errors import TaskError
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import Model
from tinyrobust.prove.feature_difference import difference


def test_a_task_without_recordings_has_none() -> None:
    with pytest.raises(TaskError, match="no integer features"):
        difference("shapes")


@pytest.mark.data
@pytest.mark.audio
def test_the_histogram_and_the_classes_are_those_of_the_features(real_data: Path) -> None:
    """Real digits; a random network, which is as near a boundary as any."""
    name = "speech_commands:digits"
    task = tasks.get(name)
    builder = Builder(3, task.input_shape)
    builder.conv(8, stride=2)
    builder.requantize()
    builder.average()
    builder.dense(10)
    builder.requantize(scores=True)
    graph = dataclasses.replace(builder.graph("x", name), labels=tuple(task.labels))
    found = difference(name, Model("random", graph, Path("x")), 60)
    exact, labels = task.load("test", 60)
    whole, _ = tasks.get(f"{name}:mfcc_integer").load("test", 60)
    steps = whole.astype(int) - exact
    assert found["histogram"] == {str(v): int((steps == v).sum()) for v in (-1, 0, 1)}
    assert found["equal"] == pytest.approx((steps == 0).mean()) and found["equal"] > 0.97
    assert found["largest"] == 1 and found["integer_task"] == f"{name}:mfcc_integer"
    classes = [interpreter.run(graph, x).argmax(axis=1) for x in (exact, whole)]
    assert found["model"]["same_class"] == int((classes[0] == classes[1]).sum())
    assert found["model"]["correct_float"] == int(np.sum(classes[0] == labels))
    assert found["model"]["correct_integer"] == int(np.sum(classes[1] == labels))
