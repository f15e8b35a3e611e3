"""The kernel choice against trying every combination."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.graphs import tiny_graph
from tinyrobust.kernels import HWC, Cost, catalogue, layers
from tinyrobust.memory.choose import Ceiling, Problem, Weights, choose
from tinyrobust.memory.demand import demand
from tinyrobust.memory.options import Option

CODE_BYTES = {"small": 500, "middle": 900, "large": 2000}


def _problem(rng: random.Random) -> Problem:
    """The layers of a small Graph with options of random costs; pieces of code are shared."""
    graph = tiny_graph()
    found = layers(graph)
    rows = []
    for _ in found:
        row = []
        for name in rng.sample(sorted(CODE_BYTES), rng.randint(1, 3)):
            cost = Cost(rng.randint(0, 2000), rng.randint(0, 300), rng.randint(0, 4000),
                        rng.randint(1000, 9_000_000))  # fmt: skip
            row.append(Option(catalogue()["conv2d_t2_u8"], cost, {name: CODE_BYTES[name]}))
        rows.append(tuple(row))
    return Problem(graph, found, tuple(rows), demand(graph, found, rows), {}, in_cycles=False)


def _best(problem: Problem, flash: int, ram: int) -> tuple[int, ...] | None:
    best: tuple[tuple[int, int], tuple[int, ...]] | None = None
    alive = [
        sum(t.sizes[HWC] for t in problem.demand.tensors if t.made < i <= t.last)
        for i in range(len(problem.layers))
    ]
    for pick in itertools.product(*(range(len(row)) for row in problem.options)):
        taken = [row[j] for row, j in zip(problem.options, pick, strict=True)]
        pieces = {name for option in taken for name in option.code}
        used = sum(o.cost.flash_weights + o.cost.flash_tables for o in taken)
        used += sum(CODE_BYTES[name] for name in pieces)
        own = (row[j] for row, j in zip(problem.demand.own, pick, strict=True))
        fits = used <= flash and all(
            mine + here <= ram for mine, here in zip(own, alive, strict=True)
        )
        cost = sum(o.cost.instructions for o in taken), used
        if fits and (best is None or cost < best[0]):
            best = cost, pick
    return best and best[1]


@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_best_of_all_combinations(seed: int) -> None:
    rng = random.Random(seed)
    fitted = 0
    for _ in range(12):
        problem = _problem(rng)
        flash, ram = rng.randint(3000, 14_000), rng.randint(2000, 6000)
        found = choose(problem, Ceiling(flash, ram, 0, ram), Weights(time=1), Weights(flash=1))
        expected = _best(problem, flash, ram)
        assert (found and found.taken) == expected
        fitted += expected is not None
    assert 0 < fitted < 12  # both outcomes were tried
