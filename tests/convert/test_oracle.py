"""hls4ml's own C simulation beside the interpreter: every integer of every tensor."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import keras_models
from tinyrobust import resources
from tinyrobust.convert import oracle, plugin
from tinyrobust.errors import ConvertError
from tinyrobust.graph import Graph, file, interpreter

ZOO = resources.root() / "models" / "zoo" / "shapes-small"
pytestmark = [pytest.mark.train, pytest.mark.slow]


def images(graph: Graph, n: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    x = rng.integers(0, 256, (n, *graph.input.shape), dtype=np.uint8)
    x[0], x[1] = 0, 255
    return x


def compiled(model: Any, folder: Path) -> oracle.Oracle:
    from tinyrobust.convert.backend import lowered_of
    from tinyrobust.convert.lowering import hls_config

    lowered = lowered_of(plugin.from_keras(model, output_dir=folder))
    return oracle.compile(model, hls_config(lowered), folder, graph=lowered.graph)


@pytest.mark.parametrize("make", ["residual_net", "odd_net", "coarse_head_net", "separable_net"])
def test_every_integer_of_every_tensor_is_equal(make: str, tmp_path: Path) -> None:
    found = compiled(getattr(keras_models, make)(3), tmp_path)
    graph = found.graph
    x = images(graph, 60)
    exact, simulated = interpreter.trace(graph, x), found.trace(x)
    assert list(simulated) == list(exact) == [t.name for t in graph.tensors]
    for name, value in exact.items():
        np.testing.assert_array_equal(simulated[name], value, err_msg=name)
        assert name == graph.input.name or len(np.unique(value)) > 3, f"{name} is dull"
    np.testing.assert_array_equal(found.scores(x), interpreter.run(graph, x))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def zoo_oracle(cache: Path, monkeypatch: pytest.MonkeyPatch) -> oracle.Oracle:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return oracle.for_model(ZOO, file.load(ZOO / "model.graph.npz"))


def test_the_zoo_model_equals_its_simulation(zoo_oracle: oracle.Oracle) -> None:
    with np.load(ZOO / "golden.npz") as golden:
        x, scores = golden["images"], golden["scores"]
    np.testing.assert_array_equal(zoo_oracle.scores(x), scores)


def test_one_changed_weight_is_seen(zoo_oracle: oracle.Oracle) -> None:
    graph = zoo_oracle.graph
    nodes = list(graph.nodes)
    at = next(i for i, n in enumerate(nodes) if n.op == "conv2d")
    weights = nodes[at].arrays["weights"].copy()
    where = tuple(np.argwhere(weights == 1)[0])
    weights[where] = 0
    nodes[at] = dataclasses.replace(nodes[at], weights=weights)  # type: ignore[call-arg]
    broken = dataclasses.replace(graph, nodes=tuple(nodes))
    x = images(graph, 5)
    assert (interpreter.run(broken, x) != zoo_oracle.scores(x)).any()


def test_a_compiled_simulation_is_used_again(
    zoo_oracle: oracle.Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*args: Any, **options: Any) -> None:
        raise AssertionError("compiled twice")

    monkeypatch.setattr(oracle, "compile", again)
    assert oracle.for_model(ZOO, zoo_oracle.graph).folder == zoo_oracle.folder


def test_other_types_than_the_simulation_s_are_noticed(zoo_oracle: oracle.Oracle) -> None:
    graph = zoo_oracle.graph
    coarse = tuple(
        dataclasses.replace(t, frac_bits=t.frac_bits - 4) if t.name == graph.output.name else t
        for t in graph.tensors
    )
    other = dataclasses.replace(zoo_oracle, graph=dataclasses.replace(graph, tensors=coarse))
    with pytest.raises(ConvertError, match="not an integer"):
        other.scores(images(graph, 3))


def test_a_damaged_cache_is_one_clear_error(zoo_oracle: oracle.Oracle, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(zoo_oracle.folder, tmp_path / "copy"))
    library = next((broken / "firmware").glob("*.so"))
    library.write_bytes(library.read_bytes()[:1000])
    with pytest.raises(ConvertError, match="simulation failed") as caught:
        dataclasses.replace(zoo_oracle, folder=broken).scores(images(zoo_oracle.graph, 2))
    assert "delete" in caught.value.hint


def test_no_train_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"no train/weights\.npz"):
        oracle.for_model(tmp_path, file.load(ZOO / "model.graph.npz"))


def test_no_compiler_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle.shutil, "which", lambda name: None)
    with pytest.raises(ConvertError, match="needs g"):
        compiled(keras_models.coarse_head_net(), tmp_path)
