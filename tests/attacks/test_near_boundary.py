"""What finds the last images: FAB-T's steps, the margin attack, and two images that were missed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from tests.attacks.test_attacks import GRAPH, images_and_labels
from tinyrobust import attacks, tasks
from tinyrobust.attacks import Settings, _targets
from tinyrobust.attacks._attack import Job
from tinyrobust.attacks._views import closest, watched
from tinyrobust.attacks.fab import _onto_plane
from tinyrobust.attacks.fab import walk as fab_walk
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import load_model


def planes(seed: int) -> Any:
    """Points in a box, slopes with zeros, and ways that can or cannot be made."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 255, (8, 5))
    slope = rng.normal(size=(8, 5)) * (rng.random((8, 5)) < 0.8)
    slope[0] = 0
    way = rng.normal(size=8) * rng.choice([1, 100, 2000], 8)
    return x, slope, way


@pytest.mark.parametrize("seed", range(3))
def test_the_step_onto_a_plane_is_the_shortest_in_linf(seed: int) -> None:
    x, slope, way = planes(seed)
    made = _onto_plane(x, slope, way, "linf", 0.0, 255.0)
    assert ((x + made >= -1e-9) & (x + made <= 255 + 1e-9)).all()
    for here, w, c, d in zip(x, slope, way, made, strict=True):
        most = np.where(w * np.sign(c) > 0, 255 - here, here) @ np.abs(w)
        if abs(c) > most:  # the corner that comes nearest
            assert w @ d == pytest.approx(np.sign(c) * most)
            continue
        assert w @ d == pytest.approx(c)
        # min t over (d, t): -t <= d_i <= t, w.d = c, x + d in the box
        rows = np.block([[np.eye(5), -np.ones((5, 1))], [-np.eye(5), -np.ones((5, 1))]])
        best = linprog(
            [0] * 5 + [1], A_ub=rows, b_ub=np.zeros(10), A_eq=[[*w, 0]], b_eq=[c],
            bounds=[*zip(-here, 255 - here, strict=True), (0, None)],
        )  # fmt: skip
        assert np.abs(d).max() == pytest.approx(best.fun, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_step_onto_a_plane_is_the_shortest_in_l2(seed: int) -> None:
    x, slope, way = planes(seed)
    made = _onto_plane(x, slope, way, "l2", 0.0, 255.0)
    for here, w, c, d in zip(x, slope, way, made, strict=True):
        most = np.where(w * np.sign(c) > 0, 255 - here, here) @ np.abs(w)
        if abs(c) > most:
            assert w @ d == pytest.approx(np.sign(c) * most)
            continue
        assert w @ d == pytest.approx(c)
        best = minimize(
            lambda e: e @ e, d * 0.9, jac=lambda e: 2 * e, method="SLSQP",
            bounds=list(zip(-here, 255 - here, strict=True)),
            constraints={"type": "eq", "fun": lambda e, w=w, c=c: w @ e - c},
        )  # fmt: skip
        assert d @ d <= best.fun * (1 + 1e-6) + 1e-6


def job_of(images: Any, labels: Any, eps: float) -> Job:
    victim = attacks.GraphVictim(GRAPH)
    victim.begin(len(images))
    return Job(
        victim, images, labels, None, eps, Settings(), np.random.default_rng(0), lambda f: None
    )


def right_ones(count: int = 12) -> Any:
    images, labels = images_and_labels(count)
    right = interpreter.run(GRAPH, images).argmax(1) == labels
    return images[right], labels[right]


def test_fab_stops_where_it_is_near_enough_and_else_comes_nearer() -> None:
    images, labels = right_ones()
    near = {}
    for enough in (0.0, 1000.0):
        inner, nearest = watched(job_of(images, labels, 255))
        fab_walk(inner, nearest, 30, enough=enough)
        near[enough] = nearest.distance
        found = np.isfinite(nearest.distance)
        assert (interpreter.run(GRAPH, nearest.images[found]).argmax(1) != labels[found]).all()
    assert (near[0.0] <= near[1000.0]).all() and (near[0.0] < near[1000.0]).any()


def test_the_memory_keeps_the_least_margin_and_ends_at_success() -> None:
    images, labels = right_ones()
    job, best = closest(job_of(images, labels, 12))
    rng = np.random.default_rng(4)
    least = np.full(len(images), np.inf)
    done = np.zeros(len(images), bool)
    for _ in range(30):
        noise = rng.integers(-12, 13, images.shape)
        shown = np.clip(images + noise, 0, 255).astype(np.uint8)
        scores = job.victim.scores(shown, np.arange(len(images)))
        margins = np.where(done, np.inf, job.margin(scores))
        least = np.minimum(least, margins)
        done |= job.reached(scores)
        assert (best.margin == least).all() and best.broken == done.sum()
        assert (best.left == np.flatnonzero(~done)).all()
    assert 0 < done.sum() < len(images)


def test_the_likeliest_other_classes_come_first() -> None:
    images, labels = right_ones()
    job = job_of(images, labels, 8)
    logits, found = job.victim.logits(images), _targets.others(job, 9)
    assert found.shape == (len(images), 3)
    for row, order, label in zip(logits, found, labels, strict=True):
        assert label not in order and (np.diff(row[order]) <= 0).all()
    loss, flow = _targets.lead(job, found[:, 0])(np.arange(len(images)))(
        logits, slice(0, len(images))
    )
    assert (loss < 0).all() and (flow.sum(axis=1) == 0).all()


@pytest.mark.cases
@pytest.mark.data
def test_two_images_that_older_suites_called_robust_are_broken(
    public_cases: Path, real_data: Path
) -> None:
    """Random starts and searches differ from processor to processor, in the last bit of a gradient:
    one of several seeds has to do it."""
    with np.load(public_cases / "broken-cifar10-resnet8-robust.npz") as file:
        index, broken, labels = file["index"], file["images"], file["labels"]
    graph = load_model("cifar10-resnet8-robust").graph
    images = tasks.get("cifar10").load("test", int(index.max()) + 1)[0][index]
    assert attacks.within(broken, images, 8)
    victim = attacks.GraphVictim(
        graph, attacks.NativeOracle(graph) if attacks.NativeOracle.available() else None
    )
    assert (victim.scores(broken).argmax(1) != labels).all()
    left = np.arange(len(index))
    for name, seed in (("autoattack", 0), *(("margin", seed) for seed in range(8))):
        settings = Settings(queries=100) if name == "autoattack" else Settings()
        made = attacks.get(name).run(
            victim, images[left], labels[left], eps_255=8, seed=seed, settings=settings
        )
        left = left[~made.success]
        if not left.size:
            return
    raise AssertionError(f"images {index[left]} withstand the suite")
