"""Several named inputs and outputs: from the file to the library, against the reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tflite_models import two_and_two
from tinyrobust import graph, image
from tinyrobust.errors import GraphError
from tinyrobust.graph import ports
from tinyrobust.graph.file import from_bytes, to_bytes
from tinyrobust.tflite import importer as tflite
from tinyrobust.tflite.reference import Reference


def test_ports_have_the_files_names_and_the_files_order() -> None:
    net = tflite.from_bytes(two_and_two(), name="net")
    assert [p.name for p in net.inputs] == ["map", "vector"]
    assert [p.name for p in net.results] == ["sum", "half"]
    assert [n.op for n in net.nodes[:2]] == ["input_raw", "input_int8"]
    assert (net.classifier, net.labels, net.output_count) == (False, (), 30)
    assert ports.sample_shape(net) == (24 + 6,)


def test_the_graph_file_keeps_them() -> None:
    net = tflite.from_bytes(two_and_two(), name="net")
    again = from_bytes(to_bytes(net))
    assert (again.sha256, again.outputs) == (net.sha256, net.outputs)


def test_names_in_and_names_out() -> None:
    net = tflite.from_bytes(two_and_two(), name="net")
    rng = np.random.default_rng(0)
    values = {
        "map": rng.integers(-128, 128, (5, 3, 4, 2)),
        "vector": rng.integers(-128, 128, (5, 6)),
    }
    found = graph.call(net, values)
    assert {name: v.shape for name, v in found.items()} == {"sum": (5, 6), "half": (5, 3, 4, 2)}
    samples = ports.pack(net, values)
    assert np.array_equal(samples[:, :24].view(np.int8).ravel(), values["map"].ravel())
    assert np.array_equal(samples[:, 24:], values["vector"] + 128)
    tensor = net.tensor[net.inputs[0].tensor]
    assert np.array_equal(ports.pack(net, {**values, "map": ports.real(tensor, values["map"])}),
                          samples)  # fmt: skip


def test_halves_are_rounded_away_from_zero_as_quantize_does() -> None:
    net = tflite.from_bytes(two_and_two(), name="net")
    tensor = net.tensor[net.inputs[0].tensor]
    step = np.float32(tensor.scale)
    values = np.array([0.5, -0.5, 1.5, 2.5, -2.5, 1e9, -1e9], np.float32) * step
    found = ports.quantise(values, tensor, "map") - tensor.zero_point
    assert found.tolist() == [1, -1, 2, 3, -3, 124, -131]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"map": np.zeros((1, 24), int)}, "takes map, vector; got map"),
        ({"map": np.zeros((1, 23), int), "vector": np.zeros((1, 6), int)}, "has shape"),
        ({"map": np.zeros((2, 24), int), "vector": np.zeros((1, 6), int)}, "inputs of"),
        ({"map": np.full((1, 24), 128), "vector": np.zeros((1, 6), int)}, "it takes -128..127"),
        ({"map": np.zeros((1, 24), bool), "vector": np.zeros((1, 6), int)}, "holds bool"),
        ({"map": np.full((1, 24), np.nan), "vector": np.zeros((1, 6), int)}, "no numbers"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(GraphError, match=words):
        ports.pack(tflite.from_bytes(two_and_two(), name="net"), values)


def test_the_library_gives_every_output_and_every_tensor(tmp_path: Path) -> None:
    net = tflite.from_bytes(two_and_two(), name="net")
    samples = ports.random_samples(net, 20, 1)
    model = image.HostModel(image.host_library(net, tmp_path))
    assert np.array_equal(model.predict(samples), graph.run(net, samples))
    expected = graph.trace(net, samples[:2])
    for i in range(2):
        for name, value in model.trace(samples[i]).items():
            assert np.array_equal(value, expected[name][i]), name


@pytest.mark.train
def test_they_equal_the_reference() -> None:
    data = two_and_two()
    net = tflite.from_bytes(data, name="net")
    samples = ports.random_samples(net, 50, 2)
    assert np.array_equal(Reference(data, net).scores(samples), graph.run(net, samples))
