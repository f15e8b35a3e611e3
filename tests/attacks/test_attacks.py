"""The contract of every attack, and what single attacks promise."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, random_graph
from tests.tflite_cases import CASES
from tinyrobust import attacks
from tinyrobust.attacks import Settings, _art
from tinyrobust.attacks._attack import Attack
from tinyrobust.attacks._norms import NORMS
from tinyrobust.errors import GraphError, TinyRobustError
from tinyrobust.graph import interpreter
from tinyrobust.graph import run as interpreter_of
from tinyrobust.graph.file import save
from tinyrobust.graph.model import load_model
from tinyrobust.graph.nodes import Graph
from tinyrobust.tasks import get as get_task
from tinyrobust.tflite import importer as tflite


def busy_graph(seed: int) -> Graph:
    """8x8x3 and four classes, every one of which is common among random images."""
    b = Builder(seed, (8, 8, 3), zeros=0.3)
    b.conv(8, stride=2)
    b.requantize()
    b.flatten()
    b.dense(4)
    b.requantize(scores=True)
    return b.graph("busy")


GRAPH = busy_graph(21)
EVERY = [
    pytest.param(name, marks=[pytest.mark.attacks] if attacks.get(name).needs_art else [])
    for name in attacks.names()
]
BOUNDED = [p for p in EVERY if not attacks.get(str(p.values[0])).minimum]
MINIMUM = [p for p in EVERY if attacks.get(str(p.values[0])).minimum]


@pytest.fixture(scope="session")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another small network for the same images."""
    path = tmp_path_factory.mktemp("surrogate") / "model.graph.npz"
    save(busy_graph(6), path)
    return str(path)


def settings_of(name: str, surrogate: str, **changes: Any) -> Settings:
    """Small budgets."""
    attack = attacks.get(name)
    values: dict[str, Any] = {
        "steps": 6 if attack.steps else None, "queries": 60 if attack.queries else None,
        "surrogate": surrogate if attack.needs_surrogate else None,
    }  # fmt: skip
    return Settings(**(values | changes))


