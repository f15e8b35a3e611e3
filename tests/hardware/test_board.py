"""A real board on ``--port``, flashed with a zoo model: the interpreter's integers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tinyrobust import boards, graph
from tinyrobust.device import Session
from tinyrobust.graph.model import load_model


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session.open(request.config.getoption("--port")) as opened:
        yield opened


def test_a_flashed_board_computes_the_interpreters_integers(session: Session) -> None:
    hello = session.hello
    board, net = boards.load(hello.board), load_model(hello.model).graph
    assert hello.graph_sha256 == net.sha256, "the board runs another version of the zoo model"
    assert session.baud == board.serial.baud_max
    pictures = np.random.default_rng(5).integers(0, 256, (50, *net.input.shape), np.uint8)
    batch = session.infer_many(pictures)
    assert np.array_equal(batch.scores, graph.run(net, pictures))
    assert (batch.cycles > 0).all()

    total = session.infer(pictures[0]).cycles
    layers = session.layer_cycles()
    assert len(layers) == hello.step_count
    assert 0.9 * total < sum(cycles for _, cycles in layers) <= total


def test_memory_and_reset(session: Session) -> None:
    marks = session.memory()
    assert 0 < marks.stack_used_bytes < marks.stack_bytes
    session.reset()
    assert session.image_hash() == session.hello.image_sha256
