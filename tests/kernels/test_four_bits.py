"""Unsigned 4-bit activations: every kernel of the family ``fixed`` in every variant, forced."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder
from tests.kernels.arm import Device
from tests.kernels.host import Compiled, planned
from tinyrobust import boards
from tinyrobust.graph import interpreter
from tinyrobust.graph.nodes import FAMILIES, Graph
from tinyrobust.kernels import catalogue, layers
from tinyrobust.memory import options

BITS = 4
BOARD = "nucleo-h743"


@cache
def four_bits() -> Graph:
    """All layers that ternary networks have, all activations but the image's in 0..15."""
    b = Builder(4, (12, 13, 3), zeros=0.4)
    b.conv(8, 3)
    b.requantize(bits=BITS)
    identity = b.x
    b.requantize(b.conv(8, 3), identity, bits=BITS, shift=16)  # a residual of u8
    source = b.x
    first = b.conv(12, 3, 2)
    b.requantize(first, b.conv(12, 1, 2, source=source), bits=BITS)  # and one of i16
    b.depthwise(3)
    b.requantize(bits=BITS)
    wide = b.x
    b.requantize(b.depthwise(3), wide, bits=BITS, shift=16)
    b.conv(9, 1)
    b.requantize(bits=BITS)
    b.pool("max", 2, 1)
    both = b.x
    b.requantize(both, bits=BITS, shift=6)
    b.average()
    b.dense(7)
    b.requantize(bits=BITS)
    b.dense(5)
    b.requantize(scores=True)
    return b.graph("four-bits")


def label(option: options.Option) -> str:
    """The kernel and its variant, as ``--kernel`` takes it; layouts are the planner's."""
    settings = ",".join(f"{name}={value}" for name, value in option.way.variant.items())
    return f"{option.kernel.id}:{settings}"


@cache
def forces() -> list[dict[str, str]]:
    """Choices for all layers, until every layer has had each of its kernels and variants."""
    graph = four_bits()
    core = boards.load(BOARD).core
    rows = {la.name: list(dict.fromkeys(label(o) for o in options.of_layer(la, graph, core)))
            for la in layers(graph)}  # fmt: skip
    most = max(len(row) for row in rows.values())
    return [{name: row[i % len(row)] for name, row in rows.items()} for i in range(most)]


def test_every_kernel_accepts_them() -> None:
    kernels = {k.id for k in catalogue().values() if k.file.op in FAMILIES["fixed"]}
    assert kernels == {text.partition(":")[0] for force in forces() for text in force.values()}
    graph = four_bits()
    assert all(graph.tensor[la.source].hi == (1 << BITS) - 1
               for la in layers(graph)[2:] if la.source)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(forces())))
def test_every_kernel_equals_the_interpreter(index: int, tmp_path: Path) -> None:
    graph = four_bits()
    force = forces()[index]
    plan = planned(graph, BOARD, force)
    assert {s.kernel for s in plan.steps} >= {text.partition(":")[0] for text in force.values()}
    images = np.random.default_rng(5).integers(0, 256, (2, *graph.input.shape), np.uint8)
    images[0] = 255  # the largest sums
    expected = interpreter.trace(graph, images)
    device = Device(plan, tmp_path)
    for i, image in enumerate(images):
        for name, value in device.run(image)[0].items():
            np.testing.assert_array_equal(
                value, expected[name.partition("@")[0]][i], err_msg=f"{force} {name}"
            )


def test_plain_cpp_equals_the_interpreter(tmp_path: Path) -> None:
    graph = four_bits()
    compiled = Compiled(planned(graph), tmp_path)
    image = np.full(graph.input.shape, 255, np.uint8)
    expected = interpreter.run(graph, image[None])[0]
    np.testing.assert_array_equal(compiled.scores(image), expected)
