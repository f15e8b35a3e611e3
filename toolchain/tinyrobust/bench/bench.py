"""What a network takes on a board: counted on the virtual one, estimated, predicted, measured.

In: a Graph, a board whose virtual one counts exactly (Unicorn), what ``image.build`` is told. Out:
a Bench. Instructions are counted and exact; cycles are estimated by the Cortex-M4 model of
``virtual/cycles.py`` from the same run; predictions are the plan's; bytes are those of the ELF.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import boards, device, image, memory, virtual
from tinyrobust.bench.published import Figures, Reference, network, references
from tinyrobust.boards import Board
from tinyrobust.errors import BoardError
from tinyrobust.graph.nodes import TERNARY, Graph
from tinyrobust.graph.ports import sample_shape
from tinyrobust.image import Image
from tinyrobust.image.memory_report import LayerMemory, MemoryReport
from tinyrobust.kernels import catalogue

SEED = 0
COMPILED = "compiled weights"  # a part of the flash
_SILENCE_S = 120.0  # a busy computer; one inference takes well under a second


@dataclass(frozen=True)
class LayerBench:
    """One step, per inference.

    ``instructions`` are counted, ``m4_cycles`` estimated, ``predicted`` and ``predicted_cycles``
    the plan's (None where the kernel states none). ``code_ram_bytes`` of generated code while the
    layer runs, ``kept_code_bytes`` of code kept between inferences. ``int8``: a published figure.
    """

    name: str
    kernel: str
    variant: dict[str, int]
    macs: int
    instructions: int
    m4_cycles: int
    predicted: int
    predicted_cycles: int | None
    weights_bytes: int
    tables_bytes: int
    compiled_bytes: int
    scratch_bytes: int
    code_ram_bytes: int
    kept_code_bytes: int
    int8: Figures | None


@dataclass(frozen=True)
class Bench:
    """See the module; ``layers`` are the steps, everything else covers the whole.

    ``instructions`` and ``m4_cycles`` are those of an inference when the device has run one
    before; ``first_instructions`` of the first one after a reset, which is more where code
    generated then is kept. ``network``: the published network whose shape it has. ``zeros`` is the
    part of the ternary weights that is 0, None without any. ``weight_flash_bytes``: weights, as
    data or compiled into code, and per-channel constants; ``network_flash_bytes``: those, kernels,
    code generator, runtime and their constants: all but protocol, start-up and the port.
    ``network_ram_bytes``: all but stack and link buffers.
    """

    model: str
    board: str
    core: str
    graph_sha256: str
    compiler: str
    network: str | None
    family: str
    zeros: float | None
    instructions: int
    first_instructions: int
    m4_cycles: int
    predicted: int
    predicted_cycles: int | None
    flash_bytes: int
    ram_bytes: int
    weight_flash_bytes: int
    network_flash_bytes: int
    network_ram_bytes: int
    flash: dict[str, int]
    ram: dict[str, int]
    layers: tuple[LayerBench, ...]
    references: tuple[Reference, ...]

    @property
    def cycles_are(self) -> str:
        """What ``m4_cycles`` means for this board."""
        code = "" if self.core == "cortex-m4" else f" run over {self.core} code"
        return f"estimated: {virtual.CYCLE_MODEL}{code}; not measured"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "m4_cycles_are": self.cycles_are}


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
    if board.unicorn is None:  # QEMU's clock ticks every 40 instructions only
        counting = [name for name in boards.names() if boards.load(name).unicorn is not None]
        raise BoardError(
            f"nothing counts single instructions on board '{board.id}'",
            f"boards that do: {', '.join(counting)}",
        )
    built = image.build(graph, board, folder, model_name=model_name, force=force, aim=aim)
    plan = json.loads((built.folder / "plan.json").read_text())
    counted = _run(graph, board, built, virtual.Clock.INSTRUCTIONS)
    estimated = _run(graph, board, built, virtual.Clock.M4_MODEL)
    report, published = built.memory, references(graph)
    flash, ram = _flash(report), {p.name: p.bytes for p in report.ram.parts}
    return Bench(
        model=model_name,
        board=board.id,
        core=board.core,
        graph_sha256=graph.sha256,
        compiler=str(built.meta["versions"]["compiler"]),
        network=network(graph),
        family=graph.family,
        zeros=_zeros(graph),
        instructions=counted.total,
        first_instructions=counted.first,
        m4_cycles=estimated.total,
        predicted=plan["instructions"],
        predicted_cycles=plan["cycles"],
        flash_bytes=report.flash.used_bytes,
        ram_bytes=report.ram.used_bytes,
        weight_flash_bytes=flash["weights"] + flash["tables"] + flash[COMPILED],
        network_flash_bytes=sum(flash[name] for name in _network(flash)),
        network_ram_bytes=report.ram.used_bytes - ram["stack"] - ram["buffers"],
        flash=flash,
        ram=ram,
        layers=tuple(
            _layer(*row, published)
            for row in zip(plan["steps"], counted.layers, estimated.layers, report.layers,
                           strict=True)
        ),
        references=published,
    )  # fmt: skip


@dataclass(frozen=True)
class _Counts:
    """Of the clock that the board was started with."""

    first: int
    total: int
    layers: tuple[int, ...]


def _run(graph: Graph, board: Board, built: Image, clock: virtual.Clock) -> _Counts:
    """The same image twice: generated code that is kept is there the second time."""
    sample = np.random.default_rng(SEED).integers(0, 256, sample_shape(graph), np.uint8)
    with (
        virtual.start(board, built, clock=clock) as running,
        device.Session.open(running.port, timeout_s=_SILENCE_S, fault=running.fault) as session,
    ):
        first = session.infer(sample).cycles
        total = session.infer(sample).cycles
        layers = tuple(int(n) for _, n in session.layer_cycles())
    return _Counts(int(first), int(total), layers)


def _layer(
    step: dict[str, Any], counted: int, estimated: int, measured: LayerMemory,
    published: tuple[Reference, ...],
) -> LayerBench:  # fmt: skip
    known = [r.layers[step["name"]] for r in published if step["name"] in r.layers]
    return LayerBench(
        name=step["name"],
        kernel=step["kernel"],
        variant=step["variant"],
        macs=step["macs"],
        instructions=counted,
        m4_cycles=estimated,
        predicted=step["instructions"],
        predicted_cycles=step["cycles"],
        weights_bytes=measured.weights_bytes,
        tables_bytes=measured.tables_bytes,
        compiled_bytes=measured.compiled_bytes,
        scratch_bytes=measured.scratch_bytes,
        code_ram_bytes=step["code_ram_bytes"],
        kept_code_bytes=step["kept_code_bytes"],
        int8=known[0] if known else None,
    )


def _flash(report: MemoryReport) -> dict[str, int]:
    """Bytes by part: weights, tables, code by folder, constants by folder, the rest."""
    parts = {p.name: p.bytes for p in report.flash.parts if p.name not in ("code", "constants")}
    parts |= {f"{p.name} code": p.bytes for p in report.code}
    parts[COMPILED] = sum(layer.compiled_bytes for layer in report.layers)
    parts["generated code"] -= parts[COMPILED]
    return parts | {f"{p.name} constants": p.bytes for p in report.constants}


def _network(flash: dict[str, int]) -> list[str]:
    """The parts that the network itself needs."""
    folders = {*catalogue(), "runtime", "generated"}
    own = {f"{name} {kind}" for name in folders for kind in ("code", "constants")}
    return [name for name in flash if name in own or name in ("weights", "tables", COMPILED)]


def _zeros(graph: Graph) -> float | None:
    weights = [n.weights for n in graph.nodes if isinstance(n, TERNARY)]
    total = sum(w.size for w in weights)
    return sum(int((w == 0).sum()) for w in weights) / total if total else None
