"""Virtual boards that are QEMU machines, and the one that is a process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.virtual.sinner import Line, firmware
from tinyrobust import boards, virtual
from tinyrobust.errors import BuildError, DeviceFault

AN500 = boards.load("mps2-an500")
HOST = boards.load("host")

# Letter -> kind of fault that QEMU itself finds. (It lets unmapped access and writes to the
# memory that stands for flash pass: the nucleo-h743 board is the one that enforces.)
SINS = {
    "E": "breakpoint",
    "F": "undefined",
    "G": "supervisor_call",
    "K": "no_fpu",
    "L": "misaligned",
    "O": "division",
    "S": "protection",
}


def _ticks(pid: int) -> float:
    """CPU seconds of a process and its children."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(entry.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


@pytest.mark.slow
def test_qemu_answers_counts_and_rests() -> None:
    with virtual.start(AN500, firmware("mps2")) as board:
        assert board.helper == "qemu"
        line = Line(board.port)
        text = bytes(range(200))
        assert line.ask(b"e\xc8" + text, 200) == bytes(b + 1 for b in text)
        runs = [line.ask32(b"w\xc8", 2) for _ in range(3)]
        assert len({value for _, value in runs}) == 1
        ticks = [ticks for ticks, _ in runs]
        assert max(ticks) - min(ticks) <= 1 and min(ticks) > 100  # 40 instructions a tick
        time.sleep(2.5)
        used, end = 1.5, time.monotonic() + PATIENCE_S
        while used >= 0.75 and time.monotonic() < end:  # on a busy machine it settles later
            before = _ticks(board.pid)
            time.sleep(1.5)
            used = _ticks(board.pid) - before
        assert used < 0.75
        assert line.ask(b"n", 1) == b"k"  # wakes at once


@pytest.mark.parametrize("letter", SINS)
def test_qemu_faults_are_reported(letter: str) -> None:
    with virtual.start(AN500, firmware("mps2")) as board:
        line = Line(board.port)
        line.serial.write(letter.encode())
        with pytest.raises(DeviceFault) as caught:
            board.raise_if_faulted(PATIENCE_S)
        report = board.fault()
        assert report is not None and report.kind == SINS[letter], report
        assert report.function.split("+")[0] == "sin", report
        assert "pc" in report.registers and report.text in str(caught.value)
        if letter == "S":
            assert report.address == 0x20000010


def test_qemu_ends_with_its_board() -> None:
    with virtual.start(AN500, firmware("mps2")) as board:
        Line(board.port)
        children = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _parent(entry) == board.pid
        ]
        assert len(children) == 1
    end = time.monotonic() + PATIENCE_S
    while _parent(Path(f"/proc/{children[0]}")) is not None and time.monotonic() < end:
        time.sleep(0.02)
    assert _parent(Path(f"/proc/{children[0]}")) is None


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_missing_qemu_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image = firmware("mps2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="qemu-system-arm") as caught:
        virtual.start(AN500, image)
    assert caught.value.hint == "apt-get install qemu-system-arm"


def test_a_process_answers_and_its_end_is_reported() -> None:
    with virtual.start(HOST, firmware("process")) as board:
        assert board.helper == "process"
        line = Line(board.port)
        assert line.ask(bytes(range(64)), 64) == bytes(range(1, 65))
        line.serial.close()
        line = Line(board.port)  # a second program may open the port
        line.serial.write(b"F")
        with pytest.raises(DeviceFault, match="SIGABRT"):
            board.raise_if_faulted(PATIENCE_S)
    with virtual.start(HOST, firmware("process")) as board:
        Line(board.port).serial.write(b"X")
        with pytest.raises(DeviceFault, match="ended with status 3: no more wishes"):
            board.raise_if_faulted(PATIENCE_S)


def test_a_process_that_cannot_run(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    with pytest.raises(BuildError, match="cannot run"):
        virtual.start(HOST, None, flash_file=program)
