"""The kernel choice against trying every combination."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

import pytest

from tinyrobust.kernels.predict import Cost
from tinyrobust.memory.choose import Option, choose

CODE_BYTES = {"small": 500, "middle": 900, "large": 2000}


@dataclass(frozen=True)
class _Kernel:
    id: str


def _problem(rng: random.Random) -> tuple[list[list[Option]], list[int]]:
    options = []
    for _ in range(rng.randint(1, 5)):
        row = []
        for name in rng.sample(sorted(CODE_BYTES), rng.randint(1, 3)):
            cost = Cost(rng.randint(0, 2000), rng.randint(0, 300), rng.randint(0, 4000),
                        rng.randint(1000, 9_000_000))  # fmt: skip
            kernel: Any = _Kernel(name)
            row.append(Option(kernel, cost, CODE_BYTES[name]))
        options.append(row)
    return options, [rng.randint(0, 4000) for _ in options]


def _best(
    options: list[list[Option]], alive: list[int], flash: int, ram: int
) -> tuple[int, ...] | None:
    best: tuple[float, tuple[int, ...]] | None = None
    for pick in itertools.product(*(range(len(row)) for row in options)):
        taken = [row[j] for row, j in zip(options, pick, strict=True)]
        used = {o.kernel.id for o in taken}
        constants = sum(o.cost.flash_weights + o.cost.flash_tables for o in taken)
        fits = constants + sum(CODE_BYTES[k] for k in used) <= flash and all(
            here + o.cost.scratch_bytes <= ram for here, o in zip(alive, taken, strict=True)
        )
        cost = sum(o.cost.instructions for o in taken) + 1e-3 * len(used)
        if fits and (best is None or cost < best[0]):
            best = cost, pick
    return best and best[1]


@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_best_of_all_combinations(seed: int) -> None:
    rng = random.Random(seed)
    fitted = 0
    for _ in range(20):
        options, alive = _problem(rng)
        flash, ram = rng.randint(3000, 12_000), rng.randint(5000, 9000)
        expected = _best(options, alive, flash, ram)
        assert choose(options, alive, flash, ram) == expected
        fitted += expected is not None
    assert 0 < fitted < 20  # both outcomes were tried


def test_a_layer_without_kernels_has_no_choice() -> None:
    assert choose([[]], [0], 1000, 1000) is None
