"""The int8 form of ternary networks, and the default aim that looks at it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import tiny_graph
from tinyrobust import boards, graph, memory
from tinyrobust.bench.random_network import random_network
from tinyrobust.memory import Aim
from tinyrobust.memory.int8_form import int8_form

PICO, H743 = boards.load("raspberry-pi-pico"), boards.load("nucleo-h743")


@pytest.mark.parametrize("specification", ["resnet8:50", "ds-cnn:50"])
def test_it_has_the_network_s_layers_and_takes_what_int8_takes(specification: str) -> None:
    ternary = random_network(specification)
    made = int8_form(ternary)
    assert made.input.shape == ternary.input.shape and made.output.size == ternary.output.size
    peer = memory.plan(random_network(specification.partition(":")[0] + "-int8"), H743)
    found = memory.plan(made, H743)
    # The published network has relu only where the form has it everywhere: within some percent.
    assert abs(found.flash_bytes - peer.flash_bytes) < 0.05 * peer.flash_bytes
    assert abs(found.ram_bytes - peer.ram_bytes) < 0.2 * peer.ram_bytes


def test_it_computes() -> None:
    made = int8_form(tiny_graph())
    image = np.full((1, *made.input.shape), 200, np.uint8)
    assert graph.run(made, image).shape == (1, made.output.size)


def test_the_default_never_takes_clearly_more_flash_than_int8() -> None:
    """Weights as code are fastest on a Cortex-M0+, and take twice the flash of int8 weights."""
    ternary = random_network("resnet8:50")
    other = memory.plan(int8_form(ternary), PICO)
    fastest, taken = memory.plan(ternary, PICO, aim=Aim("speed")), memory.plan(ternary, PICO)
    assert fastest.flash_bytes > 1.25 * other.flash_bytes
    assert taken.flash_bytes < other.flash_bytes and taken.optimize == "balanced"
    assert taken.instructions < other.instructions / 3


def test_where_speed_is_small_the_default_is_speed() -> None:
    ternary = random_network("resnet8:50")
    fastest, taken = memory.plan(ternary, H743, aim=Aim("speed")), memory.plan(ternary, H743)
    assert taken.optimize == "speed" and taken.sha256 == fastest.sha256
