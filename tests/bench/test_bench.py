"""Counting on the virtual board, the ratchet, and the published int8 figures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.graphs import resnet8_graph, tiny_graph
from tinyrobust import boards
from tinyrobust.bench import ratchet
from tinyrobust.bench.bench import Bench, bench
from tinyrobust.bench.published import network, references
from tinyrobust.bench.random_network import by_model_name, model_name, random_network
from tinyrobust.cli.main import run
from tinyrobust.errors import BoardError, GraphError, TinyRobustError
from tinyrobust.graph import file
from tinyrobust.graph.interpreter import trace
from tinyrobust.graph.model import load_model, zoo


def made(**values: Any) -> Bench:
    start: dict[str, Any] = {
        "model": "m", "board": "b", "graph_sha256": "0" * 64, "compiler": "gcc 1",
        "core": "cortex-m4", "network": None, "family": "fixed", "zeros": 0.5,
        "instructions": 1000, "first_instructions": 1000, "m4_cycles": 1300, "predicted": 990,
        "predicted_cycles": None, "flash_bytes": 500, "ram_bytes": 300, "weight_flash_bytes": 200,
        "network_flash_bytes": 400, "network_ram_bytes": 100, "flash": {}, "ram": {},
        "layers": (), "references": (),
    }  # fmt: skip
    return Bench(**{**start, **values})


def test_the_ratchet_holds_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks" / "ratchet.json"
    assert "nothing is recorded" in ratchet.compare(made(), path).not_compared
    ratchet.update(made(), path)
    ratchet.update(made(board="c", instructions=7), path)
    assert ratchet.compare(made(), path) == ratchet.Verdict(())
    worse = ratchet.compare(made(instructions=1001, flash_bytes=400), path)
    assert [c.figure for c in worse.worse] == ["instructions"]
    assert "1,000 -> 1,001 (+0.10 %)" in worse.worse[0].text
    assert {c.figure for c in worse.changes} == {"instructions", "flash_bytes"}
    better = ratchet.compare(made(instructions=900), path)
    assert not better.worse and [c.figure for c in better.better] == ["instructions"]
    assert [c.figure for c in ratchet.compare(made(m4_cycles=1301), path).worse] == ["m4_cycles"]
    assert ratchet.compare(made(board="c", instructions=8), path).worse


@pytest.mark.parametrize(
    "other",
    [{"compiler": "gcc 2", "instructions": 2000}, {"graph_sha256": "1" * 64, "instructions": 2000}],
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


def test_published_figures_stand_beside_networks_of_their_shape_only() -> None:
    counted, *boards_ = references(resnet8_graph())
    assert counted.instructions == 29_940_000 and counted.m4_cycles == 36_600_000
    assert sum(f.instructions for f in counted.layers.values()) == 27_553_000  # no adds, no dense
    assert "not run here" in counted.how
    assert [r.measured_cycles for r in boards_ if r.name.startswith("X-CUBE-AI")] == [
        19_812_000, 11_424_000,
    ]  # fmt: skip
    assert all(r.instructions is None and "not run here" in r.how for r in boards_)
    assert references(tiny_graph()) == () == references(resnet8_graph(size=16))


@pytest.mark.parametrize(
    ("specification", "shape"),
    [("resnet8:50", "resnet8"), ("resnet8:5.5", "resnet8"), ("resnet8-int8", "resnet8"),
     ("ds-cnn-int8", "ds-cnn"), ("ds-cnn:40", "ds-cnn")],
)  # fmt: skip
def test_random_networks_have_the_published_shapes(specification: str, shape: str) -> None:
    graph = random_network(specification)
    assert network(graph) == shape
    total = sum(graph.macs(node) for node in graph.nodes)
    assert total == {"resnet8": 12_501_632, "ds-cnn": 2_656_768}[shape]
    assert graph.sha256 == random_network(specification).sha256
    again = by_model_name(model_name(specification))
    assert again is not None and again.sha256 == graph.sha256
    images = np.random.default_rng(1).integers(0, 256, (2, *graph.input.shape), np.uint8)
    values = trace(graph, images)
    if graph.family == "fixed":
        zeros = float(specification.partition(":")[2]) / 100
        weights = np.concatenate([n.arrays["weights"].ravel() for n in graph.nodes
                                  if "weights" in n.arrays])  # fmt: skip
        assert abs((weights == 0).mean() - zeros) < 0.01
    for tensor in graph.tensors:  # nothing is dead or stuck at one end
        assert values[tensor.name].std() > 0.03 * (min(tensor.hi, 127) - max(tensor.lo, -128))
    assert by_model_name("shapes-small") is None


@pytest.mark.parametrize(
    "specification", ["", "resnet8", "resnet8:100", "resnet9", "resnet8-int8:5", "x:50"]
)
def test_unknown_random_networks_are_refused(specification: str) -> None:
    with pytest.raises(GraphError, match="no random network"):
        random_network(specification)


def test_a_board_that_cannot_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BoardError) as caught:
        bench(tiny_graph(), boards.load("host"), tmp_path, model_name="tiny", force={})
    assert "nucleo-h743" in caught.value.hint and "mps2-an386" in caught.value.hint


BOARDS = ["nucleo-h743", "mps2-an386"]


def test_bench_command_counts_and_ratchets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, kept = tmp_path / "tiny.graph.npz", tmp_path / "ratchet.json"
    file.save(tiny_graph(), model)
    args = ["bench", *(a for b in BOARDS for a in ("--board", b)), "--model", str(model),
            "--out", str(tmp_path / "build"), "--ratchet", str(kept)]  # fmt: skip
    assert run([*args, "--update"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "run over cortex-m7 code" in said
    assert said.count("not measured") == len(BOARDS)
    held = json.loads(kept.read_text())
    held["entries"]["tiny"][BOARDS[0]]["instructions"] += 1
    held["entries"]["tiny"][BOARDS[1]]["instructions"] -= 1
    kept.write_text(json.dumps(held))
    plot = tmp_path / "bench.svg"
    assert run([*args, "--json", "-", "--plot", str(plot)]) == 1
    out, err = capsys.readouterr()
    assert f"is worse than recorded: {BOARDS[1]}: instructions" in err
    assert "hold it with --update" in err  # the screen, while JSON takes standard output
    results = json.loads(out)["runs"]
    assert [r["board"] for r in results] == BOARDS
    for result, holds in zip(results, (True, False), strict=True):
        # counts repeat exactly: nothing else changed
        assert result["ratchet"]["holds"] is holds and not result["ratchet"]["not_compared"]
        assert [c["figure"] for c in result["ratchet"]["changes"]] == ["instructions"]
        _check(result)
    ElementTree.fromstring(plot.read_text())


def _check(result: dict[str, Any]) -> None:
    """Names, and sums that fit."""
    steps = [layer["name"] for layer in result["layers"]]
    assert [s for s in steps if "@" not in s] == [
        "input", "conv1", "pool3", "conv4", "average", "dense7"
    ]  # fmt: skip
    for figure in ("instructions", "m4_cycles"):
        parts = [layer[figure] for layer in result["layers"]]
        assert all(n > 0 for n in parts) and sum(parts) <= result[figure]
    assert 1.1 < result["m4_cycles"] / result["instructions"] < 1.7
    assert result["first_instructions"] >= result["instructions"]
    assert sum(result["flash"].values()) == result["flash_bytes"]
    assert sum(result["ram"].values()) == result["ram_bytes"]
    own, whole = result["weight_flash_bytes"], result["network_flash_bytes"]
    assert sum(la["weights_bytes"] + la["tables_bytes"] for la in result["layers"]) <= own
    assert own < whole < result["flash_bytes"] - result["flash"]["protocol code"]
    assert result["network_ram_bytes"] < result["ram_bytes"] - result["ram"]["stack"]


def test_forced_kernels_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "tiny.graph.npz"
    file.save(tiny_graph(), model)
    args = ["bench", "--board", BOARDS[0], "--model", str(model), "--out", str(tmp_path / "build")]
    forced = [*args, "--kernel", "conv1=conv2d_t2_u8"]
    assert run(forced) == 0
    assert "kernels were forced" in capsys.readouterr().out
    assert run([*forced, "--update"]) == 1
    assert run([*args, "--random", "resnet8:50"]) == 1


def test_our_int8_stands_beside_the_ternary_network_of_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "ratchet.json"
    assert ratchet.our_int8(made(network="resnet8"), path) is None
    int8 = made(model="random-resnet8-int8", network="resnet8", family="tflite", instructions=5)
    ratchet.update(int8, path)
    found = ratchet.our_int8(made(network="resnet8"), path)
    assert found is not None and found.instructions == 5 and "recorded" in found.how
    assert ratchet.our_int8(made(network="resnet8", board="c"), path) is None
    assert ratchet.our_int8(int8, path) is None


KEPT = ratchet.read(ratchet.default_path())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "board"), [(model, board) for model, kept in KEPT.items() for board in kept]
)
def test_nothing_is_worse_than_recorded(model: str, board: str, tmp_path: Path) -> None:
    graph = by_model_name(model) or load_model(model).graph
    result = bench(graph, boards.load(board), tmp_path / "build", model_name=model, force={})
    verdict = ratchet.compare(result, ratchet.default_path())
    assert not verdict.worse, (
        f"{[change.text for change in verdict.worse]}: mend it, or say why and record it with "
        f"tinyrobust bench --update (see CONTRIBUTING.md)"
    )
    assert not verdict.not_compared or "compiler" in verdict.not_compared
    if verdict.better:
        better = "; ".join(change.text for change in verdict.better)
        warnings.warn(f"{model} on {board} is better than recorded: {better}", stacklevel=1)
    if graph.family == "fixed":  # int8's costs wait for their calibration
        assert abs(result.predicted / result.instructions - 1) < 0.05


def test_every_zoo_model_is_recorded_on_both_boards() -> None:
    random = {"random-resnet8-50", "random-resnet8-int8", "random-ds-cnn-int8"}
    assert set(KEPT) == {*zoo(), *random}
    assert all(set(kept) == set(BOARDS) for kept in KEPT.values())
