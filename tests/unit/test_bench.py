"""Counting on the virtual board, the ratchet, and the published int8 figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.graphs import resnet8_graph, tiny_graph
from tinyrobust import boards
from tinyrobust.cli.main import run
from tinyrobust.errors import BoardError, TinyRobustError
from tinyrobust.evaluate import ratchet
from tinyrobust.evaluate.bench import Bench, bench
from tinyrobust.evaluate.published import reference
from tinyrobust.graph import file
from tinyrobust.graph.model import load_model, zoo


def made(**values: Any) -> Bench:
    start: dict[str, Any] = {
        "model": "m", "board": "b", "graph_sha256": "0" * 64, "compiler": "gcc 1",
        "counted": 1000, "predicted": 990, "flash_bytes": 500, "ram_bytes": 300,
        "arena_bytes": 100, "layers": (), "reference": None,
    }  # fmt: skip
    return Bench(**{**start, **values})


def test_the_ratchet_holds_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks" / "ratchet.json"
    assert "nothing is recorded" in ratchet.compare(made(), path).not_compared
    ratchet.update(made(), path)
    ratchet.update(made(board="c", counted=7), path)
    assert ratchet.compare(made(), path) == ratchet.Verdict(())
    worse = ratchet.compare(made(counted=1001, flash_bytes=400), path)
    assert [c.figure for c in worse.worse] == ["instructions"]
    assert "1,000 -> 1,001 (+0.10 %)" in worse.worse[0].text
    assert {c.figure for c in worse.changes} == {"instructions", "flash_bytes"}
    assert not ratchet.compare(made(counted=900), path).worse
    assert ratchet.compare(made(board="c", counted=8), path).worse


@pytest.mark.parametrize(
    "other", [{"compiler": "gcc 2", "counted": 2000}, {"graph_sha256": "1" * 64, "counted": 2000}]
)
def test_other_graphs_and_compilers_are_not_compared(other: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "ratchet.json"
    ratchet.update(made(), path)
    verdict = ratchet.compare(made(**other), path)
    assert verdict.not_compared and not verdict.worse


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "x", "entries": {}}', "\xff"])
def test_a_damaged_ratchet_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ratchet.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TinyRobustError) as caught:
        ratchet.read(path)
    assert str(path) in caught.value.message


def test_published_figures_stand_beside_resnet8_only() -> None:
    found = reference(resnet8_graph())
    assert found is not None and found.instructions == 29_940_000
    assert sum(found.layers.values()) == 27_553_000  # adds, pooling and dense are not in it
    assert "not run here" in found.how
    assert reference(tiny_graph()) is None
    assert reference(resnet8_graph(size=16)) is None


@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_a_board_that_cannot_count_is_refused(board: str, tmp_path: Path) -> None:
    with pytest.raises(BoardError) as caught:
        bench(tiny_graph(), boards.load(board), tmp_path, model_name="tiny", force={})
    assert "nucleo-h743" in caught.value.hint


@pytest.mark.parametrize("board", ["nucleo-h743"])
def test_bench_command_counts_and_ratchets(
    board: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, kept = tmp_path / "tiny.graph.npz", tmp_path / "ratchet.json"
    file.save(tiny_graph(), model)
    args = ["bench", "--board", board, "--model", str(model), "--out", str(tmp_path / "build"),
            "--ratchet", str(kept)]  # fmt: skip
    assert run([*args, "--update"]) == 0
    capsys.readouterr()
    assert run([*args, "--json", "-"]) == 0  # the same again: counts repeat exactly
    result = json.loads(capsys.readouterr().out)
    assert result["ratchet"] == {"holds": True, "not_compared": "", "changes": []}
    steps = [layer["name"] for layer in result["layers"]]
    assert steps == ["input", "conv1", "pool3", "conv4", "average", "dense7"]
    assert all(layer["counted"] > 0 for layer in result["layers"])
    assert sum(layer["counted"] for layer in result["layers"]) <= result["counted"]

    better = json.loads(kept.read_text())
    better["entries"]["tiny"][board]["instructions"] -= 1
    kept.write_text(json.dumps(better))
    assert run(args) == 1
    assert "is worse than recorded: instructions" in capsys.readouterr().err
    assert run([*args, "--kernel", "conv1=conv2d_t2_u8"]) == 0  # forced: not compared
    assert run([*args, "--kernel", "conv1=conv2d_t2_u8", "--update"]) == 1


KEPT = ratchet.read(ratchet.default_path())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "board"), [(model, board) for model, kept in KEPT.items() for board in kept]
)
def test_the_zoo_is_no_worse_than_recorded(model: str, board: str, tmp_path: Path) -> None:
    graph = load_model(model).graph
    result = bench(graph, boards.load(board), tmp_path / "build", model_name=model, force={})
    verdict = ratchet.compare(result, ratchet.default_path())
    assert not verdict.worse, [change.text for change in verdict.worse]
    assert not verdict.not_compared or "compiler" in verdict.not_compared
    assert abs(result.predicted / result.counted - 1) < 0.05


def test_every_zoo_model_is_recorded() -> None:
    assert set(KEPT) == set(zoo())
