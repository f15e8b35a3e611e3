"""Certificates: bounds hold every image of the ball, tried one by one where the ball is small."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.graphs import Builder, random_graph, separable_graph
from tests.int8_graphs import Int8Builder, random_int8_graph
from tinyrobust import attacks, tasks
from tinyrobust.certify import bounds, certify, share, shares
from tinyrobust.certify.classes import Certified
from tinyrobust.cli.certify import command
from tinyrobust.errors import CheckFailed, TinyRobustError
from tinyrobust.graph import Graph, int8, interpreter
from tinyrobust.graph.model import load_model


def tiny_fixed(seed: int) -> Graph:
    """2x2x1 and three classes, both shapes of a last layer."""
    b = Builder(seed, (2, 2, 1), zeros=0.3)
    first = b.conv(3, 2)
    b.requantize(shift=6)
    if seed % 2:
        b.requantize(b.conv(3, 1), b.conv(3, 1, source=b.tensors[-2]), shift=6)
    b.flatten()
    b.dense(3)
    b.requantize(scores=True)
    assert first.size
    return b.graph(f"tiny{seed}")


def tiny_int8(seed: int) -> Graph:
    """2x2x1 and some classes of family tflite: two weighted layers and one of the others."""
    b = Int8Builder(seed, (2, 2, 1), reach=3)
    first = b.conv(b.x)
    other = [b.lookup, b.mean, b.pad, lambda x: b.binary(x, first)][seed % 4](first)
    b.dense(b.view(other, (other.size,)))
    b.scores()
    return b.graph(f"tiny-int8-{seed}")


def ball(image: Any, eps: int) -> Any:
    """Every integer image within ``eps`` of ``image``."""
    sides = [range(max(int(v) - eps, 0), min(int(v) + eps, 255) + 1) for v in image.ravel()]
    return np.array(list(itertools.product(*sides)), np.uint8).reshape(-1, *image.shape)


def unsure(graph: Graph, seed: int) -> Any:
    """Of random images one that is near its boundary, one that is far, and one between."""
    images = np.random.default_rng(seed).integers(0, 256, (99, *graph.input.shape))
    images = images.astype(np.uint8)
    scores = np.sort(interpreter.run(graph, images), axis=1)
    order = np.argsort(scores[:, -1] - scores[:, -2] if scores.shape[1] > 1 else scores[:, 0])
    return images[order[[0, 20, 98]]]


def ends(images: Any, eps: int) -> Any:
    """The ball's lower and upper end."""
    wide = images.astype(np.int16)
    return (
        np.maximum(wide - eps, 0).astype(np.uint8),
        np.minimum(wide + eps, 255).astype(np.uint8),
    )


@pytest.mark.parametrize("make", [tiny_fixed, tiny_int8])
@pytest.mark.parametrize("eps", [1, 2])
def test_every_image_of_a_small_ball_is_as_proved(make: Any, eps: int) -> None:
    """Bounds hold every tensor, and what is certified keeps its class: all images are tried."""
    proved = kept = 0
    for seed in range(12):
        graph = make(seed)
        images = unsure(graph, seed)
        labels = interpreter.run(graph, images).argmax(1)
        found = certify(graph, images, labels, eps)
        limits = bounds(graph, *ends(images, eps))
        for i, image in enumerate(images):
            every = ball(image, eps)
            traced = interpreter.trace(graph, every)
            for name, values in traced.items():
                assert (values >= limits[name].low[i]).all(), name
                assert (values <= limits[name].high[i]).all(), name
            scores = interpreter.run(graph, every)
            same = (scores.argmax(1) == labels[i]).all()
            assert same or not found.proved[i]
            others = np.delete(scores, labels[i], axis=1)
            if others.size:
                assert found.lead[i] <= (scores[:, labels[i]] - others.max(axis=1)).min()
            proved, kept = proved + found.proved[i], kept + same
    assert 0 < proved <= kept < 36, "the networks are all sure, or all unsure: nothing is tried"


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_random_networks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger networks of every operation, at random images and corners of the ball."""
    monkeypatch.setattr(Int8Builder, "softmax", Int8Builder.lookup)
    monkeypatch.setattr(Int8Builder, "saturated", bool(seed % 2))
    made = {0: random_graph, 1: separable_graph, 2: lambda s: random_int8_graph(s, 32, 6)}
    graph = made[seed % 3](seed)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (1, *graph.input.shape)).astype(np.uint8)
    low, high = ends(image, 3)
    limits = bounds(graph, low, high)
    shape = (20, *graph.input.shape)
    inside = rng.integers(low[0].astype(int), high[0].astype(int) + 1, shape)
    corners = np.where(rng.random(shape) < 0.5, low, high)
    shown = np.concatenate([inside, corners]).astype(np.uint8)
    for name, values in interpreter.trace(graph, shown).items():
        assert (values >= limits[name].low).all() and (values <= limits[name].high).all(), name
    exact = bounds(graph, image, image)
    for name, values in interpreter.trace(graph, image).items():
        same = (exact[name].low == values) & (exact[name].high == values)
        # A saturated channel that wraps has no bounds, and what reads it has wide ones.
        assert same.all() or (graph.family == "tflite" and Int8Builder.saturated), name


def test_the_last_layer_together_is_tighter() -> None:
    """Classes read the same inputs: their scores' own intervals say less than their difference."""
    graph = load_model("shapes-small").graph
    images, labels = tasks.get("shapes").load("test", 20)
    found = certify(graph, images, labels, 1)
    limits = bounds(graph, *ends(images, 1))[graph.output.name]
    rows = np.arange(len(images))
    own = limits.low.astype(np.int64)[rows, labels]
    rest = limits.high.astype(np.int64).copy()
    rest[rows, labels] = -(1 << 40)
    assert (found.lead >= own - rest.max(axis=1) - 1).all()
    assert (found.lead > own - rest.max(axis=1)).any()


