"""`tinyrobust verify` of a .tflite file, and the inputs it may be given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_cases import CASES
from tinyrobust.cli.main import run
from tinyrobust.convert.models import load_model
from tinyrobust.errors import TaskError
from tinyrobust.graph import Graph, file
from tinyrobust.prove import verify as stage
from tinyrobust.prove.inputs import load_images, read_inputs
from tinyrobust.tflite import importer as tflite
from tinyrobust.train import keras2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "conv.tflite"
    found.write_bytes(CASES["CONV_2D"](np.random.default_rng(1)))
    return found


@pytest.fixture
def net(path: Path) -> Graph:
    return tflite.load(path)


def test_inputs_are_random_bytes_over_the_whole_range(net: Graph) -> None:
    x, source = load_images(net, 40)
    assert x.shape == (40, *net.input.shape) and (x.min(), x.max()) == (0, 255)
    assert source == "random inputs over the whole range, seed 0"
    assert np.array_equal(x, load_images(net, 40)[0])


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_inputs_from_a_file(net: Graph, tmp_path: Path, dtype: str) -> None:
    wanted, _ = load_images(net, 5)
    values = wanted if dtype == "uint8" else (wanted.astype(np.int16) - 128).astype(np.int8)
    np.save(tmp_path / "x.npy", values[:, None])  # a batch axis more
    x, source = read_inputs(tmp_path / "x.npy", net, 3)
    assert np.array_equal(x, wanted[:3])
    assert source.startswith("first 3 of 5 inputs in ")


def test_what_is_wrong_with_a_file_is_said(net: Graph, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    right, _ = load_images(net, 2)
    cases: list[tuple[np.ndarray, str]] = [
        (right.astype(np.float32), "holds float32, need uint8 or int8; quantise it as"),
        (right[:, :, :, :, None].repeat(2, -1), "has shape"),
        (right[:0], "holds no inputs"),
        (np.zeros((), np.uint8), "has shape ()"),
    ]
    for values, words in cases:
        np.save(path, values)
        with pytest.raises(TaskError) as error:
            read_inputs(path, net, 9)
        assert words in str(error.value) and "x.npy" in error.value.message
    for content in (b"", b"not an array", b"\x93NUMPY\x01\x00\x10\x00junkjunkjunkjunk"):
        path.write_bytes(content)
        with pytest.raises(TaskError, match=r"is no \.npy file"):
            read_inputs(path, net, 9)
    np.savez(tmp_path / "x.npz", right)
    with pytest.raises(TaskError, match="give each input by its name"):
        read_inputs(tmp_path / "x.npz", net, 9)
    with pytest.raises(TaskError, match="cannot read"):
        read_inputs(tmp_path / "missing.npy", net, 9)
    np.save(path, right.astype(np.int8))
    with pytest.raises(TaskError, match="holds int8, need uint8"):
        read_inputs(path, load_model("shapes-small").graph, 9)


def test_without_the_file_the_reference_says_why_it_is_missing(net: Graph, tmp_path: Path) -> None:
    path = tmp_path / "conv.graph.npz"
    file.save(net, path)
    model = load_model(str(path))
    images, _ = load_images(net, 2)
    column = stage._run_oracle(model, images, np.zeros((2, 1)), {}, 0, lambda *_: None)
    assert column.name == "TensorFlow Lite reference" and column.differing is None
    assert "needs the .tflite file that conv.graph.npz was made from" in column.skipped


def test_without_tensorflow_the_column_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "find_spec", lambda name: None)
    model = load_model(str(path))
    images, _ = load_images(model.graph, 2)
    column = stage._run_oracle(model, images, np.zeros((2, 1)), {}, 0, lambda *_: None)
    assert column.differing is None and "needs TensorFlow" in column.skipped


@pytest.mark.parametrize("operator", ["CONV_2D int4", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_one_changed_weight(operator: str) -> None:
    net = tflite.from_bytes(CASES[operator](np.random.default_rng(2)), name="case")
    seen = list(stage.weight_changes(net))
    assert seen
    for other, (layer, index, before, after) in seen:
        old, new = net.node[layer].arrays["weights"], other.node[layer].arrays["weights"]
        assert (int(old[index]), int(new[index])) == (before, after)
        assert np.count_nonzero(old != new) == 1


@pytest.mark.slow
@pytest.mark.train
def test_all_back_ends_agree(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"
    command = ["verify", "--model", str(path), "--board", "nucleo-h743", "--samples", "6"]
    assert run([*command, "--layers", "2", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert [c["name"] for c in result["columns"]] == [
        f"TensorFlow Lite reference, {keras2.tensorflow_version()}",
        "host build", "virtual nucleo-h743", "QEMU mps2-an500",
    ]  # fmt: skip
    for column in result["columns"]:
        assert column["differing"] == 0 and column["integers"] > 0 and column["layers"]
        assert all(bad == 0 for bad, _ in column["layers"].values())
    assert result["changed"]["differing"] > 0
