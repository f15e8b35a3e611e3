"""`tinyrobust compare`: suites, resuming, the table's figures, the worst per image, advantages."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.patience import PATIENCE_S
from tinyrobust import attacks, boards, report, tasks
from tinyrobust.cli import compare as cli_compare
from tinyrobust.cli._options import console
from tinyrobust.cli.compare import command
from tinyrobust.compare import comparison, comparison_figures, model_costs, suite
from tinyrobust.compare.suite import Entry, Group, Suite
from tinyrobust.errors import GraphError, TaskError, TinyRobustError
from tinyrobust.evaluate import journal, wilson
from tinyrobust.evaluate.config import Series
from tinyrobust.graph import file, interpreter
from tinyrobust.graph.model import load_model
from tinyrobust.graph.nodes import Graph, Requantize
from tinyrobust.report import comparison as words
from tinyrobust.zoo.card import add_attacks

ROOT = Path(__file__).resolve().parents[2]
REPEAT = {"command": "tinyrobust compare", "versions": {"numpy": "1"}, "wall_s": 3.0}


@pytest.fixture(autouse=True)
def no_compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick tests are judged by the interpreter; slow ones by the engine."""
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(comparison, "fastest", lambda: "interpreter")


def weaker(graph: Graph) -> Graph:
    """The same network that likes class 0 too much."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node, Requantize) and node.output == graph.output.name:
            bias = node.bias.copy()
            bias[0] += int(np.abs(node.bias).max())
            node = dataclasses.replace(node, bias=bias)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), name="weaker")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "weaker.graph.npz"
    file.save(weaker(load_model("shapes-small").graph), path)
    return path


def small(other: Path, **changes: Any) -> Suite:
    values: dict[str, Any] = {
        "name": "small", "task": "shapes", "seed": 5, "baseline": str(other),
        "models": (Entry(model="shapes-small", title="ours"), Entry(model=str(other))),
        "groups": (
            Group(attacks=("noise",), eps=(16, 64), samples=60),
            Group(attacks=("noise",), eps=(128,), samples=20),
        ),
    }  # fmt: skip
    return Suite(**(values | changes))


def run(chosen: Suite, out: Path, **options: Any) -> dict[str, Any]:
    found = comparison.contenders(chosen, out, allow_missing=True)
    data = comparison.load_data(chosen)
    todo = comparison.jobs(chosen, found, data, out)
    comparison.run(chosen, todo, data, **options)
    return comparison_figures.figures(chosen, found, todo, {}, repeat=REPEAT)


def timeless(made: dict[str, Any]) -> dict[str, Any]:
    """The figures without what a clock says."""
    plain = json.loads(json.dumps(made))
    plain.pop("seconds")
    for model in plain["models"]:
        model.pop("seconds")
        for cell in model["cells"].values():
            if cell:
                cell.pop("craft_s")
    return dict(plain)


# -- suites ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", suite.names())
def test_a_suite_that_comes_with_us_is_whole(name: str) -> None:
    found, folder = suite.load(name)
    assert found.name == name and folder == ROOT / "models" / "suites"
    assert tasks.get(found.task).input_shape
    assert boards.load(str(found.board)).id == found.board
    assert {paper.points for paper in found.papers} == {8.3, 79.5, 6.5}


@pytest.mark.parametrize("name", suite.names())
def test_a_suites_attacks_are_there(name: str) -> None:
    for group in suite.load(name)[0].groups:
        for series in group.series:
            attack = attacks.get(str(series.attack))
            assert series.norm in attack.norms
            assert attack.describe(series.eps_255, group.settings)


@pytest.mark.parametrize(("name", "images"), [("cifar10", 1000), ("digits", 300)])
def test_the_suites_are_what_was_promised(name: str, images: int) -> None:
    groups = suite.load(name)[0].groups
    assert groups == (
        Group(attacks=("fgsm", "pgd", "apgd", "apgd_dlr"), eps=(2, 4, 8), samples=images),
        Group(attacks=("square",), eps=(2, 4, 8), samples=images, queries=5000),
        Group(attacks=("autoattack", "margin"), eps=(8,), samples=images),
        Group(attacks=("carlini",), eps=(2, 4, 8), samples=100),
        Group(
            attacks=("boundary", "hopskipjump", "zoo"), eps=(128, 256), samples=100, norm="l2",
            queries=5000,
        ),
    )  # fmt: skip


def test_every_row_of_our_suites_meets_the_same_attacks() -> None:
    for name in suite.names():
        assert not any(group.best for group in suite.load(name)[0].groups)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("baseline: nobody", "the baseline 'nobody' is none of the models"),
        ("models: [{model: a}, {model: a}]", "model 'a' is there twice"),
        ("groups: [{attacks: [pgd], eps: [2, 2], samples: 1}]", "pgd_eps2 is in the groups"),
        ("groups: [{attacks: [pgd], eps: [2], samples: 1, best: 1}]", "none is known yet"),
        ("groups: [{attacks: [pgd], eps: [0], samples: 1}]", "greater than or equal to 1"),
        ("sead: 1", "unknown key 'sead'"),
    ],
)
def test_a_suite_at_fault_is_one_line(tmp_path: Path, change: str, message: str) -> None:
    lines = {
        "name": "name: x", "task": "task: shapes", "models": "models: [{model: a}]",
        "groups": "groups: [{attacks: [pgd], eps: [2], samples: 1}]",
    }  # fmt: skip
    lines[change.partition(":")[0]] = change
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(lines.values()) + "\n")
    with pytest.raises(TinyRobustError, match=message) as caught:
        suite.load(str(path))
    assert str(path) in caught.value.message


def test_models_lie_beside_the_suite_or_in_the_zoo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tflite").touch()
    assert suite.locate(Entry(model="x.tflite"), tmp_path) == str(tmp_path / "x.tflite")
    monkeypatch.setenv("WHERE", str(tmp_path))
    assert suite.locate(Entry(model="$WHERE/x.tflite"), Path()) == str(tmp_path / "x.tflite")
    assert suite.locate(Entry(model="shapes-small"), tmp_path) == "shapes-small"


# -- a whole comparison ----------------------------------------------------------------------


def test_the_figures_are_those_of_the_images(other: Path, tmp_path: Path) -> None:
    made = run(small(other), tmp_path)
    assert made["complete"] and made["baseline"] == "weaker"
    images, labels = tasks.get("shapes").load("test", 60)
    for row, graph in zip(
        made["models"], (load_model("shapes-small").graph, file.load(other)), strict=True
    ):
        victim = attacks.GraphVictim(graph)
        right = {"clean": interpreter.run(graph, images).argmax(1) == labels}
        for eps, count in ((16, 60), (64, 60), (128, 20)):
            at_once = 10
            crafted = np.concatenate([
                attacks.get("noise").run(
                    victim, images[i : i + at_once], labels[i : i + at_once],
                    eps_255=eps, seed=5, first=i,
                ).images
                for i in range(0, count, at_once)
            ])  # fmt: skip
            under = interpreter.run(graph, crafted).argmax(1) == labels[:count]
            cell = row["cells"][f"noise_eps{eps}"]
            assert (cell["correct"], cell["samples"]) == (int(under.sum()), count)
            assert (cell["low"], cell["high"]) == wilson(int(under.sum()), count)
            worst = next(w for w in row["worst"] if w["eps_255"] == eps)
            assert worst["correct"] == int((under & right["clean"][:count]).sum())
        assert row["clean"]["correct"] == right["clean"].sum() and row["score_differences"] == 0
    ours, theirs = made["models"]
    assert ours["clean"]["correct"] > theirs["clean"]["correct"]
    assert ours["advantage"] == {"white-box": None, "black-box": None}  # noise is no attack
    assert theirs["advantage"] == {}


def test_a_finished_comparison_is_not_run_again(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(small(other), tmp_path)
    monkeypatch.setattr(comparison, "evaluate", None)
    assert timeless(run(small(other), tmp_path)) == timeless(first)


@pytest.mark.slow
def test_a_killed_comparison_goes_on_at_its_batch(other: Path, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    chosen = small(other, groups=(Group(attacks=("noise",), eps=(16, 32, 64), samples=600),))
    path.write_text(json.dumps(chosen.model_dump(mode="json", by_alias=True)))
    out, command_line = tmp_path / "killed", [sys.executable, "-m", "tinyrobust", "compare"]
    arguments = [*command_line, "--suite", str(path), "--out", str(out)]
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    records = out / "weaker" / "600-images" / journal.FILE  # the second model's
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and (
        not records.exists() or records.read_bytes().count(b'"batch"') < 15
    ):
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = sum(r["type"] == "batch" for r in journal.read(records))
    assert 15 <= before < 48
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    batches = [r for r in journal.read(records) if r["type"] == "batch"]
    assert len(batches) == 48  # 12 of each series: none was done twice
    made = json.loads((out / "compare.json").read_text())
    whole = run(chosen, tmp_path / "whole")
    for figures in (made, whole):
        figures["repeat"] = None
    for mine, theirs in zip(timeless(made)["models"], timeless(whole)["models"], strict=True):
        assert mine == theirs


def test_models_that_are_missing_are_refused_or_not_measured(other: Path, tmp_path: Path) -> None:
    entries = (Entry(model="shapes-small"), Entry(model="nobody", title="missing"))
    chosen = small(other, models=entries, baseline="shapes-small")
    with pytest.raises(GraphError, match="no model nobody"):
        comparison.contenders(chosen, tmp_path)
    made = run(chosen, tmp_path)
    assert [m["present"] for m in made["models"]] == [True, False]
    rows = {row.name: row for row in words.table(made)}
    assert rows["clean"].cells[1] == rows["noise at 16/255"].cells[1] == "not measured"
    assert rows["clean"].cells[0] != "not measured"
    assert any("Not there, so not measured: missing." in text for text in words.statements(made))
    chosen = small(other, models=entries[1:], baseline=None)
    with pytest.raises(GraphError, match="no model nobody"):
        comparison.contenders(chosen, tmp_path, allow_missing=True)


def test_a_broken_model_is_not_called_missing(other: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.graph.npz"
    broken.write_bytes(other.read_bytes()[:1000])
    chosen = small(other, models=(Entry(model=str(broken)),), baseline=None)
    with pytest.raises(GraphError, match=r"broken\.graph\.npz"):
        comparison.contenders(chosen, tmp_path, allow_missing=True)


def test_a_model_of_another_task_is_refused(other: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="classes"):
        comparison.contenders(small(other, task="cifar10"), tmp_path)


def test_an_unfinished_comparison_says_so(other: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(job: Any, series: Series, done: float) -> None:
        if job.contender.folder == "weaker" and series.eps_255 == 16 and done > 30:
            raise Stop

    with pytest.raises(Stop):
        run(small(other), tmp_path, progress=stop)
    chosen = small(other)
    found = comparison.contenders(chosen, tmp_path)
    todo = comparison.jobs(chosen, found, comparison.load_data(chosen), tmp_path)
    made = comparison_figures.figures(chosen, found, todo, {}, repeat=REPEAT)
    assert not made["complete"]
    ours, theirs = made["models"]
    assert theirs["cells"]["noise_eps16"]["samples"] == 30
    assert theirs["cells"]["noise_eps64"] is None and ours["cells"]["noise_eps64"]["samples"] == 60
    table = {row.name: row for row in words.table(made)}
    assert table["noise at 16/255"].cells[1].endswith("30 images so far")
    assert table["any attack at 128/255"].cells == ("not measured", "not measured")
    files = report.write_comparison(made, tmp_path)
    assert "not finished" in files.markdown.read_text()
    assert "images so far" in files.html.read_text()
    assert json.loads(files.json.read_text()) == json.loads(json.dumps(made))
    assert files.plot.read_text().startswith("<svg")


def test_only_the_best_models_see_a_group_for_the_best(other: Path, tmp_path: Path) -> None:
    groups = (
        Group(attacks=("noise",), eps=(16,), samples=40),
        Group(attacks=("noise",), eps=(64,), samples=10, best=1),
    )
    # the weaker one comes first, so that order alone would choose it
    entries = (Entry(model=str(other)), Entry(model="shapes-small"))
    made = run(small(other, groups=groups, models=entries), tmp_path)
    assert [m["cells"]["noise_eps64"] is None for m in made["models"]] == [True, False]
    assert made["complete"]


# -- the figures by hand ---------------------------------------------------------------------


def bools(text: str) -> Any:
    return np.array([c == "1" for c in text])


def test_the_worst_is_per_image_over_what_it_saw() -> None:
    fast = {"clean": bools("111110"), "a_eps8": bools("110110"), "b_eps8": bools("101110"),
            "b_eps2": bools("000000")}  # fmt: skip
    slow = {"clean": bools("111"), "c_eps8": bools("011")}
    assert comparison.worst([fast, slow], ("linf", 8)).tolist() == bools("000110").tolist()
    assert comparison.worst([slow], ("linf", 8)).tolist() == bools("011").tolist()
    assert len(comparison.worst([slow], ("l2", 8))) == 0
    assert comparison.worst_accuracy([fast, slow], ("linf", 8)) == pytest.approx(2 / 6)


class Measured:
    """Stands for a model's records: which images were right under each series."""

    def __init__(self, **series: str) -> None:
        self.found = {key: bools(text) for key, text in series.items()}

    def series(self, key: str) -> Any:
        return ({}, self.found[key], None) if key in self.found else None


