"""Fits the cost models in kernel.yaml to what is counted: ``python -m tests.kernels.calibrate``.

In: the networks of ``grid.py``, built and run on the virtual boards: every kernel and variant on
Cortex-M7 and M4, and for ``host`` the plain C++ of each on a Cortex-M4. With ``kernels`` their
layers get one of these wherever it accepts them, so that few networks give many layers (a kernel
with many terms wants ``--seeds 60`` and more, a depthwise one 160). Out: per kernel the fitted
``each`` of every term of ``instructions`` and ``cycles`` (the M4 model), the largest error, and the
bytes of code; ``--write`` puts them into the kernel.yaml files. A kernel without ``cycles`` gets
the terms of its ``instructions``. ``--code`` measures code only; ``--report`` fits nothing and
prints how far the models in the files are from the counts.
"""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from scipy.optimize import nnls

from tests.kernels import grid
from tests.kernels.code import MEASURED, pieces
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Kernel, Layer, Way, catalogue, expression, layers
from tinyrobust.kernels.layouts import LayoutChange, change
from tinyrobust.kernels.schema import Instructions
from tinyrobust.kernels.variables import known_names
from tinyrobust.virtual import Clock

SEEDS = range(24)
MIXES = 2  # of each network, and core
SMALL = 2000  # below this count an error is relative to it
GOOD = 0.02  # largest error of a least-squares fit that is left alone
ROUNDS = 12
PULL = 0.1  # of a term's figure before, as a part of what all layers say about it
CORES = ("cortex-m7", "cortex-m4", "host")


@dataclass(frozen=True)
class Source:
    """Where counts come from: a board, what its clock counts, and the name of the core."""

    board: str
    clocks: tuple[Clock, ...]
    core: str

    @property
    def portable(self) -> bool:
        """True for plain C++."""
        return self.core == "host"


SOURCES = (
    Source("nucleo-h743", (Clock.INSTRUCTIONS,), "cortex-m7"),
    Source("mps2-an386", (Clock.INSTRUCTIONS, Clock.M4_MODEL), "cortex-m4"),
    Source("mps2-an386", (Clock.INSTRUCTIONS,), "host"),
)


@dataclass(frozen=True)
class Count:
    """One layer of one run, as plain data: network, layer, kernel and way, what was counted."""

    family: str
    seed: int
    layer: str
    tensor: str  # what the layer reads
    kernel: str
    way: Way
    core: str
    clock: Clock
    counted: int


def count(
    families: Sequence[str], seeds: Iterable[int], kernels: Sequence[str], cores: Sequence[str]
) -> Iterator[list[Count]]:
    """Run the grid, network by network; only what meets one of ``kernels``, if there are any."""
    for source in SOURCES:
        if source.core not in cores:
            continue
        for family in families:
            for seed in seeds:
                yield list(_network(source, family, seed, kernels))


def _network(source: Source, family: str, seed: int, kernels: Sequence[str]) -> Iterator[Count]:
    graph = next(grid.networks(family, range(seed, seed + 1)))
    for force in grid.mixes(graph, source.core, MIXES, kernels):
        asked = {label.partition(":")[0] for label in force.values()}
        if kernels and not asked & set(kernels):
            continue
        runs = grid.run(graph, source.board, force, clocks=source.clocks, portable=source.portable)
        for clock, run in zip(source.clocks, runs, strict=True):
            for case in run.cases:
                yield Count(
                    family, seed, case.layer.name, case.layer.source, case.step.kernel, case.way,
                    source.core, clock, case.counted,
                )  # fmt: skip
    print(f"{source.core}: {graph.name}", file=sys.stderr)  # noqa: T201


@dataclass(frozen=True)
class Fitted:
    """``each`` per term; the error over all layers, and where it is largest."""

    each: list[float]
    worst: float
    rms: float
    where: str
    layers: int


class Samples:
    """Counts with the values of the formulas."""

    def __init__(self, counts: Sequence[Count]) -> None:
        self.counts = counts
        self._graphs: dict[tuple[str, int], tuple[Graph, dict[str, Layer]]] = {}

    def of(self, kernel: Kernel, cores: Sequence[str], clock: Clock) -> list[Count]:
        """Those of a kernel."""
        return [c for c in self.counts
                if c.kernel == kernel.id and c.core in cores and c.clock == clock]  # fmt: skip

    def known(self, kernel: Kernel, c: Count) -> Mapping[str, float]:
        """What the formulas may name."""
        key = c.family, c.seed
        if key not in self._graphs:
            graph = next(grid.networks(c.family, range(c.seed, c.seed + 1)))
            self._graphs[key] = graph, {layer.name: layer for layer in layers(graph)}
        graph, named = self._graphs[key]
        if kernel.file.op == LayoutChange.op:
            layer = change(graph, c.tensor, c.way.ports.output)
        else:
            layer = named[c.layer]
        return known_names(kernel.file, layer, graph, c.core, c.way)

    def matrix(self, kernel: Kernel, rows: Sequence[Count], terms: Sequence[str]) -> Any:
        """The value of every term for every row."""
        return np.array(
            [[expression.evaluate(t, known) for t in terms]
             for known in (self.known(kernel, c) for c in rows)], float,
        )  # fmt: skip


