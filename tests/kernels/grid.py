"""The grid over which the kernels' cost models are fitted and checked.

``networks(family, seeds)`` gives seeded networks whose layers vary everything that the formulas
depend on; ``mixes`` gives forced choices of kernels and variants for one of them; ``run`` builds a
network, runs it on the virtual board and gives one ``Case`` per layer: what the formulas see, and
what was counted and linked.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from tests.graphs import Builder, random_graph, separable_graph
from tests.int8_graphs import random_int8_graph
from tests.int8_networks import network
from tinyrobust import boards, device, image, memory, resources, virtual
from tinyrobust.errors import BudgetError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Layer, Way, layers
from tinyrobust.memory import options

FAMILIES = ("fixed", "tflite")
CHANNELS = (1, 2, 3, 4, 5, 6, 8, 8, 11, 12, 16, 16, 20, 24, 32, 32, 48, 64)
KERNELS = ((1, 1), (3, 3), (3, 3), (3, 3), (1, 5), (5, 1), (2, 2), (3, 2), (5, 5))
_SILENCE_S = 120.0


def networks(family: str, seeds: range) -> Iterator[Graph]:
    """One network per seed."""
    for seed in seeds:
        if family == "tflite" and seed % 2:
            yield network(seed)
        elif family == "tflite":
            yield random_int8_graph(seed, 32, reach=24)
        elif seed % 8 == 7:
            yield separable_graph(seed)
        elif seed % 8 == 5:
            yield depthwise(seed)
        elif seed % 4 == 3:
            yield random_graph(seed)
        elif seed % 4 == 2:
            yield pools(seed)
        else:
            yield chain(seed)


def chain(seed: int) -> Graph:
    """Convolutions, residuals and pools one after the other, of all shapes and sparsities."""
    rng = np.random.default_rng([7, seed])
    side = int(rng.integers(6, 21))
    b = Builder(seed, (side, side + int(rng.integers(-2, 3)), int(rng.choice([1, 2, 3, 4, 8]))))
    for _ in range(12):
        b.zeros = float(rng.choice([0.05, 0.3, 0.5, 0.5, 0.7, 0.9]))
        _add(
            b,
            rng,
            str(rng.choice(["conv", "conv", "conv", "residual", "shortcut", "pool", "bare"])),
        )
    if rng.random() < 0.7:
        b.average(half_even=bool(rng.random() < 0.5))
    else:
        b.pool("max", min(2, *b.x.shape[:2]))
        b.flatten()
    if rng.random() < 0.5:
        b.dense(int(rng.integers(3, 70)))
        b.requantize(bits=int(rng.choice([4, 7])))
    b.dense(int(rng.integers(2, 33)))
    b.requantize(scores=True)
    return b.graph(f"chain{seed}")


def pools(seed: int) -> Graph:
    """Pools and requantisations of all kinds and operands, with little else."""
    rng = np.random.default_rng([8, seed])
    b = Builder(seed, (24, int(rng.integers(18, 26)), 2), 0.3)
    first = b.conv(int(rng.choice([1, 1, 3, 4, 7, 8, 12, 16, 22, 32])), 1)
    b.requantize(first)
    other = b.x
    b.requantize(first, other, bits=int(rng.choice([4, 7])))
    b.requantize(b.x, other)
    b.requantize(other, first)
    for _ in range(6):
        if min(b.x.shape[:2]) >= 5:
            size = int(rng.integers(2, 5))
            b.pool(str(rng.choice(["max", "average"])), size, int(rng.integers(1, size)))
        if rng.random() < 0.5:
            both = b.x
            b.requantize(*([both, both] if rng.random() < 0.5 else [both]), shift=7)
    source = b.x
    wide = b.conv(int(rng.integers(3, 9)), (9, 9))  # with many channels beyond int16
    b.requantize(wide)
    b.requantize(wide, b.x)
    b.conv(int(rng.integers(3, 20)), source=source)
    b.requantize()
    b.average(half_up=bool(rng.random() < 0.3))
    b.dense(int(rng.integers(2, 20)))
    b.requantize(scores=True)
    return b.graph(f"pools{seed}")


def depthwise(seed: int) -> Graph:
    """Depthwise convolutions one after the other, with 1x1 between some of them."""
    rng = np.random.default_rng([6, seed])
    b = Builder(seed, (int(rng.integers(6, 20)), int(rng.integers(6, 24)), 3), 0.4)
    b.conv(int(rng.choice(CHANNELS)), 1)
    b.requantize()
    for _ in range(10):
        b.zeros = float(rng.choice([0.05, 0.3, 0.5, 0.7, 0.9]))
        bits, shift = int(rng.choice([4, 7, 7])), int(rng.choice([16, rng.integers(3, 13)]))
        source, size = b.x, KERNELS[int(rng.integers(len(KERNELS)))]
        wide = b.depthwise(size, int(rng.choice([1, 1, 1, 2])) if min(b.x.shape[:2]) > 4 else 1)
        if wide.shape == source.shape and rng.random() < 0.4:
            other = b.conv(source.shape[2], 1, source=source) if rng.random() < 0.4 else source
            b.requantize(*([wide, other] if rng.random() < 0.5 else [other, wide]),
                         bits=bits, shift=shift)  # fmt: skip
        else:
            b.requantize(bits=bits, shift=shift)
        if rng.random() < 0.3:
            b.conv(int(rng.choice(CHANNELS)), 1)
            b.requantize(bits=bits, shift=shift)
    b.average()
    b.dense(5)
    b.requantize(scores=True)
    return b.graph(f"depthwise{seed}")


def _add(b: Builder, rng: np.random.Generator, kind: str) -> None:
    height, width, channels = b.x.shape
    bits, shift = int(rng.choice([4, 7, 7])), int(rng.choice([16, rng.integers(3, 13)]))
    small = min(height, width) < 5
    wanted = int(rng.choice(CHANNELS)) if height * width <= 300 else int(rng.choice(CHANNELS[:12]))
    if kind == "pool" and not small:
        size = int(rng.integers(2, 4))
        b.pool(str(rng.choice(["max", "average"])), size, int(rng.integers(1, size + 1)))
    elif kind == "residual":
        identity = b.x
        b.requantize(b.conv(channels), identity, bits=bits, shift=shift)
    elif kind == "shortcut":
        source, stride = b.x, 1 if small else int(rng.choice([1, 2]))
        first = b.conv(wanted, 3, stride)
        second = b.conv(wanted, 1, stride, source=source)
        b.requantize(first, second, bits=bits, shift=shift)
    elif kind == "bare":
        both = b.x
        b.requantize(*([both, both] if rng.random() < 0.5 else [both]), bits=bits, shift=shift)
    else:
        size = KERNELS[int(rng.integers(len(KERNELS)))]
        same = small or bool(rng.random() < 0.7)
        stride = 1 if small else int(rng.choice([1, 1, 2]))
        b.conv(wanted, size, stride, same=same)
        b.requantize(bits=bits, shift=shift)


def mixes(
    graph: Graph, core: str, count: int, preferred: Collection[str] = ()
) -> list[dict[str, str]]:
    """``count`` forced choices: for each layer a kernel that accepts it (one of ``preferred`` where
    there is one), then a variant of it, by chance, the same for the same network. Layouts are left
    to the planner."""
    rng = np.random.default_rng([9, *graph.name.encode()])
    rows = {layer.name: _labels(layer, graph, core) for layer in layers(graph)}
    found = []
    for _ in range(count):
        force = {}
        for name, kernels in rows.items():
            kernel = str(rng.choice(sorted(set(kernels) & set(preferred)) or sorted(kernels)))
            force[name] = str(rng.choice(kernels[kernel]))
        found.append(force)
    return found


def _labels(layer: Layer, graph: Graph, core: str) -> dict[str, list[str]]:
    """By kernel its variants that accept ``layer``."""
    found: dict[str, dict[str, None]] = {}
    for option in options.of_layer(layer, graph, core):
        settings = ",".join(f"{n}={v}" for n, v in option.way.variant.items())
        found.setdefault(option.kernel.id, {})[f"{option.kernel.id}:{settings}"] = None
    return {kernel: list(labels) for kernel, labels in found.items()}


@dataclass(frozen=True, eq=False)
class Case:
    """One layer of a built network. ``counted``: instructions, or cycles of the model."""

    graph: Graph
    layer: Layer
    step: memory.Step
    core: str
    counted: int
    weights_bytes: int  # in the ELF
    tables_bytes: int
    way: Way

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.graph.name}/{self.layer.name}"


@dataclass(frozen=True, eq=False)
class Run:
    """A network on a board: its plan, its image, one case per layer."""

    plan: memory.Plan
    image: image.Image  # the folder is gone
    cases: tuple[Case, ...]
    code_bytes: int  # of kernels, as linked


def planned(graph: Graph, board: boards.Board, force: Mapping[str, str]) -> memory.Plan | None:
    """The plan with as much of ``force`` as can be had at once; None when that is nothing new."""
    force = dict(force)
    while force:
        try:
            return memory.plan(graph, board, force=force)
        except BudgetError:  # layouts that no kernel converts
            force.popitem()
    return memory.plan(graph, board)


def run(
    graph: Graph,
    board_name: str,
    force: Mapping[str, str],
    *,
    clocks: tuple[virtual.Clock, ...] = (virtual.Clock.INSTRUCTIONS,),
    portable: bool = False,
) -> list[Run]:
    """Build once, run once per clock. ``portable``: the kernels in plain C++."""
    board = boards.load(board_name)
    plan = planned(graph, board, force)
    assert plan is not None
    forced = {c.layer: c.choice for c in plan.choices if "@" not in c.layer}
    build_module = importlib.import_module("tinyrobust.image.build")
    with tempfile.TemporaryDirectory(prefix="tinyrobust-grid-") as folder, ExitStack() as stack:
        if portable:
            flags = (*build_module.KERNEL_FLAGS, "-DTR_PORTABLE")
            stack.enter_context(mock.patch.object(build_module, "KERNEL_FLAGS", flags))
        built = image.build(graph, board, Path(folder) / "image", model_name="grid", force=forced)
        core = "host" if portable else board.core
        return [_run(plan, built, board, clock, core) for clock in clocks]


def _run(
    plan: memory.Plan, built: image.Image, board: boards.Board, clock: virtual.Clock, core: str
) -> Run:
    graph = plan.graph
    sample = np.random.default_rng(0).integers(0, 256, graph.input.shape, np.uint8)
    with (
        virtual.start(board, built, clock=clock) as running,
        device.Session.open(running.port, timeout_s=_SILENCE_S, fault=running.fault) as session,
    ):
        for _ in range(2):  # the first one may generate code that is kept
            session.infer(sample)
        counts = [int(n) for _, n in session.layer_cycles()]
    cases = tuple(
        Case(graph, layer, step, core, n, linked.weights_bytes, linked.tables_bytes, plan.way(i))
        for i, (layer, step, n, linked) in enumerate(
            zip(plan.layers, plan.steps, counts, built.memory.layers, strict=True)
        )
    )
    return Run(plan, built, cases, linked_code(plan, built.folder / "firmware.map"))


def linked_code(plan: memory.Plan, map_file: Path) -> int:
    """Bytes of code and constants that the linker took from the objects of the plan's kernels."""
    firmware = resources.root().resolve() / "firmware"
    names = {
        path.resolve().relative_to(firmware).as_posix().replace("/", "_") + ".o"
        for kernel in plan.kernels for path in kernel.sources
    }  # fmt: skip
    text = map_file.read_text().split("Linker script and memory map")[1]
    entry = re.compile(
        r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) \S*/([^/\s]+\.o)$", re.M
    )
    found = (int(size, 16) for size, name in entry.findall(text) if name in names)
    return sum(-(-size // 4) * 4 for size in found)  # the next section starts on a word
