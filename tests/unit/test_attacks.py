"""The contract of every attack, and what single attacks promise."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import random_graph, tiny_graph
from tinyrobust import attacks
from tinyrobust.attacks import _art, square
from tinyrobust.attacks._attack import Attack
from tinyrobust.attacks._scores import FastScores
from tinyrobust.errors import TinyRobustError
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import load_model
from tinyrobust.tasks import get as get_task

GRAPH = tiny_graph()
EVERY = [
    pytest.param(name, marks=[pytest.mark.attacks] if attacks.get(name).needs_art else [])
    for name in attacks.names()
]


@pytest.fixture(autouse=True)
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(square, "QUERIES", 40)


def images_and_labels(count: int = 12, seed: int = 0) -> tuple[Any, Any]:
    """Random images of full range; every fifth one is labelled wrongly."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *GRAPH.input.shape)).astype(np.uint8)
    labels = interpreter.run(GRAPH, images).argmax(1).astype(np.int64)
    labels[::5] = (labels[::5] + 1) % GRAPH.output.size
    return images, labels


@pytest.mark.parametrize("eps", [1, 2, 8, 255])
@pytest.mark.parametrize("name", EVERY)
def test_every_attack_keeps_the_contract(name: str, eps: int) -> None:
    images, labels = images_and_labels()
    before = images.copy()
    made = attacks.get(name).run(
        attacks.GraphVictim(GRAPH), images, labels, eps_255=eps, seed=1, first=50
    )
    assert (images == before).all()
    assert made.images.dtype == np.uint8
    assert attacks.within(made.images, images, eps)
    clean = interpreter.run(GRAPH, images).argmax(1)
    after = interpreter.run(GRAPH, made.images).argmax(1)
    assert (made.skipped == (clean != labels)).all()
    assert made.skipped[::5].all()
    assert (made.images[made.skipped] == images[made.skipped]).all()
    assert (made.queries[made.skipped] == 0).all()
    assert (made.success == ((clean == labels) & (after != labels))).all()
    assert (made.images[~made.skipped] != images[~made.skipped]).any(), "it moved nothing"


@pytest.mark.parametrize("name", EVERY)
def test_every_attack_is_a_function_of_its_seed(name: str) -> None:
    images, labels = images_and_labels()

    def run(seed: int, first: int = 0) -> Any:
        state = np.random.get_state()[1].copy()
        made = attacks.get(name).run(
            attacks.GraphVictim(GRAPH), images, labels, eps_255=8, seed=seed, first=first
        )
        assert (np.random.get_state()[1] == state).all(), "numpy's global generator was moved"
        return made.images

    one = run(1)
    assert (one == run(1)).all()
    if name != "fgsm":  # which has no randomness
        assert (one != run(2)).any()
        assert (one != run(1, first=50)).any()


