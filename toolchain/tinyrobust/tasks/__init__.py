"""Tasks: the data sets that networks learn and are evaluated on. One file per task.

Comes in: a task's name. Goes out: a ``Task`` that loads uint8 images and labels.
"""

from __future__ import annotations

from typing import Any

from tinyrobust.errors import TaskError
from tinyrobust.registry import discover, nearest
from tinyrobust.tasks._data import download_progress
from tinyrobust.tasks._task import (
    Images,
    IntegerFeatures,
    Labels,
    Perturbation,
    Perturbing,
    Split,
    Task,
)

__all__ = [
    "Images",
    "IntegerFeatures",
    "Labels",
    "Perturbation",
    "Perturbing",
    "Split",
    "Task",
    "download_progress",
    "get",
    "names",
]


def names() -> list[str]:
    """Names of all tasks."""
    return sorted(discover(__name__, "task"))


def get(name: str) -> Task:
    """The task called ``name``, with options behind a colon where it takes some.

    Raises TaskError with the nearest known name, or about the options.
    """
    found = discover(__name__, "task")
    name, colon, options = name.partition(":")
    if name not in found:
        raise TaskError(f"unknown task '{name}'", nearest(name, found))
    task: Any = found[name]
    if colon:
        if not hasattr(task, "with_options"):
            raise TaskError(
                f"task {name} takes no options, not even '{options}'", "write the task's name alone"
            )
        task = task.with_options(options)
    chosen: Task = task
    return chosen
