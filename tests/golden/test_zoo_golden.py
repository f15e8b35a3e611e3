"""Every zoo model against its own golden vectors, card and trained folder; no TensorFlow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tinyrobust import artefact
from tinyrobust.convert import models, order
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import Model, load_model, zoo
from tinyrobust.twin.fixed import Twin

SCHEMA = "tinyrobust.golden/1"


@pytest.fixture(scope="module", params=zoo())
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(request.param)


@pytest.fixture(scope="module")
def golden(model: Model) -> dict[str, Any]:
    with np.load(model.folder / "golden.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_the_header_names_generator_version_and_seed(model: Model, golden: dict[str, Any]) -> None:
    header = json.loads(bytes(golden["header"]))
    assert header["schema"] == SCHEMA and header["graph_sha256"] == model.graph.sha256
    assert {"generator", "version", "seed", "test_indices", "traced"} <= set(header)
    assert len(golden["images"]) == len(golden["labels"]) == len(header["test_indices"]) >= 20


def test_scores(model: Model, golden: dict[str, Any]) -> None:
    scores = interpreter.run(model.graph, golden["images"])
    np.testing.assert_array_equal(scores, golden["scores"])
    np.testing.assert_array_equal(Twin(model.graph).scores(golden["images"]), golden["scores"])


def test_every_tensor(model: Model, golden: dict[str, Any]) -> None:
    traced = json.loads(bytes(golden["header"]))["traced"]
    values = interpreter.trace(model.graph, golden["images"][:traced])
    assert {f"trace/{name}" for name in values} == {k for k in golden if k.startswith("trace/")}
    for name, value in values.items():
        np.testing.assert_array_equal(value, golden[f"trace/{name}"], err_msg=name)


def test_the_card_speaks_of_this_graph(model: Model) -> None:
    card = model.card()
    assert card["schema"] == "tinyrobust.card/1" and card["name"] == model.name
    assert card["graph_sha256"] == model.graph.sha256
    assert card["qkeras"]["agreement"] >= 0.995
    assert card["hls4ml_simulation"]["differing_integers"] == 0
    assert card["known_weaknesses"]


def test_the_graph_was_made_from_the_trained_folder_beside_it(model: Model) -> None:
    weights = model.folder / "train" / "weights.npz"
    assert model.graph.made_from == artefact.sha256(weights.read_bytes())
    with np.load(weights) as file:
        for node in order.as_trained(model.folder, model.graph).nodes:
            if node.op == "conv2d":
                trits = file[f"{node.name}/trits"].transpose(3, 0, 1, 2)
                np.testing.assert_array_equal(node.arrays["weights"], trits)
            elif node.op == "dense":
                np.testing.assert_array_equal(node.arrays["weights"], file[f"{node.name}/trits"].T)


INT8 = sorted(set(models.names()) - set(zoo()))


@pytest.mark.parametrize("name", INT8)
def test_int8_models_and_twins(name: str) -> None:
    """A twin is its model's network: mostly the same classes, on the model's own vectors."""
    model = models.load_model(name)
    with np.load(model.folder / "golden.npz", allow_pickle=False) as file:
        images, labels, scores = file["images"], file["labels"], file["scores"]
    found = interpreter.run(model.graph, images)
    assert model.graph.family == "tflite" and len(labels) >= 20
    if name.endswith(models.TWIN):
        assert (found.argmax(1) == scores.argmax(1)).mean() >= 0.8
        twin = load_model(str(model.folder)).card()["int8_twin"]
        assert twin["bytes"] == model.path.stat().st_size
    else:
        np.testing.assert_array_equal(found, scores)
        card = model.card()
        assert card["graph_sha256"] == model.graph.sha256 and card["known_weaknesses"]
        assert all(not r["differing"] for r in card["runtimes"] if r["name"] == "tensorflow")
