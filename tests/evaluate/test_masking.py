"""Signs of gradient masking: a network that masks on purpose shows them, a plain one does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation import FakeSession, config
from tinyrobust import attacks, report, tasks
from tinyrobust.evaluate import Series, evaluate, masking, summarise
from tinyrobust.evaluate.probe import probe
from tinyrobust.graph.model import load_model
from tinyrobust.graph.nodes import Graph

PLAIN = load_model("shapes-small").graph


def saturated(graph: Graph, bits: int = 8) -> Graph:
    """``graph`` with logits 2**bits times as large: its softmax is 0 or 1 in floats, its
    cross-entropy has no gradient. Its integers, and so its decisions, are the same."""
    output = dataclasses.replace(graph.output, frac_bits=graph.output.frac_bits - bits)
    tensors = tuple(output if t.name == output.name else t for t in graph.tensors)
    return dataclasses.replace(graph, tensors=tensors)


MASKED = saturated(PLAIN)


def shapes(count: int) -> tuple[Any, Any]:
    images, labels = tasks.get("shapes").load("test", count)
    return images, np.asarray(labels, np.int64)


def statuses(checks: list[masking.Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks}


PROBED = (
    "the loss has a gradient", "the loss is no plateau along random directions",
    "a gradient step does more than random steps", "unbounded changes break every image",
)  # fmt: skip


@pytest.mark.parametrize(("graph", "status"), [(PLAIN, "no sign"), (MASKED, "sign")])
def test_the_probe_flags_a_saturated_softmax_only(graph: Graph, status: str) -> None:
    images, labels = shapes(30)
    found = probe(attacks.GraphVictim(graph), images, labels, 8, 0)
    seen = statuses(masking.checks([], found))
    assert {seen[name] for name in PROBED} == {status}
    assert found["unbounded_scaled"] == 0  # the temperature of the margin sees through it
    texts = " ".join(masking.warnings([], found))
    assert ("sees through it" in texts) == (status == "sign")
    assert found == probe(attacks.GraphVictim(graph), images, labels, 8, 0)


def test_the_probe_asks_no_oracle_and_needs_a_correct_image() -> None:
    def never(images: Any) -> Any:
        raise AssertionError("the oracle was asked")

    never.name = "never"  # type: ignore[attr-defined]
    images, labels = shapes(4)
    victim = attacks.GraphVictim(PLAIN, never)  # type: ignore[arg-type]
    assert probe(victim, images, labels, 8, 0)["images"] == 4
    wrong = probe(victim, images, (labels + 1) % 10, 8, 0)
    assert wrong["images"] == 0
    assert {statuses(masking.checks([], wrong))[name] for name in PROBED} == {"not measured"}


@pytest.mark.parametrize("name", ["apgd", pytest.param("pgd", marks=pytest.mark.attacks),
                                  pytest.param("fgsm", marks=pytest.mark.attacks)])  # fmt: skip
def test_temperatures_see_through_a_saturated_softmax(name: str) -> None:
    images, labels = shapes(30)
    settings = attacks.Settings(steps=10 if name != "fgsm" else None)
    left = {}
    for graph in (PLAIN, MASKED):
        made = attacks.get(name).run(
            attacks.GraphVictim(graph), images, labels, eps_255=8, seed=0, settings=settings
        )
        left[graph] = int((~made.success & ~made.skipped).sum())
        first = made.log[0]
        assert first["temperature"] == 1.0
        assert (first["broken"] == 0) == (graph is MASKED)
    assert left[MASKED] <= left[PLAIN] + 2


def evaluated(graph: Graph, out: Path, count: int = 20) -> dict[str, Any]:
    images, labels = shapes(count)
    wanted = (Series("apgd", 4), Series("square", 4), Series("noise", 4))
    chosen = config(graph, count, attacks=wanted, steps=10, queries=30, batch_images=10)
    session = FakeSession(graph)
    return summarise(evaluate(chosen, graph, images, labels, session, out).records)


def test_every_form_of_the_report_shows_the_signs(tmp_path: Path) -> None:
    plain = evaluated(PLAIN, tmp_path / "plain")
    assert plain["warnings"] == []
    seen = {check["name"]: check["status"] for check in plain["masking"]}
    assert seen["one step is not stronger than many"] == "not measured"
    assert seen["larger changes do more harm"] == "not measured"
    assert set(seen.values()) == {"no sign", "not measured"}

    made = evaluated(MASKED, tmp_path / "masked")
    seen = {check["name"]: check["status"] for check in made["masking"]}
    assert all(seen[name] == "sign" for name in PROBED)
    assert seen[TEMPERATURES] == "sign"
    # What temperatures see through is counted: the figures are those of the plain network.
    assert made["attacks"][0]["correct"] <= plain["attacks"][0]["correct"] + 2
    files = report.write(made, tmp_path / "report")
    for path in (files.html, files.markdown, files.json, files.junit):
        text = path.read_text()
        assert "gradient of exactly 0" in text, path
        assert "sees through it" in text, path
        assert "not measured" in text, path


def series(attack: str, kind: str, eps: float, correct: int, **more: Any) -> dict[str, Any]:
    return {
        "attack": attack, "title": attack, "kind": kind, "eps_255": eps, "correct": correct,
        "samples": 200, "norm": "linf", "strong": False, "iterative": True, **more,
    }  # fmt: skip


PGD = series("pgd", "white-box", 8, 100, strong=True)
TEMPERATURES = "the softmax does not hide the gradient (temperatures of the logits)"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("black-box attacks are not stronger than white-box ones",
         series("square", "black-box", 8, 90)),
        ("one step is not stronger than many", series("fgsm", "white-box", 8, 90, iterative=False)),
        ("transferred images are not stronger than white-box attacks",
         series("transfer", "transfer", 8, 90)),
        ("attacks are stronger than noise", series("noise", "floor", 8, 90)),
        ("larger changes do more harm", series("pgd", "white-box", 4, 90, strong=True)),
    ],
)  # fmt: skip
def test_each_comparison_of_series_is_a_check(name: str, other: dict[str, Any]) -> None:
    assert statuses(masking.checks([PGD]))[name] == "not measured"
    seen = statuses(masking.checks([PGD, other]))
    assert seen[name] == "sign"
    assert list(seen.values()).count("sign") == 1
    harmless = statuses(masking.checks([PGD, other | {"correct": 100}]))
    assert harmless[name] == "no sign"
    # Another norm, or a target, is another question.
    assert statuses(masking.checks([PGD, other | {"norm": "l2"}]))[name] == "not measured"
    assert statuses(masking.checks([PGD, other | {"targeted": True}]))[name] == "not measured"


@pytest.mark.parametrize(("temperature", "sign"), [(5.0, True), (1.3, False), (0.07, False)])
def test_only_much_higher_temperatures_speak_of_saturation(temperature: float, sign: bool) -> None:
    log = [{"temperature": 1.0, "tried": 100, "broken": 60},
           {"temperature": temperature, "tried": 40, "broken": 13}]  # fmt: skip
    seen = statuses(masking.checks([PGD | {"log": log}]))[TEMPERATURES]
    assert seen == ("sign" if sign else "no sign")


def test_a_few_images_more_at_another_temperature_are_no_sign() -> None:
    log = [{"temperature": 1.0, "tried": 100, "broken": 60},
           {"temperature": 5.0, "tried": 40, "broken": 3}]  # fmt: skip
    assert statuses(masking.checks([PGD | {"log": log}]))[TEMPERATURES] == "no sign"
    log[1]["broken"] = 4
    assert statuses(masking.checks([PGD | {"log": log}]))[TEMPERATURES] == "sign"
    few = [{"temperature": 1.0, "tried": 804, "broken": 797},
           {"temperature": 4.2, "tried": 7, "broken": 3}]  # fmt: skip
    assert statuses(masking.checks([PGD | {"log": few}]))[TEMPERATURES] == "no sign"
    assert statuses(masking.checks([PGD]))[TEMPERATURES] == "not measured"


def test_the_best_white_box_attack_counts_and_trifles_do_not() -> None:
    name = "black-box attacks are not stronger than white-box ones"
    square, weak = series("square", "black-box", 8, 90), PGD | {"attack": "apgd", "correct": 150}
    assert statuses(masking.checks([weak, square, PGD | {"correct": 91}]))[name] == "no sign"
    assert statuses(masking.checks([weak, square, PGD | {"correct": 92}]))[name] == "sign"
    many = {"samples": 1000}
    assert (
        statuses(masking.checks([PGD | many, square | many | {"correct": 91}]))[name] == "no sign"
    )
    assert statuses(masking.checks([PGD | many, square | many | {"correct": 90}]))[name] == "sign"


def test_what_a_stronger_attack_breaks_of_the_survivors() -> None:
    """It counts where it breaks more than one in 20 of those that every strong one left."""
    name = "a stronger attack breaks few of the survivors"
    clean = np.ones(100, bool)
    right = {"pgd_eps8": clean.copy(), "apgd_eps8": clean.copy(), "margin_eps8": clean.copy()}
    right["pgd_eps8"][:30], right["apgd_eps8"][20:60] = False, False  # 40 are left
    right["margin_eps8"][:60] = False
    rows = [
        series("pgd", "white-box", 8, 70, strong=True, key="pgd_eps8"),
        series("apgd", "white-box", 8, 60, strong=True, key="apgd_eps8"),
        series("margin", "white-box", 8, 40, strong=True, verifies=True, key="margin_eps8"),
    ]
    for more, status in ((0, "no sign"), (2, "no sign"), (3, "sign")):
        right["margin_eps8"][60 : 60 + more] = False
        (found,) = masking.survivors_of(rows, right, clean)
        assert (found["tried"], found["broken"]) == (40, more)
        assert statuses(masking.checks([], None, [found]))[name] == status
    assert "margin at 8/255 breaks 3 of the 40 images that pgd, apgd leave" in "".join(
        masking.warnings([], None, [found])
    )
    assert masking.survivors_of(rows[:2], right, clean) == []
    assert masking.survivors_of(rows[2:], right, clean) == []
    assert statuses(masking.checks(rows))[name] == "not measured"
