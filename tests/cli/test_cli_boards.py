"""``tinyrobust boards``: the table, one board, and ``--check`` for board files of one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tinyrobust import boards, resources
from tinyrobust.cli import main as frame
from tinyrobust.errors import EXIT_OK, EXIT_USER

NAMES = boards.names()
H743 = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()


def mine(folder: Path, *changes: tuple[str, str]) -> Path:
    text = H743.replace("id: nucleo-h743", "id: mine")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_table_names_every_board_and_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["boards"]) == EXIT_OK
    said = capsys.readouterr().out
    for name in NAMES:
        board = boards.load(name)
        assert name in said and board.core in said
        assert f"{board.clock_hz / 1e6:g} MHz" in said


def test_the_table_says_what_was_never_run_on_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["boards"]) == EXIT_OK
    said = " ".join(capsys.readouterr().out.split())
    rows = re.findall(r"Never run on hardware: ([^.]*)\.", said)
    told = {name for row in rows for name in NAMES if name in row}
    real = {n for n in NAMES if any(f.id != "virtual" for f in boards.load(n).flashers)}
    assert told == {n for n in real if not boards.load(n).hardware.firmware}


@pytest.mark.parametrize("name", NAMES)
def test_one_board_tells_its_memories_and_notes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert frame.run(["boards", name]) == EXIT_OK
    said = " ".join(capsys.readouterr().out.split())
    board = boards.load(name)
    assert all(f"{m.origin:#010x}" in said for m in board.memories)
    assert all(note.split()[0] in said for note in board.notes)


@pytest.mark.parametrize("name", NAMES)
def test_every_board_of_ours_passes_the_check(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = resources.root() / "boards" / f"{name}.yaml"
    assert frame.run(["boards", "--check", str(file)]) == EXIT_OK
    assert f"{name} is a sound board file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "needle", "message"),
    [
        ("port: stm32h7", "port: stm32h8", "port:", "no port 'stm32h8' (did you mean 'stm32h7'"),
        ("id: pyocd", "id: pyocdx", "id: pyocdx", "no flasher 'pyocdx' (did you mean 'pyocd'"),
        ("ram_bytes: 0xA0000", "ram_bytes: 0xC0001", "ram_bytes", "have 720,896"),
        ("stack_bytes: 8192", "stack_bytes: 0x20000", "stack_bytes", "does not fit DTCM"),
        ("clock_hz: 480000000", "clock_herz: 480000000", "clock_herz", "did you mean 'clock_hz'"),
        ("length: 0x20000,", "length: -1,", "length: -1", "memories.1.length: "),
        ("\n      base: 0x40004800", "\n      base: 0x58000400", "peripherals:", "overlap"),
        ("model: rom", "model: romm", "model: romm", "unicorn.peripherals."),
    ],
)
def test_each_fault_is_one_line_with_file_line_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    old: str, new: str, needle: str, message: str,
) -> None:  # fmt: skip
    path = mine(tmp_path, (old, new))
    assert frame.run(["boards", "--check", str(path)]) == EXIT_USER
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if message in line]
    assert len(lines) == 1, said.out
    row = re.match(rf"{re.escape(str(path))}:(\d+): ", lines[0])
    assert row and needle in path.read_text().splitlines()[int(row.group(1)) - 1]
    assert "Traceback" not in said.err


def test_all_faults_of_a_file_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mine(tmp_path, ("length: 0x20000,", "length: -1,"), ("fpu: fpv5-d16", "fpu: none"),
                ("stack_bytes: 8192", "stack_bytes: 8190"))  # fmt: skip
    assert frame.run(["boards", "--check", str(path), "--json", str(tmp_path / "r.json")]) == 1
    said = capsys.readouterr()
    assert len(re.findall(rf"^{re.escape(str(path))}:\d+: ", said.out, re.M)) == 3
    assert "3 things wrong" in said.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["schema"] == "tinyrobust.boards.check/1"
    fields = {p["field"] for p in report["files"][0]["problems"]}
    assert fields == {"memories.1.length", "fpu", "budget.stack_bytes"}


def test_a_missing_file_and_two_ways_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert frame.run(["boards", "--check", str(tmp_path / "none.yaml")]) == EXIT_USER
    assert "no such file" in capsys.readouterr().err
    assert frame.run(["boards", "host", "--check", "x.yaml"]) == EXIT_USER


COMMANDS = [
    ["boards"],
    ["build", "--board"],
    ["budget", "--board"],
    ["plan", "--board"],
    ["inspect", "shapes-small", "--board"],
    ["flash", "--dry-run", "--virtual", "--board"],
]


def test_a_board_file_of_ones_own_works_wherever_a_board_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("mine.yaml", str(tmp_path / "mine.yaml"), "./mine.yaml"):
        assert frame.run(["boards", name]) == EXIT_OK
    for command in COMMANDS:
        assert frame.run([*command, "mine.yaml"]) == EXIT_OK, command
        assert not capsys.readouterr().err.startswith("error")
    assert (tmp_path / "build" / "mine").is_dir()
