"""Instructions counted on the virtual board, beside what the predictor said.

In: a Graph, a board whose virtual one counts exactly (Unicorn), forced kernels. Out: a Bench: per
layer and in all the counted and the predicted instructions, and the image's measured flash and
RAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import boards, device, image, memory, virtual
from tinyrobust.boards import Board
from tinyrobust.errors import BoardError
from tinyrobust.evaluate.published import Reference, reference
from tinyrobust.graph.nodes import Graph

SEED = 0
_SILENCE_S = 120.0  # a busy computer; one inference takes well under a second


@dataclass(frozen=True)
class LayerBench:
    """One step. Instructions per inference; ``published`` is int8's figure or None."""

    name: str
    kernel: str
    macs: int
    counted: int
    predicted: int
    published: int | None


@dataclass(frozen=True)
class Bench:
    """See the module. ``counted`` covers the whole inference, ``layers`` its steps."""

    model: str
    board: str
    graph_sha256: str
    compiler: str
    counted: int
    predicted: int
    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    layers: tuple[LayerBench, ...]
    reference: Reference | None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}


def bench(
    graph: Graph,
    board: Board,
    folder: Path,
    *,
    model_name: str,
    force: Mapping[str, str],
    aim: memory.Aim | None = None,
) -> Bench:
    """Build into ``folder``, run one seeded image on the virtual board, count.

    Raises BoardError for a board without a virtual one that counts; BudgetError, BuildError,
    LinkError and DeviceFault as building and running do.
    """
    if board.virtual != "unicorn":  # QEMU's clock ticks every 40 instructions only
        counting = [name for name in boards.names() if boards.load(name).virtual == "unicorn"]
        raise BoardError(
            f"nothing counts single instructions on board '{board.id}'",
            f"boards that do: {', '.join(counting)}",
        )
    built = image.build(graph, board, folder, model_name=model_name, force=force, aim=aim)
    plan = memory.plan(graph, board, force=force, aim=aim or memory.Aim())
    shape = graph.input.shape
    sample = np.random.default_rng(SEED).integers(0, 256, shape, np.uint8)
    with (
        virtual.start(board, built) as running,
        device.Session.open(running.port, timeout_s=_SILENCE_S, fault=running.fault) as session,
    ):
        total = session.infer(sample).cycles
        counts = session.layer_cycles()
    published = reference(graph)
    known = published.layers if published else {}
    return Bench(
        model=model_name,
        board=board.id,
        graph_sha256=graph.sha256,
        compiler=str(built.meta["versions"]["compiler"]),
        counted=int(total),
        predicted=plan.instructions,
        flash_bytes=built.memory.flash.used_bytes,
        ram_bytes=built.memory.ram.used_bytes,
        arena_bytes=built.memory.arena_bytes,
        layers=tuple(
            LayerBench(step.name, step.kernel, step.macs, int(n), step.instructions,
                       known.get(step.name))
            for step, (_, n) in zip(plan.steps, counts, strict=True)
        ),
        reference=published,
    )  # fmt: skip
