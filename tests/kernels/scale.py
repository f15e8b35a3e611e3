"""Fits ``scaled`` in kernel.yaml: ``python -m tests.kernels.scale [--write] [--core CORE]``.

For cores that nobody fitted term by term: how many instructions a kernel takes there for each that
its terms for another core predict. In: networks of ``grid.py``, every kernel and variant, compiled
for the core and run by ``arm.Device`` (QEMU's timer for a core that Unicorn does not know, see
``_qemu``). Out: per kernel one factor (least squares of relative errors) and the largest error.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from tests.kernels import grid
from tests.kernels.arm import MODELS, Device
from tests.kernels.calibrate import SMALL, flow
from tinyrobust import boards, device, image, memory, virtual
from tinyrobust.boards.cores import Core
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import catalogue

BASES: dict[Core, Core] = {  # the core whose terms are scaled
    "cortex-m0plus": "host", "cortex-m3": "host",
    "cortex-m33": "cortex-m4", "cortex-m55": "cortex-m4",
}  # fmt: skip
QEMU = {"cortex-m55": "mps3-an547"}  # boards for cores that Unicorn does not know
LEAST = 4  # layers of a kernel
SEEDS, MORE = 8, 40  # networks of each family, and more for kernels that these do not meet
Row = tuple[str, int, int]  # kernel, instructions predicted with today's factor, counted


def board_of(core: Core) -> boards.Board:
    """A roomy board with that core, to plan for."""
    return boards.load("mps2-an386").model_copy(update={"core": core})


def count(graph: Graph, core: Core, force: dict[str, str]) -> Iterator[Row]:
    """One network on one core."""
    if core not in MODELS:
        yield from _qemu(graph, boards.load(QEMU[core]), force)
        return
    plan = grid.planned(graph, board_of(core), force)
    assert plan is not None
    with tempfile.TemporaryDirectory() as folder:
        yield from counted(plan, Path(folder))


def counted(plan: memory.Plan, folder: Path) -> Iterator[Row]:
    """``count`` for a plan."""
    sample = np.random.default_rng(0).integers(0, 256, plan.graph.input.shape, np.uint8)
    made = Device(plan, folder, ("-O3",))
    made.run(sample)  # the first one may generate code that is kept
    for step, n in zip(plan.steps, made.run(sample)[1], strict=True):
        yield step.kernel, step.instructions, n


def _qemu(graph: Graph, board: boards.Board, force: dict[str, str]) -> Iterator[Row]:
    """``count`` by a QEMU board's timer: with -icount shift=0 an instruction is a nanosecond."""
    plan = grid.planned(graph, board, force)
    assert plan is not None
    forced = {c.layer: c.choice for c in plan.choices if "@" not in c.layer}
    sample = np.random.default_rng(0).integers(0, 256, graph.input.shape, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        built = image.build(graph, board, Path(folder) / "image", model_name="grid", force=forced)
        with (
            virtual.start(board, built) as running,
            device.Session.open(running.port, timeout_s=120, fault=running.fault) as session,
        ):
            for _ in range(2):
                session.infer(sample)
            ticks = [int(n) for _, n in session.layer_cycles()]
    for step, n in zip(plan.steps, ticks, strict=True):
        yield step.kernel, step.instructions, round(n * 1e9 / board.clock_hz)


def fit(rows: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Factor and largest error in percent, from (terms of the base core, counted)."""
    base = np.array([p for p, _ in rows], float)
    found = np.array([c for _, c in rows], float)
    weight = 1 / np.maximum(found, SMALL)
    factor = float(
        f"{float((base * weight) @ (found * weight) / ((base * weight) @ (base * weight))):.4g}"
    )
    errors = np.abs(factor * base - found) * weight
    return factor, float(100 * errors.max())


def measure(core: Core, seeds: int, kernels: Collection[str]) -> dict[str, list[tuple[float, int]]]:
    """By kernel what the base core's terms say and what was counted. After ``seeds`` networks of
    each family more of them, as far as they meet a kernel with fewer than LEAST layers. Only
    ``kernels``, if there are any."""
    found: dict[str, list[tuple[float, int]]] = {}
    for family, seed in itertools.product(grid.FAMILIES, range(seeds + MORE)):
        graph = next(grid.networks(family, range(seed, seed + 1)))
        for force in grid.mixes(graph, core, 2):
            asked = {label.partition(":")[0] for label in force.values()}
            asked = asked & set(kernels) if kernels else asked
            rare = {k for k in asked if len(found.get(k, ())) < LEAST}
            if not asked or (seed >= seeds and not rare):
                continue
            for kernel, predicted, n in count(graph, core, force):
                if not kernels or kernel in kernels:
                    scaled = catalogue()[kernel].file.scaled[core]
                    found.setdefault(kernel, []).append((predicted / scaled.factor, n))
            print(f"{core}: {graph.name}", file=sys.stderr, flush=True)  # noqa: T201
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="change the kernel.yaml files")
    parser.add_argument("--core", choices=tuple(BASES), action="append", help="only these")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="networks per family")
    parser.add_argument("kernels", nargs="*", help="only these")
    args = parser.parse_args()
    yaml = YAML()
    yaml.width = 200
    paths = {k.id: k.folder / "kernel.yaml" for k in catalogue().values()}
    trees = {name: yaml.load(path) for name, path in paths.items()}
    for core in args.core or BASES:
        rows = measure(core, args.seeds, args.kernels)
        for name, tree in trees.items():
            if name in rows:
                factor, error = fit(rows[name])
                print(f"{core:14} {name:30} {len(rows[name]):4} layers, x {factor:6.3f}, "  # noqa: T201
                      f"worst {error:5.1f} %")  # fmt: skip
                _put(tree, core, factor, error)
            else:
                print(f"{core:14} {name:30} never met")  # noqa: T201
    if args.write:
        for name, path in paths.items():
            with path.open("w") as file:
                yaml.dump(trees[name], file)
    return 0


def _put(tree: Any, core: Core, factor: float, error: float) -> None:
    scaled = tree.setdefault("scaled", {})
    scaled[core] = {"of": BASES[core], "factor": factor,
                    "error_percent": float(f"{np.ceil(error * 10) / 10:.1f}")}  # fmt: skip
    flow(scaled)


if __name__ == "__main__":
    sys.exit(main())
