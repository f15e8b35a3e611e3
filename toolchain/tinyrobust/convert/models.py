"""Models as the user names them: the zoo, a Graph file, or a ``.tflite`` file.

In: what was typed after ``--model``. Out: a Model.
"""

from __future__ import annotations

from pathlib import Path

from tinyrobust.convert import tflite
from tinyrobust.errors import GraphError
from tinyrobust.graph import model
from tinyrobust.graph.model import Model


def load_model(name: str) -> Model:
    """``graph.model.load_model``, and ``.tflite`` files, converted on the way.

    Raises GraphError or ConvertError.
    """
    if not name.endswith(tflite.SUFFIX):
        return model.load_model(name)
    path = Path(name)
    if not path.is_file():
        raise GraphError(f"no model '{name}'", "check the path")
    graph = tflite.load(path)
    return Model(graph.name, graph, path)
