"""Corruptions in a comparison: counted by hand, resumed, shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from tinyrobust import corruptions, report, tasks
from tinyrobust.cli.compare import command
from tinyrobust.compare import comparison, comparison_figures, corrupted
from tinyrobust.compare.suite import Corrupted, Entry, Group, Suite
from tinyrobust.graph import interpreter
from tinyrobust.graph.model import load_model
from tinyrobust.report import comparison as words

WANTED = Corrupted(samples=12, kinds=("fog", "jpeg"), strengths=(1, 5))
SUITE = Suite(
    name="small", task="shapes", seed=4, models=(Entry(model="shapes-small", title="ours"),),
    groups=(Group(attacks=("noise",), eps=(8,), samples=10),), corruptions=WANTED,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "fastest", lambda: "interpreter")


def test_the_shares_are_those_of_the_images(tmp_path: Path) -> None:
    found = comparison.contenders(SUITE, tmp_path)
    data = comparison.load_data(SUITE)
    assert corrupted.figures(SUITE, found[0], data, tmp_path) is None
    corrupted.run(SUITE, found, data, tmp_path)
    made = corrupted.figures(SUITE, found[0], data, tmp_path)
    assert made is not None and made["complete"] and made["samples"] == 12
    images, labels = tasks.get("shapes").load("test", 12)
    graph, means = load_model("shapes-small").graph, []
    for kind in WANTED.kinds:
        shares = []
        for strength in WANTED.strengths:
            shown = corruptions.corrupt(kind, images, strength, seed=4)
            shares.append(float((interpreter.run(graph, shown).argmax(1) == labels).mean()))
            assert made["kinds"][kind]["strengths"][str(strength)] == pytest.approx(shares[-1])
        means.append(np.mean(shares))
        assert made["kinds"][kind]["accuracy"] == pytest.approx(np.mean(shares))
    assert made["mean"] == pytest.approx(np.mean(means))


def test_a_finished_kind_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, data = comparison.contenders(SUITE, tmp_path), comparison.load_data(SUITE)
    corrupted.run(SUITE, found, data, tmp_path)
    file = tmp_path / "shapes-small" / corrupted.NAME
    record = json.loads(file.read_text())
    del record["right"]["jpeg"]
    file.write_text(json.dumps(record))
    half = corrupted.figures(SUITE, found[0], data, tmp_path)
    assert half is not None and not half["complete"] and set(half["kinds"]) == {"fog"}
    asked: list[str] = []
    sound = corruptions.corrupt

    def watched(name: str, *rest: Any, **more: Any) -> Any:
        asked.append(name)
        return sound(name, *rest, **more)

    monkeypatch.setattr(corruptions, "corrupt", watched)
    corrupted.run(SUITE, found, data, tmp_path)
    assert asked == ["jpeg", "jpeg"]
    other = SUITE.model_copy(update={"seed": 5})
    assert corrupted.figures(other, found[0], data, tmp_path) is None


def test_the_table_has_every_kind_and_their_mean(tmp_path: Path) -> None:
    found, data = comparison.contenders(SUITE, tmp_path), comparison.load_data(SUITE)
    todo = comparison.jobs(SUITE, found, data, tmp_path)
    comparison.run(SUITE, todo, data)
    corrupted.run(SUITE, found, data, tmp_path)
    shares = {c.folder: corrupted.figures(SUITE, c, data, tmp_path) for c in found}
    repeat = {"command": "tinyrobust compare", "versions": {}, "wall_s": 1.0}
    made = comparison_figures.figures(SUITE, found, todo, {}, repeat=repeat, corrupted=shares)
    rows = {row.name: row.cells for row in words.table(made) if row.section.startswith("corrup")}
    assert set(rows) == {"fog", "JPEG", "mean of all kinds"}
    report.write_comparison(made, tmp_path)
    assert "corruptions, 12 images, mean of the strengths" in (tmp_path / "compare.md").read_text()
    bare = comparison_figures.figures(SUITE, found, todo, {}, repeat=repeat)
    assert not any(row.section.startswith("corrup") for row in words.table(bare))


def test_the_command_runs_a_suites_corruptions(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "schema: 1\nname: own\ntask: shapes\nmodels: [{model: shapes-small}]\n"
        "groups: [{attacks: [noise], eps: [8], samples: 5}]\n"
        "corruptions: {samples: 5, kinds: [contrast], strengths: [3]}\n"
    )
    done = CliRunner().invoke(command, ["--suite", str(file), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert made["models"][0]["corruptions"]["kinds"]["contrast"]["strengths"].keys() == {"3"}


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="no corruption 'smog'"):
        Corrupted(samples=1, kinds=("smog",))
