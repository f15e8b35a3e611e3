"""What goes to the terminal is the user's text as it is, and what is offered for pasting works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from tinyrobust.cli._screen import Screen
from tinyrobust.cli._text import command_line, visible

BIN = Path(sys.executable).parent
# What breaks linkers (% and ,), rich (:heart:, [red]), shells (the rest) and lines (138 columns).
HARD = "a 100%s, 'q' \"d\" $HOME `x` :heart: [red]x[/] \\n;&" + "n" * 89
NAMES = [f"cifar10-resnet8-{kind}" for kind in ("float", "robust", "ternary-int8")]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


@pytest.mark.parametrize("columns", ["0", "80"])
def test_the_next_line_of_a_build_can_be_pasted(tmp_path: Path, columns: str) -> None:
    assert len(HARD) == 138
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        subprocess.run(
            ["tinyrobust", "build", "--board", "mps2-an386", "--out", HARD], cwd=tmp_path,
            env=_environment(COLUMNS=columns), stdout=file, check=True,
        )  # fmt: skip
    text = output.read_text()
    assert f"built {HARD} in " in text and "…" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("next: ")]
    pasted = line.removeprefix("next: ")
    assert shlex.split(pasted)[-1] == HARD
    flashed = subprocess.run(
        ["sh", "-c", f"{pasted} --virtual"], cwd=tmp_path, env=_environment(COLUMNS=columns),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert flashed.returncode == 0, flashed.stderr
    assert "the device's own SHA-256 over its flash is the image's" in flashed.stdout


def test_a_host_build_links_there_too(tmp_path: Path) -> None:
    """The other linker, and the map that the memory report reads."""
    done = subprocess.run(
        ["tinyrobust", "build", "--board", "host", "--out", HARD], cwd=tmp_path,
        env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / HARD / "firmware.map").stat().st_size > 0


@pytest.mark.parametrize("columns", ["0", "1", "20", "80", "300", "x"])
def test_text_and_names_are_whole_at_any_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    screen = Screen()
    screen.print(f"wrote {HARD}", style="bold")
    screen.print(Path(HARD))
    table = Table("model", *(f"column {i}" for i in range(9)), title="t")
    for column in table.columns[2:]:
        column.no_wrap = True
    for name in NAMES:
        table.add_row(name, "several words of prose that may be wrapped at their spaces " * 3,
                      *["a value of its own"] * 7, HARD)  # fmt: skip
    screen.print(table)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[:2] == [f"wrote {HARD}", HARD]
    for name in NAMES:
        (row,) = [line for line in lines if f" {name} " in line]
        assert HARD in row and row.count("a value of its own") == 7
    assert "…" not in text and "❤" not in text


def test_names_differ_on_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    assert screen.is_terminal
    table = Table("", *NAMES)
    table.add_row("value", *(["1,234,567 instructions in all"] * len(NAMES)))
    table.add_row("second value with a long name", *(["1,234,567 instructions"] * len(NAMES)))
    screen.print(table)
    text = capsys.readouterr().out
    assert "…" not in text
    rows = [re.split("[│┃]", re.sub("\x1b\\[[0-9;]*m", "", line))[1:-1]
            for line in text.splitlines() if line[0] in "│┃"]  # fmt: skip
    columns = ["".join(row[i].strip() for row in rows) for i in range(1, len(NAMES) + 1)]
    for column, name in zip(columns, NAMES, strict=True):
        assert column.startswith(name)


def test_what_steers_a_terminal_is_shown_as_an_escape() -> None:
    assert visible("a\x1b[31mb\x07\r\x9b\udce9.tflite\n\tc") == (
        "a\\x1b[31mb\\x07\\x0d\\x9b\\xe9.tflite\n\tc"
    )
    assert visible("ü ❤ %") == "ü ❤ %"
    assert shlex.split(command_line("tinyrobust", Path(HARD), "--set", "a=b c")) == [
        "tinyrobust", HARD, "--set", "a=b c",
    ]  # fmt: skip


def test_an_error_about_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and an escape, in a name: one line, and no traceback."""
    name = b"\xff\x1b[31m:heart:.tflite"
    done = subprocess.run(
        [b"tinyrobust", b"inspect", name], cwd=tmp_path, env=_environment(), capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr and b"Traceback" not in done.stderr
    assert b"\\xff\\x1b[31m:heart:.tflite" in done.stderr