COLUMNS = [
    {"key": "a_eps2", "kind": "white-box"}, {"key": "a_eps8", "kind": "white-box"},
    {"key": "s_eps8", "kind": "black-box"}, {"key": "n_eps8", "kind": "floor"},
]  # fmt: skip


def test_the_advantage_is_the_mean_over_series_measured_on_both() -> None:
    ours = Measured(a_eps2="1111", a_eps8="1100", s_eps8="1", n_eps8="1111")
    base = Measured(a_eps2="1000", a_eps8="0000", n_eps8="0000")
    found = comparison_figures._advantage(ours, base, COLUMNS, "white-box")  # type: ignore[arg-type]
    assert found is not None and found["series"] == 2
    assert found["points"] == pytest.approx(100 * (0.75 + 0.5) / 2)
    differences = (np.array([0, 1, 1, 1]) + np.array([1, 1, 0, 0])) / 2
    reach = 100 * 1.959963984540054 * differences.std(ddof=1) / np.sqrt(4)
    assert found["high"] - found["points"] == pytest.approx(reach)
    assert comparison_figures._advantage(ours, base, COLUMNS, "black-box") is None  # type: ignore[arg-type]


def test_what_does_not_break_the_baseline_measures_nothing() -> None:
    """Its columns are marked, and leave the mean."""
    twenty = np.ones(20, bool)
    one, two = twenty.copy(), twenty.copy()
    one[:1], two[:2] = False, False  # 5 % and 10 % broken

    class Run:
        def __init__(self, **found: Any) -> None:
            self.found = found

        def series(self, key: str) -> Any:
            return {}, self.found[key], twenty

    base: Any = Run(weak_eps8=one, able_eps8=two)
    ours: Any = Run(weak_eps8=~twenty, able_eps8=twenty)
    columns: list[dict[str, Any]] = [
        {"key": key, "kind": "black-box"} for key in ("weak_eps8", "able_eps8")
    ]
    for column in columns:
        column |= comparison_figures._of_the_baseline(base, column)
    assert [c["measures"] for c in columns] == [False, True]
    assert [c["baseline_broken"] for c in columns] == [pytest.approx(0.05), pytest.approx(0.1)]
    found = comparison_figures._advantage(ours, base, columns, "black-box")
    assert found is not None and found["series"] == 1 and found["points"] == pytest.approx(10)
    assert comparison_figures._of_the_baseline(None, columns[0])["measures"] is None
    assert comparison_figures._advantage(ours, base, columns[:1], "black-box") is None


