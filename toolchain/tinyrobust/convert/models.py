"""Models as the user names them: the zoo, a Graph file, or a ``.tflite`` file, which is told by
its bytes: it may be called ``kws.lite`` or ``Model.TFLITE``.

In: what was typed after ``--model``. Out: a Model. A zoo folder holds a Graph, or ``model.tflite``
(a network in int8); beside a Graph there may be ``int8.tflite``, its int8 twin, called
``NAME-int8``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinyrobust import resources
from tinyrobust.errors import GraphError
from tinyrobust.graph import Graph, model
from tinyrobust.graph.model import Model
from tinyrobust.registry import nearest
from tinyrobust.tflite import importer as tflite

MODEL_FILE = "model.tflite"
TWIN_FILE = "int8.tflite"
TWIN = "-int8"  # behind the name of a model: its int8 twin


def names() -> list[str]:
    """Every model of the zoo, int8 twins too."""
    return sorted([*model.zoo(), *_tflite_files()])


def load_model(name: str) -> Model:
    """``graph.model.load_model``, and ``.tflite`` files of the zoo or of the user.

    Raises GraphError or ConvertError.
    """
    if name in (files := _tflite_files()):
        return _of_the_zoo(name, files[name])
    path = Path(name)
    if not tflite.holds_model(path) and not name.lower().endswith(tflite.SUFFIX):
        if "/" not in name and not path.exists() and name not in model.zoo():
            raise GraphError(f"no model '{name}'", nearest(name, names()))
        return model.load_model(name)
    if not path.is_file():
        raise GraphError(f"no model '{name}'", "check the path")
    graph = tflite.load(path)
    return Model(graph.name, graph, path)


def named(graph: Graph, name: str, task: str, labels: tuple[str, ...]) -> Graph:
    """``graph`` of a ``.tflite`` file, with the name, the task and the classes it was made for."""
    return replace(graph, name=name, task=task, labels=labels)


def _tflite_files() -> dict[str, Path]:
    folder = resources.root() / "models" / "zoo"
    files = {path.parent.name: path for path in folder.glob(f"[!.]*/{MODEL_FILE}")}
    return files | {path.parent.name + TWIN: path for path in folder.glob(f"[!.]*/{TWIN_FILE}")}


def _of_the_zoo(name: str, path: Path) -> Model:
    found = Model(name, tflite.load(path), path)
    if path.name == TWIN_FILE:
        original = model.load_model(str(path.parent)).graph
        task, labels = original.task, original.labels
    else:
        card = found.card()
        try:
            task, labels = str(card["task"]), tuple(map(str, card["labels"]))
        except (KeyError, TypeError) as error:
            raise GraphError(
                f"{path.parent}/card.json does not name task and labels",
                "convert the model again, or give the folder's card.json both",
            ) from error
    return Model(name, named(found.graph, name, task, labels), path)
