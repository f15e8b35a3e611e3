"""How far the integer features are from librosa's, and whether a model minds.

In: the name of a task of recordings, and a model if there is one. Out: plain data: the histogram of
differences of the uint8 features, and the classes that a model predicts from both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrobust import tasks
from tinyrobust.errors import TaskError
from tinyrobust.evaluate.prepare import check_task
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import Model


def difference(name: str, model: Model | None = None, samples: int | None = None) -> dict[str, Any]:
    """Over the first ``samples`` test clips (all by default) of task ``name``.

    Raises TaskError when the task has no integer features, or data or librosa is missing.
    """
    task = tasks.get(name)
    if not isinstance(task, tasks.IntegerFeatures):
        raise TaskError(f"task {name} has no integer features", "speech_commands:WORDS has")
    exact, labels = task.load("test", samples)
    whole, _ = task.in_integers().load("test", samples)
    steps = whole.astype(np.int64) - exact
    values, counts = np.unique(steps, return_counts=True)
    made: dict[str, Any] = {
        "task": task.name,
        "integer_task": task.in_integers().name,
        "clips": len(labels),
        "histogram": {str(v): int(n) for v, n in zip(values, counts, strict=True)},
        "equal": float((steps == 0).mean()),
        "largest": int(np.abs(steps).max(initial=0)),
        "model": None,
    }
    if model is not None:
        check_task(task.name, model.graph)
        found, other = (interpreter.run(model.graph, x).argmax(axis=1) for x in (exact, whole))
        made["model"] = {
            "name": model.name,
            "same_class": int((found == other).sum()),
            "correct_float": int((found == labels).sum()),
            "correct_integer": int((other == labels).sum()),
        }
    return made
