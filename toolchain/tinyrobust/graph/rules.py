"""What the verifiers of both families check with.

In: a claim about a Graph. Out: nothing, or GraphError where it does not hold.
"""

from __future__ import annotations

from tinyrobust.errors import GraphError
from tinyrobust.graph.base import Node, Tensor


def need(condition: bool, where: str, what: str) -> None:
    """Raise GraphError naming ``where`` and ``what`` unless ``condition``."""
    if not condition:
        raise GraphError(f"{where}: {what}", "the Graph is damaged or was made by other code")


def inputs(node: Node, sources: list[Tensor], n: int, rank: int | None = None) -> None:
    """``node`` has ``n`` inputs, each of ``rank`` axes where one is given."""
    need(len(sources) == n, f"node '{node.name}'", f"has {len(sources)} inputs, needs {n}")
    for source in sources:
        need(
            rank is None or len(source.shape) == rank, f"node '{node.name}'",
            f"input '{source.name}' has shape {source.shape}, needs rank {rank}",
        )  # fmt: skip


def windows(size: int, kernel: int, stride: int, before: int = 0, after: int = 0) -> int:
    """Output length of a sliding window along one axis (0 or less: it does not fit)."""
    return (size + before + after - kernel) // stride + 1