def images_and_labels(count: int = 12, seed: int = 0) -> tuple[Any, Any]:
    """Random images of full range; every fifth one is labelled wrongly."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *GRAPH.input.shape)).astype(np.uint8)
    labels = interpreter.run(GRAPH, images).argmax(1).astype(np.int64)
    labels[::5] = (labels[::5] + 1) % GRAPH.output.size
    return images, labels


class Counting(attacks.GraphVictim):
    """Counts every image that it is shown, by itself."""

    shown = 0

    def _scores(self, images: Any) -> Any:
        self.shown += len(images)
        return super()._scores(images)

    def _pull(self, images: Any, loss: Any) -> Any:
        self.shown += len(images)
        return super()._pull(images, loss)

    def _pull_leaking(self, images: Any, loss: Any, leak: float) -> Any:
        self.shown += len(images)
        return super()._pull_leaking(images, loss, leak)

    def _jacobian(self, images: Any) -> Any:
        self.shown += len(images) * self.classes
        return super()._jacobian(images)


def norms_and_sizes() -> list[Any]:
    return [("linf", 1), ("linf", 8), ("linf", 255), ("l2", 3.5), ("l2", 100), ("l2", 2000)]


@pytest.mark.parametrize(("norm", "eps"), norms_and_sizes())
@pytest.mark.parametrize("name", EVERY)
def test_every_attack_keeps_the_contract(name: str, norm: str, eps: float, surrogate: str) -> None:
    attack = attacks.get(name)
    images, labels = images_and_labels()
    before = images.copy()
    victim = Counting(GRAPH)
    made = attack.run(
        victim, images, labels, eps_255=eps, seed=1, first=50,
        settings=settings_of(name, surrogate, norm=norm),
    )  # fmt: skip
    assert (images == before).all()
    assert made.images.dtype == np.uint8
    assert attacks.within(made.images, images, eps, norm=norm)
    clean = interpreter.run(GRAPH, images).argmax(1)
    after = interpreter.run(GRAPH, made.images).argmax(1)
    assert (made.skipped == (clean != labels)).all()
    assert made.skipped[::5].all()
    assert (made.images[made.skipped] == images[made.skipped]).all()
    assert (made.queries[made.skipped] == 0).all()
    assert (made.success == ((clean == labels) & (after != labels))).all()
    # The base class asks about every image before and after.
    assert victim.shown == made.queries.sum() + 2 * len(images)
    if attack.queries and not attack.steps:  # else queries are those of a part of it
        assert made.queries.max() <= 60
    nearest = made.images if made.found is None else made.found
    moved = (nearest != images).reshape(len(images), -1).any(1)
    assert (made.moved == moved).all()
    if attack.minimum:
        found = np.isfinite(made.l2)
        assert (interpreter.run(GRAPH, nearest[found]).argmax(1) != labels[found]).all()
        assert made.did_not_move == (~moved & ~made.skipped).sum()
        own = made.linf if norm == "linf" else made.l2
        assert (made.success == (own <= eps)).all()
        assert (made.images[~made.success] == images[~made.success]).all()
    elif eps > 50:
        assert moved[~made.skipped].any(), "it moved nothing"
    far = attacks.distance(nearest, images, "l2")
    assert (made.l2[np.isfinite(made.l2)] == far[np.isfinite(made.l2)]).all()


@pytest.mark.parametrize("name", EVERY)
def test_every_attack_is_a_function_of_its_seed(name: str, surrogate: str) -> None:
    images, labels = images_and_labels()
    attack = attacks.get(name)

    def run(seed: int, first: int = 0) -> Any:
        state = np.random.get_state()[1].copy()
        made = attack.run(
            attacks.GraphVictim(GRAPH), images, labels, eps_255=8, seed=seed, first=first,
            settings=settings_of(name, surrogate),
        )  # fmt: skip
        assert (np.random.get_state()[1] == state).all(), "numpy's global generator was moved"
        return made.images if made.found is None else made.found

    one = run(1)
    assert (one == run(1)).all()
    if attack.random:
        assert (one != run(2)).any()
        assert (one != run(1, first=50)).any()
    else:
        assert (one == run(2)).all()


@pytest.mark.parametrize("name", EVERY)
def test_every_attack_states_itself_and_reports_progress(name: str, surrogate: str) -> None:
    attack = attacks.get(name)
    assert attack.name == name
    assert attack.kind in ("white-box", "black-box", "transfer", "floor")
    assert attack.paper and attack.title and attack.parameters(8)
    assert set(attack.norms) <= set(NORMS) and attack.norms
    settings = settings_of(name, surrogate)
    if attack.steps:
        assert attack.parameters(8, settings) != attack.parameters(8), "steps are not said"
    if attack.queries:
        assert attack.parameters(8, settings)["queries"] == 60
    images, labels = images_and_labels(6)
    seen: list[float] = []
    attack.run(
        attacks.GraphVictim(GRAPH), images, labels, eps_255=4, seed=0, progress=seen.append,
        settings=settings,
    )  # fmt: skip
    assert seen == sorted(seen) and seen[-1] == 1.0


@pytest.mark.parametrize("name", EVERY)
def test_targets_are_reached_where_that_is_claimed(name: str, surrogate: str) -> None:
    attack = attacks.get(name)
    images, labels = images_and_labels(20)
    settings = settings_of(name, surrogate, targeted=True)
    if attack.steps:
        settings = replace(settings, steps=20)
    victim = attacks.GraphVictim(GRAPH)
    if not attack.can_target:
        with pytest.raises(TinyRobustError, match="cannot be targeted"):
            attack.run(victim, images, labels, eps_255=8, seed=0, settings=settings)
        return
    made = attack.run(victim, images, labels, eps_255=120, seed=0, settings=settings)
    assert made.targets is not None and (made.targets != labels).all()
    after = interpreter.run(GRAPH, made.images).argmax(1)
    assert (made.success == ((after == made.targets) & ~made.skipped)).all()
    if attack.kind == "white-box" and attack.iterative:
        assert made.success.sum() >= 0.5 * (~made.skipped).sum()
    given = np.where(labels == 0, 1, 0)
    made = attack.run(victim, images, labels, eps_255=8, seed=0, settings=settings, targets=given)
    assert (made.targets == given).all()


@pytest.mark.parametrize("name", MINIMUM)
def test_one_search_serves_every_size(name: str, surrogate: str) -> None:
    attack = attacks.get(name)
    images, labels = images_and_labels(8)
    for norm in NORMS:
        settings = settings_of(name, surrogate, norm=norm)
        runs = {
            eps: attack.run(
                attacks.GraphVictim(GRAPH), images, labels, eps_255=eps, seed=0, settings=settings
            )
            for eps in (4, 60)
        }
        assert (runs[4].found == runs[60].found).all()
        for eps, wanted in runs.items():
            made, success = attack.at(runs[4], images, eps, norm)  # type: ignore[attr-defined]
            assert (made == wanted.images).all() and (success == wanted.success).all()


def test_it_is_said_where_an_attack_did_not_move() -> None:
    images, labels = images_and_labels(6)
    made = attacks.get("zoo").run(
        attacks.GraphVictim(GRAPH), images, labels, eps_255=8, seed=0, settings=Settings(queries=1)
    )
    assert made.did_not_move == (~made.skipped).sum() and not made.moved.any()
    assert np.isinf(made.l2).all() and made.log == ({"did_not_move": made.did_not_move},)
    assert (made.found == images).all()


@pytest.mark.parametrize("name", EVERY)
def test_an_attack_without_a_norm_says_so(name: str, surrogate: str) -> None:
    with pytest.raises(TinyRobustError, match="knows no norm 'l7'"):
        attacks.get(name).check_available(settings_of(name, surrogate, norm="l7"))


def test_transfer_needs_a_surrogate_of_the_same_task(surrogate: str) -> None:
    images, labels = images_and_labels()
    with pytest.raises(TinyRobustError, match="needs a surrogate"):
        attacks.get("transfer").run(attacks.GraphVictim(GRAPH), images, labels, eps_255=8, seed=0)
    with pytest.raises(TinyRobustError, match="the surrogate 'shapes-small' takes"):
        attacks.get("transfer").run(
            attacks.GraphVictim(GRAPH), images, labels, eps_255=8, seed=0,
            settings=Settings(surrogate="shapes-small"),
        )  # fmt: skip


class Rogue(Attack):
    """Returns whatever it was given."""

    name, title, paper, kind = "rogue", "rogue", "none", "floor"

    def __init__(self, made: Any) -> None:
        self.made = made

    def parameters(self, eps_255: float, settings: Any = None) -> dict[str, Any]:
        return {}

    def craft(self, job: Any) -> Any:
        return self.made(job.images) if callable(self.made) else self.made


@given(
    spread=st.floats(0, 600), eps=st.integers(0, 255) | st.floats(0, 255), seed=st.integers(0, 99),
    fraction=st.floats(-0.5, 0.5), norm=st.sampled_from(NORMS),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_base_class_rounds_and_clips_anything(
    spread: float, eps: float, seed: int, fraction: float, norm: str
) -> None:
    images, labels = images_and_labels(6, seed)
    rng = np.random.default_rng(seed)
    rogue = Rogue(lambda x: x + rng.uniform(-spread, spread, x.shape) + fraction)
    made = rogue.run(
        attacks.GraphVictim(GRAPH), images, labels, eps_255=eps, seed=0,
        settings=Settings(norm=norm),
    )  # fmt: skip
    assert attacks.within(made.images, images, eps, norm=norm)


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
    assert attacks.within(image + np.uint8(3), image, 6, norm="l2")
    assert not attacks.within(image + np.uint8(3), image, 5.99, norm="l2")
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


@pytest.mark.parametrize("seed", range(3))
def test_the_interpreters_oracle_cuts_its_images_into_batches(seed: int) -> None:
    graph = random_graph(seed)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (19, *graph.input.shape)).astype(np.uint8)
    oracle = attacks.InterpreterOracle(graph)
    assert (oracle(images) == interpreter.run(graph, images)).all()
    assert oracle(images[:0]).shape == (0, graph.output.size)
    with pytest.raises(GraphError, match="takes uint8 images"):
        oracle(images[:, :1])


@pytest.mark.parametrize("kind", [attacks.HostOracle, attacks.NativeOracle])
@pytest.mark.parametrize("name", ["shapes-small", "int8"])
def test_compiled_oracles_equal_the_interpreter(name: str, kind: Any) -> None:
    if name == "int8":
        graph = tflite.from_bytes(CASES["CONV_2D"](np.random.default_rng(3)), name="case")
    else:
        graph = load_model(name).graph
    images = np.random.default_rng(1).integers(0, 256, (37, *graph.input.shape)).astype(np.uint8)
    assert attacks.NativeOracle.available()
    oracle = kind(graph)
    assert (oracle(images) == interpreter_of(graph, images)).all()
    assert oracle(images[:0]).shape == (0, graph.output.size)
    made = [
        attacks.get("square").run(
            attacks.GraphVictim(graph, who), images[:5],
            interpreter_of(graph, images[:5]).argmax(1).astype(np.int64), eps_255=8, seed=0,
            settings=Settings(queries=12),
        ).images
        for who in (oracle, None)
    ]  # fmt: skip
    assert (made[0] == made[1]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_square_draws_for_each_image_alone_and_stops_at_success(norm: str) -> None:
    images, labels = images_and_labels(16)
    settings = Settings(norm=norm, queries=40)
    victim = Counting(GRAPH)
    eps = 8 if norm == "linf" else 150
    made = attacks.get("square").run(victim, images, labels, eps_255=eps, seed=0, settings=settings)
    assert (made.queries[made.success] <= 40).all()
    assert (made.queries[~made.success & ~made.skipped] == 40).all()
    assert made.success.any() and made.queries[made.success].min() < 40
    # Two equal images get different squares.
    twice = np.stack([images[1]] * 2)
    made = attacks.get("square").run(
        victim,
        twice,
        labels[[1, 1]],
        eps_255=eps / 8,
        seed=0,
        settings=Settings(norm=norm, queries=3),
    )
    assert (made.images[0] != made.images[1]).any()


def test_square_takes_long_narrow_inputs() -> None:
    b = Builder(0, (20, 4, 1))
    b.conv(4)
    b.requantize()
    b.average()
    b.dense(3)
    b.requantize(scores=True)
    graph = b.graph("narrow")
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 4, 1)).astype(np.uint8)
    labels = interpreter.run(graph, images).argmax(1)
    for norm in NORMS:
        made = attacks.get("square").run(
            attacks.GraphVictim(graph), images, labels, eps_255=8, seed=0,
            settings=Settings(norm=norm, queries=40),
        )  # fmt: skip
        assert attacks.within(made.images, images, 8, norm=norm)


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


@pytest.mark.train
@pytest.mark.slow
def test_the_qkeras_model_is_a_victim(tmp_path: Path) -> None:
    model = load_model("shapes-small")
    victim = attacks.keras_victim(model)
    images, labels = get_task("shapes").load("test", 24)
    graph = attacks.GraphVictim(model.graph)
    assert (victim.scores(images).argmax(1) == graph.scores(images).argmax(1)).mean() > 0.95
    labels = labels.astype(np.int64)
    ours, theirs = (v.loss_and_gradient(images, labels)[1] for v in (graph, victim))
    cosine = (ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum())
    assert cosine > 0.9  # the same straight-through gradient, of floats
    for name, chosen in (("apgd", Settings(steps=10)), ("square", Settings(queries=30)),
                         ("carlini", Settings(steps=5))):  # fmt: skip
        made = attacks.get(name).run(
            victim, images[:8], labels[:8], eps_255=8, seed=0, settings=chosen
        )
        assert attacks.within(made.images, images[:8], 8)
        if name == "apgd":
            assert made.success.sum() >= 6
            # They transfer to the integers.
            assert (graph.scores(made.images).argmax(1) != labels[:8]).sum() >= 5
    logits, each = victim.jacobian(images[:2])
    assert each.shape == (2, 10, *images.shape[1:]) and np.abs(each).max() > 0
    assert np.allclose(logits, victim.scores(images[:2]))
    bare = replace(model, path=tmp_path / "model.graph.npz")
    with pytest.raises(TinyRobustError, match="no trained QKeras model"):
        attacks.keras_victim(bare)


# ZOO spends L2 on few values: in Linf it is no match for anything.
DECISIONS = ("boundary", "hopskipjump", "zoo")
QUERIES = {"boundary": 1000, "hopskipjump": 1000, "zoo": 5000}


def _slow(name: str) -> list[Any]:
    return [pytest.mark.slow] if name in DECISIONS else []


BEATS = [
    pytest.param(*p.values, norm, marks=[*p.marks, *_slow(str(p.values[0]))])
    for p in EVERY for norm in NORMS if (*p.values, norm) != ("zoo", "linf")
]  # fmt: skip


@pytest.mark.parametrize(("name", "norm"), BEATS)
def test_attacks_beat_noise_on_a_trained_network(name: str, norm: str) -> None:
    graph = load_model("shapes-small").graph
    images, labels = get_task("shapes").load("test", 10)
    attack = attacks.get(name)
    # Decision-based attacks and ZOO need thousands of queries to come near: a larger size.
    slow = name in DECISIONS
    eps = {"linf": 60 if slow else 8, "l2": 1200 if slow else 700}[norm]
    settings = Settings(
        norm=norm, queries=QUERIES.get(name, 400) if attack.queries else None,
        steps=20 if attack.steps else None,
        surrogate="shapes-small" if attack.needs_surrogate else None,
    )  # fmt: skip
    victim = attacks.GraphVictim(graph)
    made = attack.run(victim, images, labels, eps_255=eps, seed=0, settings=settings)
    left = int((~made.success & ~made.skipped).sum())
    floor = attacks.get("noise").run(
        victim, images, labels, eps_255=eps, seed=0, settings=Settings(norm=norm)
    )
    noise = int((~floor.success & ~floor.skipped).sum())
    if name == "noise":
        assert left == noise
    else:
        assert left < noise, f"{name} leaves {left}, noise {noise}"
    if attack.strong:
        assert left <= 2