def test_at_size_0_what_is_right_is_proved_ties_too() -> None:
    graph = load_model("shapes-small").graph
    images, labels = tasks.get("shapes").load("test", 50)
    right = interpreter.run(graph, images).argmax(1) == labels
    assert (certify(graph, images, labels, 0).proved == right).all()
    b = Builder(1, (2, 2, 1))
    b.flatten()
    b.dense(2)
    b.requantize(scores=True)
    b.nodes[-2].weights[...] = 0  # both scores are their bias
    b.nodes[-1].bias[...] = 5
    tied, image = b.graph("tied"), np.zeros((2, 2, 2, 1), np.uint8)
    assert certify(tied, image, [0, 1], 255).proved.tolist() == [True, False]


def test_an_operation_without_bounds_is_named() -> None:
    b = Int8Builder(0, (2, 2, 1), reach=3)
    b.softmax(b.dense(b.view(b.x, (4,))))
    b.scores()
    graph = b.graph("soft")
    with pytest.raises(TinyRobustError, match=f"'soft': {int8.SoftmaxInt8.op} has no interval"):
        bounds(graph, *ends(np.zeros((1, 2, 2, 1), np.uint8), 1))


def test_the_share_lies_between_nothing_and_the_attack() -> None:
    graph = load_model("shapes-small").graph
    images, labels = tasks.get("shapes").load("test", 30)
    made = shares(graph, images, labels, (2, 1), victim=attacks.GraphVictim(graph), attack="fgsm")
    assert [s.eps_255 for s in made] == [1, 2]
    for one in made:
        assert one.attacked is not None
        assert 0 <= one.certified <= one.attacked <= one.clean <= one.samples == 30
        assert one.as_json()["certified"]["low"] <= one.certified / 30
    assert made[1].certified <= made[0].certified


def test_a_proof_that_an_attack_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load_model("shapes-small").graph
    images, labels = tasks.get("shapes").load("test", 10)
    everything = Certified(np.ones(10, bool), np.ones(10, np.int64))
    monkeypatch.setattr(share, "certify", lambda *_: everything)
    with pytest.raises(CheckFailed, match=r"is certified at 60/255 and fgsm breaks it"):
        shares(graph, images, labels, (60,), victim=attacks.GraphVictim(graph), attack="fgsm")


def test_the_command_tells_shares_and_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "certify.json"
    options = ["--eps", "1", "--samples", "20", "--attack", "none", "--json", str(file)]
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 0, done.output
    assert "certified" in done.output and "not run" in done.output
    (row,) = json.loads(file.read_text())["sizes"]
    assert row["samples"] == 20 and row["attacked"] is None
    assert row["certified"]["images"] <= row["clean"]["images"]
    assert CliRunner().invoke(command, ["--eps", "300"]).exit_code == 2
