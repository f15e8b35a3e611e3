"""`tinyrobust verify`: zero when all is equal, and loud when it is not."""

from __future__ import annotations

import itertools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.graphs import random_graph, tiny_graph
from tinyrobust import boards, graph, memory
from tinyrobust.cli.main import run
from tinyrobust.graph import file
from tinyrobust.graph.model import Model
from tinyrobust.prove import verify as stage


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.graph.npz"
    file.save(tiny_graph(), path)
    return path


def verify(path: Path, tmp_path: Path, *options: str) -> tuple[int, dict]:
    out = tmp_path / "verify.json"
    command = ["verify", "--model", str(path), "--board", "nucleo-h743", "--samples", "4"]
    code = run([*command, "--layers", "2", "--json", str(out), *options])
    return code, json.loads(out.read_text())


@pytest.mark.slow
def test_all_back_ends_agree(tiny_file: Path, tmp_path: Path) -> None:
    code, result = verify(tiny_file, tmp_path)
    assert code == 0
    assert result["schema"] == "tinyrobust.verify/1" and result["holds"]
    names = [c["name"] for c in result["columns"]]
    assert names == ["hls4ml C simulation", "host build", "virtual nucleo-h743", "QEMU mps2-an500"]
    oracle, *others = result["columns"]
    if find_spec("hls4ml") and find_spec("qkeras"):  # rebuilt from the Graph itself
        assert oracle["differing"] == 0 and oracle["integers"] > 0
    else:
        assert oracle["differing"] is None and oracle["skipped"]
    net = tiny_graph()
    for column in others:
        assert column["differing"] == 0 and column["integers"] == 4 * 4
        assert len({name.partition("@")[0] for name in column["layers"]}) == 6
        for name, (bad, total) in column["layers"].items():
            assert bad == 0 and total == 2 * net.tensor[name.partition("@")[0]].size
    assert result["changed"]["differing"] > 0
    assert result["source"].startswith("random images, seed 0 (unknown task 'synthetic'")


@pytest.mark.slow
def test_forced_kernels_reach_every_build(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    plan = memory.plan

    def noted(*args: Any, **named: Any) -> memory.Plan:
        seen.append(named)
        return plan(*args, **named)

    monkeypatch.setattr(memory, "plan", noted)
    code, result = verify(tiny_file, tmp_path, "--kernel", "*=conv2d_tl_u8")
    assert code == 0 and result["holds"]
    # host build, the board, QEMU, and the host build of the changed weight, which is not forced
    assert [k.get("force") for k in seen].count({"*": "conv2d_tl_u8"}) == 3


@pytest.mark.slow
def test_a_difference_is_exit_1(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    advance = graph.advance
    monkeypatch.setattr(graph, "advance", lambda *given: advance(*given) + 1)
    code, result = verify(tiny_file, tmp_path)
    assert code == 1 and not result["holds"]
    first, *others = [c["differing"] for c in result["columns"]]
    assert first in (None, 16) and others == [16, 16, 16]  # without hls4ml there is no first
    message = capsys.readouterr().err
    assert "integers differ: " in message
    assert "host build, virtual nucleo-h743, QEMU mps2-an500" in message


def test_a_difference_in_a_layer_alone_is_counted() -> None:
    layers = {"a": np.arange(12).reshape(2, 6), "b": np.zeros((2, 3), np.int32)}
    found = iter([{"a": layers["a"][0], "b": layers["b"][0]},
                  {"a": layers["a"][1] + (layers["a"][1] == 7), "b": layers["b"][1]}])  # fmt: skip
    counts = stage._layer_counts(found, layers)
    assert counts == {"a": (1, 12), "b": (0, 6)}
    column = stage.Column("x", 0, 10, 0.0, counts)
    assert not column.equal


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_weight_is_one_trit_and_is_noticed(tmp_path: Path, seed: int) -> None:
    net = random_graph(seed)
    for other, (layer, index, before, after) in itertools.islice(stage.weight_changes(net), 12):
        assert before != after and {before, after} <= {-1, 0, 1}
        for node in net.nodes:
            for key, array in node.arrays.items():
                changed = other.node[node.name].arrays[key]
                expected = array.copy()
                if (node.name, key) == (layer, "weights"):
                    expected[index] = after
                assert np.array_equal(changed, expected)
    images, _ = stage.load_images(net, 20)
    changed = stage.change_a_weight(net, images, graph.run(net, images), tmp_path)
    assert changed.differing > 0


def test_images_of_a_task_are_its_first_test_images() -> None:
    from tinyrobust import tasks
    from tinyrobust.graph.model import load_model

    net = load_model("shapes-small").graph
    images, source = stage.load_images(net, 6)
    assert np.array_equal(images, tasks.get("shapes").load("test", 6)[0])
    assert source == "first 6 test images of shapes"


@pytest.mark.slow
@pytest.mark.train
def test_hls4ml_agrees_on_the_zoo_model(tmp_path: Path) -> None:
    code, result = verify(Path("shapes-small"), tmp_path)
    assert code == 0
    oracle = result["columns"][0]
    assert oracle["differing"] == 0 and oracle["integers"] == 40
    assert len(oracle["layers"]) >= 13
    assert all(bad == 0 for bad, _ in oracle["layers"].values())


def test_without_the_training_extra_the_column_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyrobust.convert import oracle
    from tinyrobust.errors import ConvertError
    from tinyrobust.graph.model import load_model

    def missing(folder: Path, net: object) -> None:
        raise ConvertError("needs the training extra", "pip install")

    monkeypatch.setattr(oracle, "for_model", missing)
    monkeypatch.setattr(stage, "find_spec", lambda name: None)
    zoo = load_model("shapes-small")
    images = np.zeros((1, *zoo.graph.input.shape), np.uint8)
    column = stage._run_oracle(zoo, images, np.zeros((1, 10)), {}, 0, lambda *_: None)
    assert (column.differing, column.skipped) == (None, "needs the training extra")
    # With the extra the same failure is no excuse.
    monkeypatch.setattr(stage, "find_spec", lambda name: object())
    with pytest.raises(ConvertError):
        stage._run_oracle(zoo, images, np.zeros((1, 10)), {}, 0, lambda *_: None)


def test_model_is_what_the_stage_takes(tmp_path: Path) -> None:
    assert isinstance(Model("x", tiny_graph(), tmp_path), Model)
    assert boards.load(stage.QEMU_BOARD).virtual == "qemu"
