"""The README's commands and code are executed; what needs a board, an hour or a network is parsed.

Long-running commands get smaller numbers here (``SMALLER``); nothing else is changed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tinyrobust.cli.main import cli
from tinyrobust.graph.model import load_model, zoo

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
# Only parsed: a real board, or a command that runs until it is stopped (test_virtual does that).
# So are the suites and real recordings, which need data and hours.
ONLY_PARSED = re.compile(
    r"/dev/tty|^tinyrobust (simulate|flash (?!.*--virtual)|monitor .*--fault)|--task cifar10"
    r"|--suite|--difference"
)
SMALLER = [
    (r"--samples \d+", "--samples 4"),
    (r"--faults \d+", "--faults 1"),
    (r"--trials \d+", "--trials 1 --epochs 1 --set training.train_images=256"),
    (r"^(tinyrobust monitor .*)", r"\1 --seconds 2"),
    (r"training\.epochs=\d+", "training.epochs=1 --set training.train_images=1000"),
    (r"^(tinyrobust convert .*)", r"\1 --samples 100 --oracle 1"),
]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def _lines() -> list[str]:
    lines = [line.split(" #")[0].strip() for block in _blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


COMMANDS = [line for line in _lines() if line.startswith("tinyrobust ")]
_TRAINS = re.compile(r"^tinyrobust (train|convert|search)|mine")
TRAINING = [line for line in COMMANDS if _TRAINS.search(line)]
RUN = [line for line in COMMANDS if line not in TRAINING and not ONLY_PARSED.search(line)]


def _execute(lines: list[str], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        for pattern, smaller in SMALLER:
            line = re.sub(pattern, smaller, line)
        done = subprocess.run(
            shlex.split(line), cwd=folder, env={**os.environ, "PATH": path},
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_the_first_screen_has_the_two_commands_and_a_picture() -> None:
    screen = "\n".join(TEXT.splitlines()[:24])
    assert "make demo" in screen and "make test" in screen
    picture = re.search(r"!\[.+\]\((.+?)\)", screen)
    assert picture is not None
    data = (ROOT / picture[1]).read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) < 300_000


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_parses(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    context = click.Context(cli, info_name="tinyrobust")
    command = cli.get_command(context, name)
    assert command is not None
    command.make_context(name, arguments, parent=context)


def test_every_command_is_in_the_readme() -> None:
    named = {line.split()[1] for line in COMMANDS} | {"completion"}
    assert named == set(cli.list_commands(click.Context(cli)))


def test_make_targets_and_other_lines_are_real() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in set(_lines()) - set(COMMANDS):
        target = re.fullmatch(r"make (\w+)", line)
        assert target is not None, f"neither tinyrobust nor make: {line}"
        assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE)


def test_links_lead_somewhere() -> None:
    for text in (TEXT, (ROOT / "CONTRIBUTING.md").read_text()):
        for target in re.findall(r"\]\(([^)#]+?)\)", text):
            assert target.startswith("https://") or (ROOT / target).exists(), target


def test_extras_are_those_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"\.\[(\w+)\]", TEXT):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


@pytest.mark.parametrize("model", zoo())
def test_its_figures_are_the_cards_and_never_better_than_the_ratchets(model: str) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{model}`"))
    accuracy, instructions, flash, ram = (float(c.split()[0]) for c in row.split("|")[3:7])
    card = load_model(model).card()
    assert accuracy == pytest.approx(100 * card["accuracy"]["integer"], abs=0.051)
    assert f"of {card['accuracy']['samples']:,}" in row
    held = json.loads((ROOT / "benchmarks" / "ratchet.json").read_text())
    best = held["entries"][model]["nucleo-h743"]
    for claimed, unit, key in (
        (instructions, 1e6, "instructions"),
        (flash, 1024, "flash_bytes"),
        (ram, 1024, "ram_bytes"),
    ):
        step = 10.0 ** -len(f"{claimed}".partition(".")[2]) / 2
        assert (claimed + step) * unit >= best[key], f"{key} is {best[key]:,}"


@pytest.mark.slow
def test_the_readmes_commands_run(tmp_path: Path) -> None:
    assert len(RUN) >= 10
    _execute(RUN, tmp_path)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.search
def test_the_readmes_training_runs(tmp_path: Path) -> None:
    assert len(TRAINING) >= 3
    _execute(TRAINING, tmp_path)


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path: Path) -> None:
    (code,) = _blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "bytes of flash" in done.stdout
