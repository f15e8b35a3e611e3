"""The order of channels that ``convert`` gave a model's Graph: ``order.json`` beside the Graph.

In: what ``graph/reorder.py`` found. Out: the file, and back the Graph as the trained model has it.
The file: ``{"schema": "tinyrobust.order/1", "graph_sha256", "trained_sha256": of the Graph before,
"cost": {"before", "after"}, "orders": {tensor: [the earlier channel at each position]}}``. A model
without the file has the order it was trained in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tinyrobust.artefact import write_json
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph
from tinyrobust.graph.reorder import Order, Reordered, apply, inverse
from tinyrobust.reading import MAX_JSON_BYTES, bounded, document, typed

FILE = "order.json"
SCHEMA: Literal["tinyrobust.order/1"] = "tinyrobust.order/1"


class _Cost(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    before: float
    after: float


_AGAIN = "convert the model again"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    schema_: Literal["tinyrobust.order/1"] = Field(alias="schema")
    graph_sha256: str
    trained_sha256: str
    cost: _Cost
    orders: dict[str, list[Annotated[int, Field(strict=True, ge=0, lt=1 << 20)]]]


def save(folder: Path, before: Graph, made: Reordered) -> None:
    """Write the file; none when the order did not change."""
    if made.orders:
        write_json(folder / FILE, {
            "schema": SCHEMA,
            "graph_sha256": made.graph.sha256,
            "trained_sha256": before.sha256,
            "cost": {"before": made.before, "after": made.after},
            "orders": {name: order.tolist() for name, order in made.orders.items()},
        })  # fmt: skip


def load(folder: Path, graph: Graph) -> dict[str, Order]:
    """The order of every tensor of ``graph`` that has another one than the trained model.

    Raises ConvertError when the file is damaged or belongs to another Graph.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    data = bounded(path, MAX_JSON_BYTES, ConvertError, _AGAIN)
    found = typed(_File, document(data, path, ConvertError, _AGAIN), path, ConvertError, _AGAIN)
    if found.graph_sha256 != graph.sha256:
        raise ConvertError(f"{path} is of another Graph", _AGAIN)
    for name, order in found.orders.items():
        tensor = graph.tensor.get(name)
        if tensor is None or sorted(order) != list(range(tensor.shape[-1])):
            raise ConvertError(f"{path} is damaged: no order of the channels of '{name}'", _AGAIN)
    return {name: np.array(order, np.int64) for name, order in found.orders.items()}


def as_trained(folder: Path, graph: Graph) -> Graph:
    """``graph`` with the channels in the order of the trained model. Raises as ``load``."""
    orders = load(folder, graph)
    return apply(graph, inverse(orders)) if orders else graph