@pytest.mark.parametrize("name", EVERY)
def test_every_attack_states_itself_and_reports_progress(name: str) -> None:
    attack = attacks.get(name)
    assert attack.name == name
    assert attack.kind in ("white-box", "black-box", "floor")
    assert attack.paper and attack.title and attack.parameters(8)
    images, labels = images_and_labels(6)
    seen: list[float] = []
    attack.run(attacks.GraphVictim(GRAPH), images, labels, eps_255=4, seed=0, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


class Rogue(Attack):
    """Returns whatever it was given."""

    name, title, paper, kind = "rogue", "rogue", "none", "floor"

    def __init__(self, made: Any) -> None:
        self.made = made

    def parameters(self, eps_255: int) -> dict[str, Any]:
        return {}

    def craft(self, victim: Any, images: Any, *rest: Any) -> Any:
        return self.made(images) if callable(self.made) else self.made


@given(
    spread=st.floats(0, 600), eps=st.integers(0, 255), seed=st.integers(0, 99),
    fraction=st.floats(-0.5, 0.5),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_base_class_rounds_and_clips_anything(
    spread: float, eps: int, seed: int, fraction: float
) -> None:
    images, labels = images_and_labels(6, seed)
    rng = np.random.default_rng(seed)
    rogue = Rogue(lambda x: x + rng.uniform(-spread, spread, x.shape) + fraction)
    made = rogue.run(attacks.GraphVictim(GRAPH), images, labels, eps_255=eps, seed=0)
    assert attacks.within(made.images, images, eps)


@pytest.mark.parametrize(
    "made", [np.zeros((1, 2)), lambda x: np.full(x.shape, np.nan), lambda x: x[:1]]
)
def test_the_base_class_refuses_what_is_no_image(made: Any) -> None:
    images, labels = images_and_labels()
    with pytest.raises(TinyRobustError, match="'rogue' returned"):
        Rogue(made).run(attacks.GraphVictim(GRAPH), images, labels, eps_255=2, seed=0)


def test_within_sees_every_breach() -> None:
    image = np.full((1, 2, 2, 1), 100, np.uint8)
    assert attacks.within(image + np.uint8(3), image, 3)
    assert not attacks.within(image + np.uint8(4), image, 3)
    assert not attacks.within(image - np.uint8(4), image, 3)
    assert not attacks.within(image.astype(np.int16), image, 3)
    assert not attacks.within(image[:, :1], image, 3)
    wrapped = np.array([[[[254]]]], np.uint8)  # 2 - 4 wraps around; that is no small change
    assert not attacks.within(wrapped, np.array([[[[2]]]], np.uint8), 4)


@pytest.mark.parametrize("eps", [-1, 256])
def test_a_size_outside_the_image_is_refused(eps: int) -> None:
    images, labels = images_and_labels()
    with pytest.raises(TinyRobustError, match=r"not in 0\.\.255"):
        attacks.get("noise").run(attacks.GraphVictim(GRAPH), images, labels, eps_255=eps, seed=0)


def test_an_unknown_attack_names_the_nearest() -> None:
    with pytest.raises(TinyRobustError) as caught:
        attacks.get("sqare")
    assert "did you mean 'square'" in caught.value.hint


def test_without_art_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TinyRobustError) as caught:
        attacks.get("pgd").check_available()
    assert "tinyrobust[attacks]" in caught.value.hint
    attacks.get("noise").check_available()


def test_listing_attacks_imports_neither_art_nor_tensorflow() -> None:
    code = (
        "import sys, tinyrobust.evaluate, tinyrobust.report; from tinyrobust import attacks;"
        "attacks.names(); print([m for m in ('art', 'tensorflow', 'sklearn', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("seed", range(25))
def test_fast_scores_equal_the_interpreter(seed: int) -> None:
    graph = random_graph(seed)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (9, *graph.input.shape)).astype(np.uint8)
    assert (FastScores(graph)(images) == interpreter.run(graph, images)).all()


def test_fast_scores_of_a_trained_network_equal_the_interpreter() -> None:
    graph = load_model("shapes-small").graph
    images, _ = get_task("shapes").load("test", 50)
    assert (FastScores(graph)(images) == interpreter.run(graph, images)).all()
    assert FastScores(graph)(images[:0]).shape == (0, 10)


@pytest.mark.attacks
def test_square_asks_no_more_than_it_may() -> None:
    images, labels = images_and_labels(16)
    victim = attacks.GraphVictim(GRAPH)
    asked = 0
    real = victim.scores

    def counting(images: Any, owners: Any = None) -> Any:
        nonlocal asked
        asked += len(images)
        return real(images, owners)

    victim.scores = counting  # type: ignore[method-assign]
    made = attacks.get("square").run(victim, images, labels, eps_255=2, seed=0)
    assert made.queries.max() <= square.QUERIES
    assert made.queries[~made.skipped].min() >= 2
    assert asked == made.queries.sum() + 2 * len(images)  # the base class asks before and after


@pytest.mark.attacks
def test_square_takes_long_narrow_inputs() -> None:
    from tests.graphs import Builder

    b = Builder(0, (20, 4, 1))
    b.conv(4)
    b.requantize()
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("narrow")
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 4, 1)).astype(np.uint8)
    labels = interpreter.run(graph, images).argmax(1)
    made = attacks.get("square").run(attacks.GraphVictim(graph), images, labels, eps_255=8, seed=0)
    assert attacks.within(made.images, images, 8)


@pytest.mark.attacks
def test_the_estimator_shows_the_victim_integers_only() -> None:
    images, labels = images_and_labels(4)
    victim = attacks.GraphVictim(GRAPH)
    victim.begin(4)
    estimator = _art.estimator(victim)
    shifted = images.clip(1, 254).astype(np.float32) + np.float32(0.4)
    whole = images.clip(1, 254)
    assert (estimator.predict(shifted) == victim.scores(whole)).all()
    gradient = estimator.loss_gradient(shifted, _art.one_hot(labels, GRAPH.output.size))
    assert (gradient == victim.loss_and_gradient(whole, labels)[1]).all()


@pytest.mark.attacks
def test_attacks_beat_noise_on_a_trained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(square, "QUERIES", 200)
    graph = load_model("shapes-small").graph
    images, labels = get_task("shapes").load("test", 40)
    left = {}
    for name in ("noise", "fgsm", "pgd", "square"):
        made = attacks.get(name).run(attacks.GraphVictim(graph), images, labels, eps_255=4, seed=0)
        left[name] = int((~made.success & ~made.skipped).sum())
    assert left["noise"] >= 36
    assert left["pgd"] <= 15
    assert left["pgd"] <= left["fgsm"] < left["noise"]
    assert left["pgd"] <= left["square"] < left["noise"]
