"""Every board's firmware, built and run: the same integers, within the memory that was promised.

A board file that is added is tested here by itself, as far as it has a virtual board.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import Builder, tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust import boards, device, graph, image, resources, virtual
from tinyrobust.boards import Board
from tinyrobust.graph import Graph
from tinyrobust.kernels.layouts import dense

NAMES = [n for n in boards.names() if boards.load(n).virtual]

pytestmark = pytest.mark.slow


def residual_graph() -> Graph:
    """Every kind of node, a fused residual, and enough layers for the deepest stack."""
    b = Builder(11, (12, 12, 3))
    b.conv(16)
    x = b.requantize()
    b.conv(16)
    y = b.requantize()
    b.conv(16, source=y)
    b.requantize(b.x, x)
    b.pool("max")
    b.conv(24, stride=2)
    b.requantize()
    b.pool("average", 2, 1)
    b.average()
    b.dense(5)
    b.requantize(scores=True)
    return b.graph("residual")


@dataclass
class Running:
    board: Board
    net: Graph
    image: image.Image
    virtual: virtual.VirtualBoard
    session: device.Session


@pytest.fixture(scope="module", params=NAMES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    board, net = boards.load(request.param), residual_graph()
    out = tmp_path_factory.mktemp(board.id) / "build"
    built = image.build(net, board, out, model_name="residual")
    with (
        virtual.start(board, built, strict=board.virtual == "unicorn") as running,
        device.Session.open(
            running.port, timeout_s=PATIENCE_S, fault=running.raise_if_faulted
        ) as session,
    ):
        yield Running(board, net, built, running, session)


@pytest.fixture(scope="module", autouse=True)
def differing(request: pytest.FixtureRequest) -> Iterator[dict[str, list[int]]]:
    """Integers that differ from the interpreter's and integers compared, by board; printed."""
    counts: dict[str, list[int]] = {}
    yield counts
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not counts:
        return
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        reporter.ensure_newline()
        for name, (bad, total) in sorted(counts.items()):
            reporter.write_line(f"{name}: {bad} of {total:,} integers differ")


def compare(
    counts: dict[str, list[int]], running: Running, found: np.ndarray, expected: np.ndarray
) -> int:
    """How many integers differ; counted for the table."""
    assert found.shape == expected.shape
    bad = int((found != expected).sum())
    row = counts.setdefault(running.board.id, [0, 0])
    row[0] += bad
    row[1] += expected.size
    return bad


def images(net: Graph, n: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, *net.input.shape), dtype=np.uint8)


def test_hello_is_the_image_that_was_built(running: Running) -> None:
    hello = running.session.hello
    assert (hello.board, hello.model) == (running.board.id, "residual")
    assert hello.graph_sha256 == running.net.sha256
    assert hello.image_sha256 == running.image.meta["image_sha256"]
    assert running.session.image_hash() == running.image.meta["image_sha256"]
    assert hello.input_shape == running.net.input.shape and hello.classes == 5
    assert hello.clock_hz == running.board.clock_hz
    assert hello.is_virtual
    assert hello.baud_max == running.board.serial.baud_max


def test_scores_are_the_interpreters(running: Running, differing: dict[str, list[int]]) -> None:
    x = images(running.net, 8)
    found = running.session.infer_many(x)
    expected = graph.run(running.net, x)
    assert compare(differing, running, found.scores, expected) == 0
    assert np.array_equal(found.labels, expected.argmax(1))
    assert (found.cycles > 0).all()


def test_every_layer_is_the_interpreters(running: Running, differing: dict[str, list[int]]) -> None:
    x = images(running.net, 1)
    expected = graph.trace(running.net, x)
    found = running.session.trace(x[0])
    steps = {s["name"]: s for s in running.image.meta["steps"]}
    assert set(found) == set(steps)
    for name, stored in found.items():
        step = steps[name]
        values = dense(stored, step["shape"], step["type"], step["layout"])
        tensor = step["output"].partition("@")[0]  # a copy in another layout has a name of its own
        bad = compare(differing, running, values.reshape(-1), expected[tensor][0].reshape(-1))
        assert bad == 0, name


def test_the_stack_stays_below_its_bound(running: Running) -> None:
    running.session.infer_many(images(running.net, 2))
    running.session.trace(images(running.net, 1)[0])
    marks, promised = running.session.memory(), running.image.memory
    assert marks.arena_bytes == promised.arena_bytes
    if promised.stack.bound_bytes is None:
        assert running.board.is_host
        return
    assert marks.stack_bytes == promised.stack.reserved_bytes
    assert 0 < marks.stack_used_bytes <= promised.stack.bound_bytes
    # every function of the worst path ran, so the bound is not far above
    assert promised.stack.bound_bytes - marks.stack_used_bytes < 400
    assert promised.ram.part("buffers") >= marks.buffer_bytes


def test_cycles_repeat_where_instructions_are_counted(running: Running) -> None:
    if running.board.is_host:
        return  # a clock of the computer
    x = images(running.net, 1)
    counts = [int(running.session.infer_many(x).cycles[0]) for _ in range(3)]
    spread = max(counts) - min(counts)
    assert spread == 0 if running.board.virtual == "unicorn" else spread <= 0.01 * counts[0]


def test_reset_starts_again(running: Running) -> None:
    x = images(running.net, 1)
    before = running.session.infer_many(x).scores
    running.session.reset()
    assert np.array_equal(running.session.infer_many(x).scores, before)
    assert running.virtual.is_alive()


@pytest.mark.parametrize(("idcode", "clock_hz"), [(0x20036450, 480_000_000),
                                                   (0x10036450, 400_000_000)])  # fmt: skip
def test_h743_takes_the_clock_that_its_revision_allows(
    tmp_path: Path, idcode: int, clock_hz: int
) -> None:
    """DBGMCU_IDCODE: REV_ID 0x2003 is V, 0x1003 is Y."""
    board = boards.load("nucleo-h743")
    built = image.build(tiny_graph(), board, tmp_path / "b", model_name="tiny")
    with (
        virtual.start(board, built, strict=True, overrides={0x5C001000: idcode}) as running,
        device.Session.open(running.port, fault=running.raise_if_faulted) as session,
    ):
        assert session.hello.clock_hz == clock_hz
        assert session.baud == 921600  # the rate the board file allows, negotiated up


def test_h743_is_not_virtual_with_a_silicons_unique_id(tmp_path: Path) -> None:
    text = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace("text: VIRTUALBOARD", "text: LOT123WAFER4"))
    board = boards.load(tmp_path / "other.yaml")
    built = image.build(tiny_graph(), board, tmp_path / "b", model_name="tiny")
    with (
        virtual.start(board, built) as running,
        device.Session.open(running.port, fault=running.raise_if_faulted) as session,
    ):
        assert not session.hello.is_virtual


def test_h743_starts_without_the_clock_of_the_stlink(tmp_path: Path) -> None:
    """HSERDY never comes: PLL1 runs from HSI, at the same rate."""
    text = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()
    assert "{of: 16, to: 17}, " in text
    (tmp_path / "other.yaml").write_text(text.replace("{of: 16, to: 17}, ", ""))
    board = boards.load(tmp_path / "other.yaml")
    built = image.build(tiny_graph(), board, tmp_path / "b", model_name="tiny")
    with (
        virtual.start(board, built, strict=True) as running,
        device.Session.open(running.port, fault=running.raise_if_faulted) as session,
    ):
        assert session.hello.clock_hz == 480_000_000
