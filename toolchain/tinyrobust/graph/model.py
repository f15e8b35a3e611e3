"""Models by name or by file: the zoo under models/zoo, or any Graph file.

In: what the user typed after ``--model``. Out: a Model with its Graph and its folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrobust import resources
from tinyrobust.errors import GraphError
from tinyrobust.graph import file
from tinyrobust.graph.nodes import Graph
from tinyrobust.reading import MAX_JSON_BYTES, bounded, document, typed
from tinyrobust.registry import nearest

DEFAULT_MODEL = "shapes-small"


@dataclass(frozen=True)
class Model:
    """A Graph with the folder it came from; ``name`` is what builds and reports call it."""

    name: str
    graph: Graph
    path: Path

    @property
    def folder(self) -> Path:
        """Where the files beside the Graph are (train/, golden.npz, adversarial.npz, card.json)."""
        return self.path.parent

    def card(self) -> dict[str, Any]:
        """The card's figures; empty when there is no card.json."""
        card = self.folder / "card.json"
        if not card.is_file():
            return {}
        hint = "restore it from the release"
        data = bounded(card, MAX_JSON_BYTES, GraphError, hint)
        found = document(data, card, GraphError, hint)
        return typed(dict[str, Any], found, card, GraphError, hint)


def zoo() -> list[str]:
    """Names of the models in models/zoo."""
    folder = resources.root() / "models" / "zoo"
    return sorted(p.parent.name for p in folder.glob(f"[!.]*/model{file.SUFFIX}"))


def load_model(name: str) -> Model:
    """A zoo model by name, else a Graph file (or a folder that holds ``model.graph.npz``).

    Raises GraphError, suggesting the nearest zoo model, when there is neither.
    """
    path = resources.root() / "models" / "zoo" / name / f"model{file.SUFFIX}"
    if "/" not in name and path.is_file():
        return Model(name, file.load(path), path)
    path = Path(name)
    if path.is_dir():
        path = path / f"model{file.SUFFIX}"
    if not path.is_file():
        raise GraphError(f"no model '{name}'", nearest(name, zoo()))
    stem = path.name.removesuffix(file.SUFFIX)
    return Model(path.resolve().parent.name if stem == "model" else stem, file.load(path), path)
