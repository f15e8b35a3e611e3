"""Fits the instruction terms of every kernel.yaml to counted runs: ``python -m
tests.kernels.calibrate [--write] [KERNEL ...]``.

In: synthetic networks whose layers vary everything the formulas depend on, run on an emulated
Cortex-M4 and M7 (DSP) and, for ``host``, as plain C++ on a Cortex-M4. Out: the fitted ``each``
of every term, the largest error over layers of more than 2,000 instructions, and the code size;
``--write`` puts them into the kernel.yaml files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from scipy.optimize import nnls

from tests.graphs import Builder, random_graph
from tests.kernels.arm import Device
from tests.kernels.host import FLAGS, forces, planned
from tinyrobust import boards, memory
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Kernel, Layer, Ports, Way, catalogue, expression
from tinyrobust.kernels.variables import known_names

# (cores of the group in kernel.yaml, board that counts, compiler flags)
GROUPS = ((("cortex-m7", "cortex-m4"), "nucleo-h743", ()),
          (("host",), "mps2-an386", ("-DTR_PORTABLE",)))  # fmt: skip
SMALL = 2000


def networks() -> Iterator[Graph]:
    """Networks for fitting; none of them is one of the graphs that the tests predict."""
    for seed, (size, zeros) in enumerate([(12, 0.5), (9, 0.2), (16, 0.7)]):
        b = Builder(100 + seed, (size, size + seed, 3), zeros)
        b.conv((16, 8, 24)[seed])
        b.requantize()
        source = b.x
        acc = b.conv(b.x.shape[2])
        b.requantize(acc, source)
        joined = b.x
        first = b.conv((24, 20, 48)[seed], 3, 2)
        second = b.conv(first.shape[2], 1, 2, source=joined)
        b.requantize(first, second)
        b.pool("max", 2, 1)
        b.conv((40, 12, 64)[seed], (1, 5))
        b.requantize(bits=4)
        b.conv(32, (3, 2), same=False)
        b.requantize()
        b.pool("average", 2, 1)
        b.average()
        b.dense(50)
        b.requantize()
        b.dense(10)
        b.requantize(scores=True)
        yield b.graph(f"calibration{seed}")
    b = Builder(200, (10, 10, 1), 0.1)
    b.conv(64, 3)
    b.requantize()
    b.conv(48, 3)  # too many nonzero weights for int16 sums
    b.requantize()
    wide = b.x
    second = b.conv(48, 3)
    b.requantize(second, wide)
    b.conv(64, 1)
    b.requantize()
    b.requantize()
    b.flatten()
    b.dense(30)
    b.requantize(scores=True)
    yield b.graph("calibration-wide")
    for seed, channels in enumerate((6, 16, 11, 32)):  # little but pools and bare requantisations
        b = Builder(300 + seed, (12, 11, 2))
        b.conv(channels, 1)
        b.requantize()
        b.pool(("max", "average")[seed % 2], 2, 1)
        b.pool(("average", "max")[seed % 2], 3, 1)
        b.requantize()
        both = b.x
        b.requantize(both, both)
        b.pool(("max", "average")[seed % 2], 3 - seed % 2, 2)
        b.average()
        b.dense(8 + seed)
        b.requantize(scores=True)
        yield b.graph(f"calibration-pools{seed}")
    for seed in range(1000, 1006):
        yield random_graph(seed)


@dataclass
class Sample:
    """One counted layer: the values of the terms' formulas, and the instructions."""

    layer: str
    kernel: str
    terms: list[float]
    count: int


def count(group: int) -> list[Sample]:
    """Run every network with every kernel that accepts its layers."""
    _, board, flags = GROUPS[group]
    samples = []
    for graph in networks():
        for force in forces(graph, boards.load(board).core):
            plan = planned(graph, board, force)
            with tempfile.TemporaryDirectory() as folder:
                device = Device(plan, Path(folder), flags)
                image = np.random.default_rng(0).integers(0, 256, graph.input.shape, np.uint8)
                counts = device.run(image)[1]
            for step, layer, n in zip(plan.steps, plan.layers, counts, strict=True):
                kernel = catalogue()[step.kernel]
                samples.append(
                    Sample(f"{graph.name}/{step.name}", kernel.id,
                           _values(kernel, layer, graph, group, step), n)
                )  # fmt: skip
    return samples


def _values(
    kernel: Kernel, layer: Layer, graph: Graph, group: int, step: memory.Step
) -> list[float]:
    core = GROUPS[group][0][0]
    way = Way(step.variant, Ports(**step.layout))
    known = known_names(kernel.file, layer, graph, core, way)
    terms = kernel.file.instructions[group].terms
    return [expression.evaluate(term.of, known) for term in terms.values()]


def fit(samples: list[Sample]) -> tuple[np.ndarray, float, str]:
    """(each per term, largest error in percent over layers above SMALL, the layer that has it)."""
    matrix = np.array([s.terms for s in samples], float)
    counts = np.array([s.count for s in samples], float)
    weight = 1 / (counts + SMALL)  # relative error, but not of tiny layers
    each, _ = nnls(matrix * weight[:, None], counts * weight)
    each = np.array([float(f"{e:.4g}") for e in each])
    error = np.where(counts > SMALL, np.abs(matrix @ each - counts) / counts, 0)
    worst = int(np.argmax(error))
    return each, float(np.ceil(error[worst] * 1000) / 10), samples[worst].layer


def code_size(kernel: Kernel, core: str, folder: Path) -> int:
    """Bytes of code and constants in the kernel's objects, as ``image`` compiles them."""
    total = 0
    for source in kernel.sources:
        obj = folder / f"{source.stem}.o"
        root = kernel.folder.parents[1]
        subprocess.run(
            ["arm-none-eabi-g++", f"-mcpu={core}", "-mthumb", *FLAGS, "-O2", f"-I{root}", "-c",
             str(source), "-o", str(obj)], check=True, cwd=folder,
        )  # fmt: skip
        out = subprocess.run(
            ["arm-none-eabi-size", str(obj)], check=True, capture_output=True, text=True
        ).stdout
        total += int(out.splitlines()[1].split()[0])
    return total


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.calibrate")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("kernels", nargs="*")
    args = parser.parse_args()
    samples = [count(group) for group in range(len(GROUPS))]
    for kernel in catalogue().values():
        if args.kernels and kernel.id not in args.kernels:
            continue
        yaml = YAML()
        yaml.width = 200
        path = kernel.folder / "kernel.yaml"
        tree = yaml.load(path)
        for group, (cores, _, _) in enumerate(GROUPS):
            mine = [s for s in samples[group] if s.kernel == kernel.id]
            if not mine:
                print(f"{kernel.id}: no layer to fit", file=sys.stderr)  # noqa: T201
                return 1
            each, error, where = fit(mine)
            entry = tree["instructions"][group]
            assert tuple(entry["cores"]) == cores
            entry["error_percent"] = error
            for name, value in zip(entry["terms"], each, strict=True):
                entry["terms"][name]["each"] = float(value)
            text = ", ".join(f"{n} {v:g}" for n, v in zip(entry["terms"], each, strict=True))
            print(f"{kernel.id} {cores[0]}: {text}; worst {error} % ({where}, "  # noqa: T201
                  f"{len(mine)} layers)")  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            for core in ("cortex-m7", "cortex-m4"):
                tree["flash"]["code_bytes"][core] = code_size(kernel, core, Path(folder))
        if args.write:
            with path.open("w") as file:
                yaml.dump(tree, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