def test_black_box_attacks_are_told_as_shares_and_distances(other: Path, tmp_path: Path) -> None:
    """The table of a comparison with a score-based attack and a search for the nearest image."""
    chosen = small(other, groups=(
        Group(attacks=("square",), eps=(64,), samples=10, queries=30),
        Group(attacks=("zoo",), eps=(256,), samples=10, norm="l2", queries=1000),
    ))  # fmt: skip
    made = run(chosen, tmp_path)
    columns = {c["key"]: c for c in made["columns"]}
    ours, base = made["models"]
    images, labels = tasks.get("shapes").load("test", 10)
    clean = int((interpreter.run(load_model(str(other)).graph, images).argmax(1) == labels).sum())
    for key, column in columns.items():
        cell = base["cells"][key]
        assert cell["broken"] == pytest.approx(1 - cell["correct"] / clean)
        assert column["baseline_broken"] == cell["broken"]
        if column["measures"]:
            assert ours["cells"][key]["advantage"]["points"] == pytest.approx(
                100 * (ours["cells"][key]["accuracy"] - cell["accuracy"])
            )
        else:
            assert ours["cells"][key]["advantage"] is None
    after = ours["cells"]["zoo_l2_eps256"]["after"]
    assert set(after) == {"100", "1000"}
    near = [np.inf if after[n] is None else after[n] for n in ("100", "1000")]
    assert near[0] >= near[1]
    sections = {row.section for row in words.table(made)}
    assert "share of correctly classified images broken" in sections
    assert "median distance, L2, of 255" in sections
    assert f"advantage over {made['baseline']}, points" in sections
    assert "ZOO after 1,000 queries" in words.markdown(made)


