"""``tinyrobust plan``: the frontier, the plan with its reasons, JSON, the plot; limits on build."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tinyrobust import boards, memory
from tinyrobust.cli.main import run
from tinyrobust.graph.model import load_model

BOARD = "nucleo-h743"


def test_plan_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "plan.json", tmp_path / "frontier.svg"
    assert run(["plan", "--board", BOARD, "--json", str(out), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["schema"] == "tinyrobust.plan/1"
    graph, board = load_model("shapes-small").graph, boards.load(BOARD)
    assert written["plan"] == json.loads(json.dumps(memory.plan(graph, board).as_json()))
    flash = [point["flash_bytes"] for point in written["frontier"]]
    assert flash == sorted(flash) and len(flash) >= 2
    assert all(f"{n:,} B" in printed for n in flash)
    explained = {choice["layer"]: choice["choice"] for choice in written["plan"]["choices"]}
    joined = " ".join(printed.split())
    assert all(f"{layer}: {choice}, " in joined for layer, choice in explained.items())
    assert {a["layer"] for a in written["alternatives"]} <= set(explained)
    assert "next best" in joined
    assert ElementTree.fromstring(plot.read_text()).tag.endswith("svg")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-flash", "12K"], "B of flash"),
        (["--max-ram", "9K"], "B of RAM"),
        (["--max-ram", "none"], "is not a size"),
        (["--max-flash", "-1"], "is not a size"),
        (["--optimize", "cost"], "'cost' is not one of"),
        (["--kernel", "conv1=conv2d_t2_u8:fast=1"], "no 'conv2d_t2_u8:fast=1' for layer 'conv1'"),
    ],
)
def test_limits_that_cannot_be_held_are_user_errors(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "--board", BOARD, *options]) == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_json_on_standard_output_has_nothing_of_the_solvers_with_it() -> None:
    """The solver is a C++ library, whose output pytest's capsys does not see."""
    command = [sys.executable, "-m", "tinyrobust", "plan", "--board", "host", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema"] == "tinyrobust.plan/1"
