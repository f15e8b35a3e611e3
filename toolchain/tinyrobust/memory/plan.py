"""The Plan: what ``codegen`` writes down, decided completely beforehand by ``planner``.

A frozen record of a kernel per layer and why, an offset for every tensor and every scratch
buffer, the executable memory, and the predicted costs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from tinyrobust.artefact import canonical_json, sha256
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import HWC, Kernel, Layer, Ports, Way, catalogue, copy_name
from tinyrobust.kernels.layers import ELEMENT_BYTES
from tinyrobust.memory.lifetimes import IMAGE, image_name

SCHEMA = "tinyrobust.plan/1"
Optimize = Literal["auto", "speed", "size", "balanced"]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the arena: ``count`` elements of ``type`` at ``offset`` bytes.

    In another layout than ``hwc`` ``count`` includes what the layout adds.
    """

    offset: int
    count: int
    type: str  # u8, i8, i16, i32
    layout: str = HWC

    @property
    def bytes(self) -> int:
        """Bytes in the arena."""
        return self.count * ELEMENT_BYTES[self.type]


@dataclass(frozen=True)
class Step:
    """A layer with its kernel. ``scratch_offset`` is 0 where ``scratch_bytes`` is 0.

    ``nodes`` are the Graph's nodes it computes, ``reads`` and ``output`` tensors; ``variant`` and
    ``layout`` (of the ports ``source``, ``operand`` and ``output``) say in which way. The
    predicted costs are bytes, and instructions and cycles per inference (cycles of the Cortex-M4
    model; None where the kernel states none). ``kept_code_offset`` counts from the start of the
    executable memory; the first ``Plan.code_ram_bytes`` are the layers' shared buffer.
    """

    name: str
    op: str
    kernel: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    output: str
    macs: int
    scratch_offset: int
    scratch_bytes: int
    flash_weights: int
    flash_tables: int
    instructions: int
    cycles: int | None
    variant: dict[str, int]
    layout: dict[str, str]
    code_ram_bytes: int
    kept_code_bytes: int
    kept_code_offset: int


@dataclass(frozen=True)
class Choice:
    """Why a layer has its kernel; ``costs`` of every choice there was, as ``--kernel`` takes it."""

    layer: str
    kernel: str
    choice: str
    why: str
    costs: dict[str, dict[str, int | None]]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that generated code needs; see the module.

    ``layers``: one per step: the Graph's, and a ``LayoutChange`` wherever a tensor is written
    once more in another layout. ``places``: every tensor that exists on the device (copies in
    another layout under ``copy_name``), and the raw inputs (``image_name``). ``code_bytes``: flash
    of the kernels in use, measured when they were calibrated. ``code_ram_bytes``: executable RAM
    that the layers share; ``code_memory``: where that and the kept code lie ("" when there is
    none), ``code_cached``: when it goes through caches. ``optimize``: what the plan is best at,
    as ``Aim`` says.
    """

    graph: Graph
    board: str
    core: str
    layers: tuple[Layer, ...]
    steps: tuple[Step, ...]
    places: dict[str, Place]
    arena_bytes: int
    arena_lower_bound_bytes: int
    code_bytes: int
    code_ram_bytes: int
    code_memory: str
    code_cached: bool
    optimize: Optimize
    choices: tuple[Choice, ...]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels in use, by id."""
        return tuple(catalogue()[k] for k in sorted({s.kernel for s in self.steps}))

    @property
    def image(self) -> Place:
        """Where the first input is written before a run."""
        return self.places[IMAGE]

    @property
    def state_bytes(self) -> int:
        """Bytes of the states, at the end of the arena."""
        return sum(self.places[port.tensor].bytes for port in self.graph.states)

    @property
    def entries(self) -> tuple[Place, ...]:
        """Where each input is written before a run."""
        return tuple(self.places[image_name(i)] for i in range(len(self.graph.inputs)))

    def place(self, tensor: str, layout: str = HWC) -> Place:
        """Where ``tensor`` lies in ``layout``. Raises KeyError when it does not."""
        found = self.places[tensor]
        return found if found.layout == layout else self.places[copy_name(tensor, layout)]

    def way(self, index: int) -> Way:
        """How step ``index`` runs, with what is known since everything has its place."""
        step, layer = self.steps[index], self.layers[index]
        ports = Ports(**step.layout)
        if not step.code_ram_bytes + step.kept_code_bytes:
            return Way(step.variant, ports)
        over = None
        if layer.operand:
            operand = self.place(layer.operand, ports.operand)
            over = operand.offset == self.place(layer.output, ports.output).offset
        return Way(step.variant, ports, self.code_cached, over)

    @property
    def instructions(self) -> int:
        """Predicted instructions per inference."""
        return sum(step.instructions for step in self.steps)

    @property
    def cycles(self) -> int | None:
        """Predicted cycles per inference; None when a kernel states none."""
        found = [step.cycles for step in self.steps if step.cycles is not None]
        return sum(found) if len(found) == len(self.steps) else None

    @property
    def flash_bytes(self) -> int:
        """Predicted flash of the network: kernels, weights, tables."""
        return self.code_bytes + sum(s.flash_weights + s.flash_tables for s in self.steps)

    @property
    def executable_bytes(self) -> int:
        """Executable RAM: the shared buffer and what layers keep."""
        return self.code_ram_bytes + sum(-(-s.kept_code_bytes // 8) * 8 for s in self.steps)

    @property
    def ram_bytes(self) -> int:
        """Predicted RAM of the network: arena and executable RAM."""
        return self.arena_bytes + self.executable_bytes

    def as_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "schema": SCHEMA,
            "graph_sha256": self.graph.sha256,
            "board": self.board,
            "core": self.core,
            "optimize": self.optimize,
            "arena_bytes": self.arena_bytes,
            **({"state_bytes": self.state_bytes} if self.graph.states else {}),
            "arena_lower_bound_bytes": self.arena_lower_bound_bytes,
            "code_bytes": self.code_bytes,
            "code_ram_bytes": self.code_ram_bytes,
            "code_memory": self.code_memory,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "instructions": self.instructions,
            "cycles": self.cycles,
            "steps": [
                {**asdict(step), "nodes": list(step.nodes), "reads": list(step.reads)}
                for step in self.steps
            ],
            "places": {name: asdict(p) for name, p in self.places.items()},
            "choices": [asdict(choice) for choice in self.choices],
        }

    @cached_property
    def sha256(self) -> str:
        """Content hash of the plan, which names the Graph's own hash and the board."""
        return sha256(canonical_json(self.as_json()).encode())