def test_a_stronger_attack_behind_the_strong_ones_is_told(other: Path, tmp_path: Path) -> None:
    """A weak AutoPGD leaves much that Margin breaks: a sign, though they are of two groups."""
    chosen = small(other, groups=(
        Group(attacks=("apgd",), eps=(2,), samples=20, steps=1),
        Group(attacks=("margin",), eps=(2,), samples=20, steps=12, queries=30),
    ))  # fmt: skip
    ours = run(chosen, tmp_path)["models"][0]
    (found,) = ours["survivors"]
    assert found["others"] == ["AutoPGD"] and 2 <= found["broken"] <= found["tried"]
    assert any("more such attacks would break more" in text for text in ours["signs"])


def test_the_advantages_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Series of 400 and 60 images that share the first 60, correlated by image."""
    rng, inside = np.random.default_rng(1), 0
    columns = [{"key": k, "kind": "white-box"} for k in ("a_eps2", "b_eps2")]
    for _ in range(400):
        hardness = rng.uniform(size=400)
        ours, base = Measured(), Measured()
        ours.found = {"a_eps2": hardness < 0.6, "b_eps2": hardness[:60] < 0.5}
        base.found = {"a_eps2": hardness < 0.4, "b_eps2": rng.uniform(size=60) < 0.3}
        found = comparison_figures._advantage(ours, base, columns, "white-box")  # type: ignore[arg-type]
        assert found is not None
        inside += found["low"] <= 100 * (0.2 + 0.2) / 2 <= found["high"]
    assert 0.92 <= inside / 400 <= 0.98


def test_signs_of_masking_stand_beside_their_figure(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(small(other), tmp_path)

    def rising(pair: Any, probed: Any = None, survivors: Any = ()) -> list[str]:
        if len(pair) != 2:
            return ["the loss is flat"] if probed else []
        a, b = pair
        assert a["samples"] == b["samples"] <= 60
        return [f"{b['title']} at {b['eps_255']}/255 rises"] if b["eps_255"] == 128 else []

    monkeypatch.setattr(comparison_figures.masking, "warnings", rising)
    made = run(small(other), tmp_path)
    rows = {row.name: row for row in words.table(made)}
    assert rows["noise at 128/255"].signs == (True, True)
    assert rows["noise at 64/255"].signs == (False, False)
    assert words.signs(made)[0] == "ours: the loss is flat"
    assert words.signs(made)[1].startswith("ours: noise at 128/255 rises")
    assert rows["signs (listed below)"].cells == ("3", "3")
    assert " !" in words.markdown(made)


# -- estimate, costs, command ----------------------------------------------------------------


def test_the_estimate_is_seconds_per_image_of_each_attack(other: Path, tmp_path: Path) -> None:
    chosen = small(other, groups=(Group(attacks=("noise",), eps=(2,), samples=10),))
    found = comparison.contenders(chosen, tmp_path)
    todo = comparison.jobs(chosen, found, comparison.load_data(chosen), tmp_path)
    clean, noise = todo[0].config.series
    made = comparison.Estimate(todo)
    assert made.left() == (None, 0) and made.total == 40
    for job, series, done, now in (
        (todo[0], clean, 0, 100.0), (todo[0], clean, 10, 101.0),  # 0.1 s per image
        (todo[0], noise, 0, 101.0), (todo[0], noise, 5, 103.0),  # 0.4
    ):  # fmt: skip
        made.update(job, series, done, now)
    assert made.done == 15
    assert made.left() == (pytest.approx(5 * 0.4 + 10 * 0.1 + 10 * 0.4), 0)
    made = comparison.Estimate(todo)
    made.update(todo[0], clean, 0, 0.0)
    made.update(todo[0], clean, 10, 1.0)
    assert made.left() == (pytest.approx(3.0), 1)  # noise counts as much as clean, and is untimed


def test_thousands_of_steps_a_second_draw_the_bar_only_now_and_then(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = small(other, groups=(Group(attacks=("noise",), eps=(2,), samples=10),))
    found = comparison.contenders(chosen, tmp_path)
    todo = comparison.jobs(chosen, found, comparison.load_data(chosen), tmp_path)
    estimate = comparison.Estimate(todo)
    times, asked = iter(np.arange(0.0, 10.0, 0.01)), []
    monkeypatch.setattr(cli_compare.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(estimate, "left", lambda: asked.append(1) or (1.0, 0))
    bars = cli_compare._Progress(console(None), estimate)
    for step in range(100):  # in one second
        bars.update(todo[0], todo[0].config.series[0], step / 10)
    assert 1 <= len(asked) <= 6
    assert estimate.done == 9


def test_recorded_batches_do_not_shorten_the_estimate(other: Path, tmp_path: Path) -> None:
    chosen = small(other, groups=(Group(attacks=("noise",), eps=(2,), samples=10),))
    found = comparison.contenders(chosen, tmp_path)
    todo = comparison.jobs(chosen, found, comparison.load_data(chosen), tmp_path)
    made = comparison.Estimate(todo)
    made.update(todo[0], todo[0].config.series[1], 0, 0.0)
    made.update(todo[0], todo[0].config.series[1], 10, 1e-5)
    assert made.left() == (None, 0)


def test_the_estimate_counts_as_many_of_the_best_as_there_are(other: Path, tmp_path: Path) -> None:
    groups = (Group(attacks=("noise",), eps=(2,), samples=10),
              Group(attacks=("noise",), eps=(4,), samples=10, best=1))  # fmt: skip
    chosen = small(other, groups=groups)
    found = comparison.contenders(chosen, tmp_path)
    todo = comparison.jobs(chosen, found, comparison.load_data(chosen), tmp_path)
    made = comparison.Estimate(todo)
    assert made.total == 60  # two models, then one of them; clean and noise
    for job in (todo[0], todo[1], todo[3]):  # the second model is the better one
        for series in job.config.series:
            made.update(job, series, 0, 0.0)
            made.update(job, series, 10, 1.0)
    assert made.total == made.done == 60 and made.left()[0] == 0


def test_a_search_for_the_nearest_image_costs_nothing_at_further_sizes(
    other: Path, tmp_path: Path
) -> None:
    chosen = small(other, groups=(Group(attacks=("carlini",), eps=(2, 4), samples=10),))
    found = comparison.contenders(chosen, tmp_path)
    todo = comparison.jobs(chosen, found, comparison.load_data(chosen), tmp_path)
    clean, first, second = todo[0].config.series
    made = comparison.Estimate(todo)
    for series, done, now in ((clean, 0, 0.0), (clean, 10, 1.0), (first, 0, 1.0), (first, 10, 3.0),
                              (second, 0, 3.0), (second, 10, 3.1)):  # fmt: skip
        made.update(todo[0], series, done, now)
    assert made.left() == (pytest.approx(1.0 + 2.0), 0)  # the other model's clean and first ones


@pytest.mark.parametrize("name", ["shapes-small", "cifar10-resnet8-ternary"])
def test_weights_are_the_cards(name: str) -> None:
    model = load_model(name)
    assert model_costs.weight_bytes(model.graph) == model.card()["weight_bytes"]


@pytest.mark.slow
def test_predicted_and_counted_costs_agree(tmp_path: Path) -> None:
    graph, board = load_model("shapes-small").graph, boards.load("nucleo-h743")
    guess = model_costs.predicted(graph, board)
    found = model_costs.counted(graph, board, tmp_path, "shapes-small")
    assert guess.how != found.how
    for key in ("flash_bytes", "ram_bytes", "instructions"):
        assert getattr(guess, key) == pytest.approx(getattr(found, key), rel=0.15)


def test_a_model_that_does_not_fit_says_why() -> None:
    board = boards.load("nucleo-h743")
    tight = board.model_copy(
        update={"budget": board.budget.model_copy(update={"flash_bytes": 12_000})}
    )
    found = model_costs.predicted(load_model("shapes-small").graph, tight)
    assert found.flash_bytes is None and "flash" in found.problem


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --suite, or --models"),
        (["--suite", "cifar10", "--eps", "3"], "the suite says what --eps would"),
        (["--models", "shapes-small", "--count", "--attacks", "noise"], "--count needs --board"),
        (["--models", "shapes-small", "--attacks", ""], "both empty"),
        (["--models", "shapes-small", "--eps", "two"], "not a list of numbers"),
    ],
)
def test_options_that_contradict(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2 and message in done.output  # main() makes it exit code 1


def test_the_command_writes_what_it_shows(tmp_path: Path) -> None:
    arguments = ["--models", "shapes-small", "--attacks", "noise", "--eps", "8", "--samples", "20",
                 "--board", "nucleo-h743", "--out", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "compare.json").read_text())
    assert made["schema"] == "tinyrobust.compare/1"
    assert made["models"][0]["costs"]["how"] == "predicted by the planner"
    assert "noise at 8/255" in done.output and "instructions per inference" in done.output
    assert {p.name for p in tmp_path.glob("compare.*")} == {
        "compare.html", "compare.json", "compare.md", "compare.svg",
    }  # fmt: skip


def test_cards_take_the_figures_and_keep_the_rest(tmp_path: Path) -> None:
    zoo = ROOT / "models" / "zoo" / "shapes-small"
    folder = tmp_path / "mine"
    shutil.copytree(zoo, folder)
    bare = tmp_path / "bare"
    shutil.copytree(zoo, bare)
    (bare / "card.json").unlink()
    arguments = ["--models", f"{folder},{bare}", "--attacks", "noise,fgsm", "--eps", "8", "--cards",
                 "--samples", "20", "--out", str(tmp_path / "out")]  # fmt: skip
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no card in" in done.output and not (bare / "card.json").exists()
    made = json.loads((tmp_path / "out" / "compare.json").read_text())
    card, before = (json.loads((p / "card.json").read_text()) for p in (folder, zoo))
    found = card.pop("attacks")["mine"]
    before.pop("attacks", None)
    assert card == before
    assert found["graph_sha256"] == card["graph_sha256"]
    cells = made["models"][0]["cells"]
    assert {c["key"]: c["correct"] for c in found["attacks"]} == {
        key: cell["correct"] for key, cell in cells.items()
    }
    page = (folder / "card.md").read_text()
    assert f"| FGSM | white-box | 8/255 | {100 * cells['fgsm_eps8']['accuracy']:.1f} % (" in page
    assert page.index("## Under attack") < page.index("## Known weaknesses")
    # A smaller comparison leaves the figures of this one, unless the network is another.
    fewer = found | {"attacks": found["attacks"][:1], "suite": "fewer"}
    assert "stays: it has figures of more" in (add_attacks(folder, "mine", fewer) or "")
    assert json.loads((folder / "card.json").read_text())["attacks"]["mine"] == found
    other = fewer | {"graph_sha256": "0" * 64}
    assert add_attacks(folder, "mine", other) is None
    assert json.loads((folder / "card.json").read_text())["attacks"]["mine"] == other
    (folder / "card.json").write_text("{")
    with pytest.raises(GraphError, match="damaged"):
        add_attacks(folder, "mine", found)


def zoo_models() -> list[str]:
    from tinyrobust.convert import models

    return models.names()


@pytest.mark.parametrize("name", zoo_models())
def test_attack_figures_on_a_card_are_of_the_model_that_lies_there(name: str) -> None:
    from tinyrobust.convert import models

    model = models.load_model(name)
    found = json.loads((model.folder / "card.json").read_text()).get("attacks", {})
    if name in found:
        assert found[name]["graph_sha256"] == model.graph.sha256
