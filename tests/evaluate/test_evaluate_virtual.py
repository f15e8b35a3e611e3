"""`tinyrobust evaluate` from end to end, on virtual boards."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.evaluate import AdversarialSet, Series, journal

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluate(*more: str, board: str = "nucleo-h743") -> int:
    return tinyrobust(["evaluate", "--board", board, "--virtual", "--samples", "60", *more])


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def test_a_virtual_nucleo_is_evaluated_and_its_set_replayed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("--attacks", "noise", "--eps", "8")
    assert evaluate(*chosen, "--json", "-", "--save-adversarial", "set.npz") == 0
    first = result(capsys)
    assert first["schema"] == "tinyrobust.evaluate/1"
    assert first["complete"] and first["is_virtual"]
    assert first["score_differences"] == 0
    assert first["clean"]["accuracy"] >= 0.9
    assert first["clean"]["correct"] == first["clean"]["interpreter_correct"]
    assert first["cost"]["unit"] == "instructions" and first["cost"]["mean_ms"] is None
    layers = sum(layer["cycles"] for layer in first["cost"]["layers"])
    assert 0.9 * first["cost"]["min"] <= layers <= 1.1 * first["cost"]["max"]
    assert first["memory"]["image"]["flash"]["used_bytes"] > 0
    assert AdversarialSet.load(Path("set.npz")).crafted[Series("noise", 8)].shape[0] == 60
    folder = Path("evaluation/nucleo-h743/shapes-small")
    for name in ("report.html", "report.md", "report.json", "junit.xml", journal.FILE):
        assert (folder / name).is_file()

    assert evaluate(*chosen, "--json", "again.json") == 0  # everything is recorded: no new batch
    assert "going on after 2 recorded batches" in capsys.readouterr().out.replace("\n", " ")
    again = json.loads(Path("again.json").read_text())
    assert again["attacks"] == first["attacks"]

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "art" else real(name, *a)
    )
    assert evaluate("--adversarial", "set.npz", "--out", "replay", "--json", "-") == 0
    replayed = result(capsys)
    assert replayed["attacks"][0]["replayed"]
    assert replayed["attacks"][0]["correct"] == first["attacks"][0]["correct"]
    assert evaluate("--attacks", "pgd") == 1
    assert "pip install 'tinyrobust[attacks]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("board", "unit", "resolution"), [("host", None, 0), ("mps2-an386", "instructions", 40)]
)
def test_other_virtual_boards_compute_the_same(
    board: str, unit: str | None, resolution: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--attacks", "noise", "--eps", "2", "--json", "-", board=board) == 0
    made = result(capsys)
    assert made["score_differences"] == 0
    assert made["cost"]["unit"] == unit
    assert made["cost"]["resolution"] == resolution
    if unit:
        assert 5e4 < made["cost"]["mean"] < 2e6


@pytest.mark.attacks
def test_pgd_lowers_accuracy_on_the_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--attacks", "pgd,noise", "--eps", "4", "--json", "-") == 0
    made = result(capsys)
    pgd, noise = made["attacks"]
    assert pgd["correct"] < 0.5 * noise["correct"]
    assert made["worst"][0]["correct"] <= pgd["correct"]
    assert pgd["distance_255"] == 4
    assert made["warnings"] == []


@pytest.mark.attacks
def test_attacks_that_ask_the_board_give_the_interpreters_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = ("--attacks", "square,hopskipjump", "--eps", "8", "--queries", "40", "--samples", "6")
    sets = {}
    for oracle in ("device", "interpreter", "native", "host"):
        files = ("--oracle", oracle, "--out", oracle, "--save-adversarial", f"{oracle}.npz")
        assert evaluate(*chosen, *files, "--json", "-") == 0
        made = result(capsys)
        square, jump = made["attacks"]
        assert square["oracle"]["name"] == oracle and square["oracle"]["per_s"] > 0
        assert square["oracle"]["asked"] >= square["queries"] > 0
        assert square["queries_max"] <= 40 and jump["queries_mean"] == 40
        assert (
            jump["minimum"]
            and jump["norms"]["linf"]["found"] + jump["did_not_move"] == (jump["attacked"])
        )
        assert {c["status"] for c in made["masking"]} <= {"no sign", "not measured"}
        sets[oracle] = AdversarialSet.load(Path(f"{oracle}.npz"))
    for series, images in sets["device"].crafted.items():
        for oracle in ("interpreter", "native", "host"):
            assert (images == sets[oracle].crafted[series]).all()


@pytest.mark.attacks
def test_one_search_of_a_minimum_norm_attack_serves_every_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = ("--attacks", "carlini,noise", "--norm", "l2", "--eps", "100,300.5", "--steps", "10")
    assert evaluate(*chosen, "--samples", "8", "--json", "-", board="host") == 0
    made = result(capsys)
    small, large = made["attacks"][:2]
    assert (small["key"], large["key"]) == ("carlini_l2_eps100", "carlini_l2_eps300.5")
    assert small["craft_s"] > 0 and large["craft_s"] == 0
    assert small["norms"] == large["norms"] and large["correct"] <= small["correct"]
    assert small["distance_l2"] <= 100 and large["distance_l2"] <= 300.5
    assert [w["eps_255"] for w in made["worst"]] == [100, 300.5]
    assert {w["norm"] for w in made["worst"]} == {"l2"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--virtual", "--attacks", "transfer"], 1, "needs a surrogate"),
        (["--virtual", "--attacks", "deepfool", "--targeted"], 1, "cannot be targeted"),
        (["--virtual", "--norm", "l1"], 1, "l1"),
        ([], 1, "give either --virtual or --port"),
        (["--virtual", "--port", "/dev/x"], 1, "give either --virtual or --port"),
        (["--virtual", "--adversarial", "a", "--save-adversarial", "b"], 1, "nothing new to save"),
        (["--virtual", "--eps", "2,x"], 1, "not a list of numbers"),
        (["--virtual", "--samples", "0"], 1, "--samples"),
        (["--virtual", "--attacks", "pdg"], 1, "did you mean 'pgd'"),
        (["--virtual", "--task", "cifar"], 1, "no model for task 'cifar'"),
        (["--virtual", "--model", "shapes-smal"], 1, "did you mean 'shapes-small'"),
        (["--port", "/dev/there-is-no-such-port", "--attacks", "noise"], 2, "/dev/there-is-no"),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tinyrobust(["evaluate", "--board", "nucleo-h743", *arguments]) == code
    assert message in capsys.readouterr().err


def test_an_unknown_board_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert tinyrobust(["evaluate", "--board", "nucleo-h7443", "--virtual"]) == 1
    assert "did you mean 'nucleo-h743'" in capsys.readouterr().err