def errors(predicted: Any, counted: Any) -> Any:
    """Relative errors, those of small layers relative to SMALL."""
    return (predicted - counted) / np.maximum(counted, SMALL)


def fit(matrix: Any, rows: Sequence[Count], before: Sequence[float] | None = None) -> Fitted:
    """Least squares of the relative errors, repeated with more weight on what is off most while
    that makes the largest error smaller (Lawson's algorithm, stopped early). Figures ``before``
    that are not 0 pull a little: what few layers say little about stays as it was."""
    counts = np.array([c.counted for c in rows], float)
    scale, weight = 1 / np.maximum(counts, SMALL), np.ones(len(rows))
    known = np.zeros(matrix.shape[1]) if before is None else np.array(before, float)
    pull = np.diag(PULL * np.linalg.norm(matrix * scale[:, None], axis=0) * (known > 0))
    best: tuple[float, Any, Any] | None = None
    for _ in range(ROUNDS):
        root = np.sqrt(weight) * scale
        left = np.vstack([matrix * root[:, None], pull])
        each = _rounded(nnls(left, np.concatenate([counts * root, pull @ known]))[0])
        found = errors(matrix @ each, counts)
        worst = float(np.max(np.abs(found)))
        if best is None or worst < best[0]:
            best = worst, each, found
        if worst < GOOD:
            break
        weight *= 0.2 + np.abs(found) / worst
        weight /= weight.mean()
    assert best is not None
    return _judge(list(best[1]), best[2], rows)


def _rounded(each: Any) -> Any:
    return np.array([float(f"{e:.5g}") for e in each])


def _judge(each: list[float], found: Any, rows: Sequence[Count]) -> Fitted:
    worst = int(np.argmax(np.abs(found)))
    c = rows[worst]
    return Fitted(
        each, 100 * float(abs(found[worst])), 100 * float(np.sqrt(np.mean(found**2))),
        f"{c.family} {c.seed} {c.layer} {dict(c.way.variant) or ''} {c.counted:,}", len(rows),
    )  # fmt: skip


def judge(samples: Samples, kernel: Kernel, group: Instructions, clock: Clock) -> Fitted | None:
    """How far the model in the file is from the counts; None without counts."""
    rows = samples.of(kernel, group.cores, clock)
    if not rows:
        return None
    matrix = samples.matrix(kernel, rows, [t.of for t in group.terms.values()])
    each = [t.each for t in group.terms.values()]
    counts = np.array([c.counted for c in rows], float)
    return _judge(each, errors(np.round(matrix @ np.array(each)), counts), rows)


def calibrate(samples: Samples, kernel: Kernel, tree: Any) -> None:
    """Fit every group of a kernel.yaml, whose ``tree`` is changed; prints what came out."""
    for key, clock in (("instructions", Clock.INSTRUCTIONS), ("cycles", Clock.M4_MODEL)):
        if key == "cycles" and not tree.get("cycles"):
            _add_cycles(samples, kernel, tree)
        _split(samples, kernel, tree.get(key, []), clock)
        for entry in tree.get(key, ()):
            rows = samples.of(kernel, list(entry["cores"]), clock)
            if not rows:
                continue
            terms = [term["of"] for term in entry["terms"].values()]
            before = [float(term["each"]) for term in entry["terms"].values()]
            made = fit(samples.matrix(kernel, rows, [str(t) for t in terms]), rows, before)
            entry["error_percent"] = float(f"{np.ceil(made.worst * 10) / 10:.1f}")
            for name, value in zip(entry["terms"], made.each, strict=True):
                entry["terms"][name]["each"] = float(value)
            flow(entry["terms"])
            show(kernel, f"{key} {'/'.join(entry['cores'])}", made)


def _split(samples: Samples, kernel: Kernel, entries: Any, clock: Clock) -> None:
    """Make a group of several cores several groups where one fit does not do for all of them."""
    for entry in list(entries):
        cores = list(entry["cores"])
        rows = samples.of(kernel, cores, clock)
        if len(cores) == 1 or {c.core for c in rows} != set(cores):
            continue
        terms = [str(term["of"]) for term in entry["terms"].values()]
        if fit(samples.matrix(kernel, rows, terms), rows).worst > 100 * GOOD:
            at = entries.index(entry)
            entry["cores"] = [cores[0]]
            for core in reversed(cores[1:]):
                entries.insert(at + 1, {**copy.deepcopy(dict(entry)), "cores": [core]})


