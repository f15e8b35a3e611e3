"""Tasks: the data sets that networks learn and are evaluated on. One file per task.

Comes in: a task's name. Goes out: a ``Task`` that loads uint8 images and labels.
"""

from __future__ import annotations

from tinyrobust.errors import TaskError
from tinyrobust.registry import discover, nearest
from tinyrobust.tasks._data import download_progress
from tinyrobust.tasks._task import Images, Labels, Split, Task

__all__ = ["Images", "Labels", "Split", "Task", "download_progress", "get", "names"]


def names() -> list[str]:
    """Names of all tasks."""
    return sorted(discover(__name__, "task"))


def get(name: str) -> Task:
    """The task called ``name``; raises TaskError with the nearest known name."""
    found = discover(__name__, "task")
    if name not in found:
        raise TaskError(f"unknown task '{name}'", nearest(name, found))
    task: Task = found[name]
    return task
