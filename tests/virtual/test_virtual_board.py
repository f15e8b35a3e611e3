"""Virtual boards: what they run, what they count, what they forbid, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import serial

from tests.patience import PATIENCE_S
from tests.virtual.sinner import Line, firmware
from tinyrobust import boards, virtual
from tinyrobust.errors import BoardError, DeviceFault, LinkError
from tinyrobust.virtual.terminal import Terminal

H743 = boards.load("nucleo-h743")

# letter -> (kind of fault, found only in strict mode)
SINS = {
    "A": ("unmapped", False),
    "B": ("flash_write", False),
    "C": ("stack_guard", False),
    "D": ("stack_guard", False),
    "E": ("breakpoint", False),
    "F": ("undefined", False),
    "G": ("supervisor_call", False),
    "H": ("unmapped", False),
    "I": ("unmapped", False),
    "J": ("unmapped", False),
    "K": ("no_fpu", True),
    "L": ("misaligned", True),
    "M": ("misaligned", True),
    "N": ("misaligned", True),
    "O": ("division", True),
    "P": ("division", True),
    "Q": ("execution", True),
    "R": ("register", True),
    "S": ("protection", False),
    "T": ("execution", False),
    "U": ("misaligned", True),
}


@pytest.fixture
def line() -> Iterator[Line]:
    """A running board in strict mode, with a serial program on it."""
    with virtual.start(H743, firmware(), strict=True) as board:
        assert board.helper == "native"
        yield Line(board.port)


def test_echo(line: Line) -> None:
    text = bytes(range(200))
    assert line.ask(b"e\xc8" + text, 200) == bytes(b + 1 for b in text)


def test_a_clean_firmware_passes_in_strict_mode(line: Line) -> None:
    assert line.ask(b"v", 2)[1:] == b"k"
    assert line.ask(b"v", 2)[1:] == b"k"


def test_identity(line: Line) -> None:
    answer = line.ask(b"i", 16)
    assert answer == (0x20036450).to_bytes(4, "little") + b"VIRTUALBOARD"


def test_counts_are_exact_and_the_same_everywhere() -> None:
    counts = set()
    for strict in (False, True):
        with virtual.start(H743, firmware(), strict=strict) as board:
            line = Line(board.port)
            one, value = line.ask32(b"w\x01", 2)
            two, _ = line.ask32(b"w\x02", 2)
            line.ask(b"v", 2)  # opens the stack guard's page, which must not count twice
            again, _ = line.ask32(b"w\x01", 2)
            assert one == again
            counts.add((one, two, value))
    assert len(counts) == 1
    one, two, _ = counts.pop()
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", "--disassemble=work",
         str(firmware().elf)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    body = [row for row in listing.splitlines() if row.startswith(" ") and ":\t" in row]
    branch = next(i for i, row in enumerate(body) if "bne" in row or "bcc" in row)
    target = int(body[branch].split("<")[0].split()[-1], 16)
    start = next(i for i, row in enumerate(body) if int(row.split(":")[0], 16) == target)
    assert two - one == 1000 * (branch - start + 1)  # the loop's instructions, 1000 more times


def test_code_in_ram_is_counted_by_content() -> None:
    with virtual.start(H743, firmware()) as board:
        line = Line(board.port)
        narrow, wide, again = line.ask32(b"Q", 3)
        assert (wide, again) == (narrow - 1, narrow)


@pytest.mark.parametrize("letter", SINS)
def test_sins_are_caught(letter: str) -> None:
    kind, _ = SINS[letter]
    with virtual.start(H743, firmware(), strict=True) as board:
        line = Line(board.port)
        line.serial.write(letter.encode())
        with pytest.raises(DeviceFault) as caught:
            board.raise_if_faulted(PATIENCE_S)
        report = board.fault()
        assert report is not None
        assert report.kind == kind, report
        assert not board.is_alive()
        expected = {"C": "deep", "Q": "?", "T": "?", "H": "?"}.get(letter, "sin")
        assert report.function.split("+")[0] == expected, report
        assert report.registers["pc"] == report.pc
        assert f"{report.pc:08x}" in str(caught.value)
        with pytest.raises(serial.SerialException):  # the port hangs up at once
            line.read(1)


def test_the_guard_holds_while_its_page_is_open() -> None:
    with virtual.start(H743, firmware()) as board:
        line = Line(board.port)
        assert line.ask(b"v", 2)[1:] == b"k"  # reads just above the guard
        line.serial.write(b"D")
        with pytest.raises(DeviceFault, match=r"stack guard.*write of 4 bytes at 0x20000004"):
            board.raise_if_faulted(PATIENCE_S)


def test_the_guard_is_armed_again() -> None:
    with virtual.start(H743, firmware()) as board:
        line = Line(board.port)
        one, _ = line.ask32(b"w\x01", 2)
        for _ in range(3):
            line.ask(b"v", 2)
            for rounds in (255, 255, 1):  # more instructions than an open page lasts
                count, _ = line.ask32(bytes((ord("w"), rounds)), 2)
            assert count == one
        line.serial.write(b"C")
        with pytest.raises(DeviceFault, match=r"stack guard.*in deep"):
            board.raise_if_faulted(PATIENCE_S)


def test_strict_sins_pass_otherwise() -> None:
    with virtual.start(H743, firmware()) as board:
        line = Line(board.port)
        for letter, (_, only_strict) in SINS.items():
            if only_strict and letter != "Q":  # Q answers with numbers, see above
                assert line.ask(letter.encode(), 1) == b"k", letter


def test_reset_restarts_and_ram_stays(line: Line) -> None:
    first = line.ask32(b"m", 1)[0]
    assert first not in (0, 0x12345678)  # noise, not zeros
    assert line.ask(b"r", 1) == b"!"
    assert line.ask32(b"m", 1)[0] == 0x12345678


def test_another_silicon_revision() -> None:
    with virtual.start(H743, firmware(), overrides={0x5C001000: 0x10036450}) as board:
        line = Line(board.port)
        assert line.ask32(b"i", 1)[0] == 0x10036450
    with pytest.raises(BoardError, match="no register"):
        virtual.start(H743, firmware(), overrides={0x5C001234: 1})


def test_fault_replaces_the_silent_port() -> None:
    with (
        pytest.raises(DeviceFault, match="write to flash"),
        virtual.start(H743, firmware()) as board,
    ):
        line = Line(board.port)
        line.serial.write(b"B")
        try:
            line.read(1)
        except serial.SerialException as error:
            raise LinkError("the device is silent") from error


def test_boots_from_a_flash_file(tmp_path: Path) -> None:
    file = tmp_path / "flash"
    file.write_bytes(firmware().bin.read_bytes() + b"\xff" * 1000)
    with virtual.start(H743, None, flash_file=file) as board:
        assert Line(board.port).ask(b"v", 2)[1:] == b"k"
    file.write_bytes(b"\xff" * 4096)
    with virtual.start(H743, None, flash_file=file) as board, pytest.raises(DeviceFault) as caught:
        board.raise_if_faulted(PATIENCE_S)
    assert "no image" in str(caught.value)


def test_a_terminal_outlives_its_board() -> None:
    terminal = Terminal.open()
    try:
        line = Line(terminal.port, greet=False)
        for _ in range(2):
            with virtual.start(H743, firmware(), terminal=terminal):
                assert line.read(1) == b"!"
    finally:
        terminal.close()


def test_bad_starts(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="nothing to run"):
        virtual.start(H743, None)
    with pytest.raises(BoardError, match="no such file"):
        virtual.start(H743, None, flash_file=tmp_path / "none")
    with pytest.raises(BoardError, match="no virtual board"):
        virtual.start(H743.model_copy(update={"virtual": None}), firmware())


def test_stop_is_clean_and_repeatable() -> None:
    board = virtual.start(H743, firmware())
    pid = board.pid
    board.stop()
    board.stop()
    assert not board.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _gone(pid: int) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_board_ends_with_its_parent() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.virtual.sinner import firmware\n"
        "from tinyrobust import boards, virtual\n"
        "board = virtual.start(boards.load('nucleo-h743'), firmware())\n"
        "print(board.pid, flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parents[2])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert _gone(pid)


def test_an_idle_board_sleeps() -> None:
    with virtual.start(H743, firmware()) as board:
        Line(board.port)
        time.sleep(0.3)

        def ticks() -> int:
            fields = Path(f"/proc/{board.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        used, end = 1.0, time.monotonic() + PATIENCE_S
        while used >= 0.2 and time.monotonic() < end:  # on a busy machine it settles later
            before = ticks()
            time.sleep(1.0)
            used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
        assert used < 0.2


def test_the_report_survives_json() -> None:
    report = virtual.FaultReport("x", "y", 4, "f", None, "", 0, {"pc": 4})
    assert virtual.FaultReport.from_dict(report.as_dict()) == report
    assert replace(report, detail="z").summary() == "y (z) at 0x00000004 in f"