def _add_cycles(samples: Samples, kernel: Kernel, tree: Any) -> None:
    if samples.of(kernel, ["cortex-m4"], Clock.M4_MODEL):
        pattern = next(e for e in tree["instructions"] if "cortex-m4" in e["cores"])
        tree["cycles"] = [{
            "cores": ["cortex-m4"],
            "terms": {n: {"each": 0.0, "of": t["of"]} for n, t in pattern["terms"].items()},
            "error_percent": 0.0,
        }]  # fmt: skip


def flow(terms: Any) -> None:
    """Every term on a line of its own."""
    for name, term in terms.items():
        terms[name] = _flow(term)


def _flow(values: Mapping[str, Any]) -> CommentedMap:
    """``values`` on one line."""
    line = CommentedMap(values)
    line.fa.set_flow_style()
    return line


def show(kernel: Kernel, what: str, found: Fitted) -> None:
    """One line of the report."""
    print(f"{kernel.id:28} {what:30} {found.layers:5} layers, worst {found.worst:5.2f} %, "  # noqa: T201
          f"rms {found.rms:5.2f} %  ({found.where})")  # fmt: skip


def report(samples: Samples, kernels: Sequence[Kernel]) -> float:
    """Print the errors of the models in the files; gives the worst of the instructions on the
    cores with a counting board, in percent."""
    worst = 0.0
    for kernel in kernels:
        groups = [("instructions", g, Clock.INSTRUCTIONS) for g in kernel.file.instructions]
        groups += [("cycles", g, Clock.M4_MODEL) for g in kernel.file.cycles]
        for key, group, clock in groups:
            found = judge(samples, kernel, group, clock)
            if found is not None:
                show(kernel, f"{key} {'/'.join(group.cores)}", found)
                if key == "instructions" and group.cores != ["host"]:
                    worst = max(worst, found.worst)
    print(f"{len(samples.counts)} counted layers, worst {worst:.2f} %")  # noqa: T201
    return worst


def write_code(trees: Mapping[str, Any]) -> None:
    """Measure the code of all kernels and put it into their trees."""
    with tempfile.TemporaryDirectory() as folder:
        found = {core: pieces(core, Path(folder) / core) for core in MEASURED}
    for kernel, tree in trees.items():
        own = {core: sizes[kernel][0] for core, sizes in found.items()}
        names = sorted({name for sizes in found.values() for name in sizes[kernel][1]})
        flash = tree["flash"]
        flash["code_bytes"] = _flow({**own, "host": 0})
        flash.pop("shared", None)
        if names:  # 0: on that core there is no such piece
            flash["shared"] = {
                name: _flow({**{core: sizes[kernel][1].get(name, 0)
                                for core, sizes in found.items()}, "host": 0})
                for name in names
            }  # fmt: skip


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.calibrate", description=__doc__)
    parser.add_argument("--write", action="store_true", help="change the kernel.yaml files")
    parser.add_argument("--code", action="store_true", help="measure code only")
    parser.add_argument("--report", action="store_true", help="fit nothing, say how good it is")
    parser.add_argument("--family", choices=grid.FAMILIES, help="only networks of one family")
    parser.add_argument("--core", choices=CORES, help="only one core")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="networks per family")
    parser.add_argument("--first", type=int, default=0, help="seed of the first network")
    parser.add_argument(
        "--keep", type=Path, help="file to keep the counts in, and to take them from"
    )
    parser.add_argument("kernels", nargs="*", help="only these")
    args = parser.parse_args()
    wanted = [k for k in catalogue().values() if not args.kernels or k.id in args.kernels]
    yaml = YAML()
    yaml.width = 200
    paths = {k.id: k.folder / "kernel.yaml" for k in catalogue().values()}
    trees = {name: yaml.load(path) for name, path in paths.items()}
    if not args.code:
        seeds = range(args.first, args.first + args.seeds)
        samples = Samples(_counts(args, seeds))
        if args.report:
            return int(report(samples, wanted) > 3)
        for kernel in wanted:
            calibrate(samples, kernel, trees[kernel.id])
    if args.write:
        write_code(trees)
        for name, path in paths.items():
            if args.code or name in {k.id for k in wanted}:
                with path.open("w") as file:
                    yaml.dump(trees[name], file)
    return 0


def _counts(args: argparse.Namespace, seeds: range) -> list[Count]:
    if args.keep is not None and args.keep.is_file():
        return list(pickle.loads(args.keep.read_bytes()))
    families = [args.family] if args.family else grid.FAMILIES
    found = []
    for counted in count(families, seeds, args.kernels, [args.core] if args.core else CORES):
        found += counted
        if args.keep is not None:
            args.keep.write_bytes(pickle.dumps(found))
    return found


if __name__ == "__main__":
    sys.exit(main())
