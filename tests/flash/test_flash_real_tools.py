"""Real tools where no stand-in is needed: their own parsers take our command lines, and what they
say without a board gets a hint. The 1200-baud touch on a real terminal, output of tools, GDB."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.flash.test_flashers import LOADER, ROWS, Built, Port, board_with, image  # noqa: F401
from tests.patience import PATIENCE_S
from tinyrobust import boards, flash
from tinyrobust.errors import FlashError, LinkError
from tinyrobust.flash import ports


@pytest.mark.flashers
@pytest.mark.parametrize(
    ("row", "said", "hint"),
    [
        (ROWS["dfu-util"], "No DFU capable USB device available", "boot loader"),
        (ROWS["st-flash"], "Couldn't find any ST-Link devices", "plug the board in"),
        (ROWS["openocd"], "open failed", "plug the board in"),
        ({"id": "bossac", "usb": LOADER, "offset": 0x2000}, "No device found on", "twice"),
    ],
    ids=lambda value: value["id"] if isinstance(value, dict) else "",
)
def test_real_tools_take_our_arguments(
    image: Built, monkeypatch: Any, row: dict[str, Any], said: str, hint: str  # noqa: F811
) -> None:  # fmt: skip
    device, user = pty.openpty()  # for bossac: a port where nobody answers
    try:
        port = Port(os.ttyname(user), **LOADER)
        monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port])
        board = board_with(row)
        probe = "066DFF525750877267092042" if row["id"] != "bossac" else None
        if row["id"] == "st-flash":
            probe = None
        with pytest.raises(FlashError) as caught:
            flash.flash(image, board, probe=probe)
        assert said in caught.value.message and hint in caught.value.hint, str(caught.value)
    finally:
        os.close(device)
        os.close(user)


def test_touch_is_1200_baud_and_a_hang_up() -> None:
    device, user = pty.openpty()
    try:
        ports.touch(os.ttyname(user))
        speeds = termios.tcgetattr(user)[4:6]
        assert speeds == [termios.B1200, termios.B1200]
    finally:
        os.close(device)
        os.close(user)
    with pytest.raises(FlashError, match="is gone"):
        ports.touch("/dev/no-such-port")


# GDB


def test_gdb_needs_an_address(image: Built) -> None:  # noqa: F811
    board = board_with({"id": "gdb"}, flashers=[{"id": "gdb"}, {"id": "virtual"}])
    assert flash.find_flasher(board, None, virtual=False)[1].id == "virtual"
    if not flash.flashers()["gdb"].missing():
        assert flash.find_flasher(board, None, virtual=False, probe="h:1")[1].id == "gdb"
    for probe, message in ((None, "needs the address"), ("localhost", "no HOST:PORT"),
                           ("h:1\nshell reboot", "no HOST:PORT")):  # fmt: skip
        with pytest.raises(FlashError, match=message):
            flash.flashers()["gdb"].commands(_job(image, board, probe))


def _job(image: Built, board: Any, probe: str | None) -> Any:  # noqa: F811
    from tinyrobust.flash._flasher import Job

    return Job(image, board, board.flashers[0], probe)


@pytest.mark.flashers
def test_gdb_without_a_stub(image: Built, monkeypatch: Any) -> None:  # noqa: F811
    import socket

    monkeypatch.setattr("tinyrobust.flash.gdb._CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FlashError) as caught:
        flash.flash(image, board_with({"id": "gdb"}), flasher="gdb", probe=f"127.0.0.1:{port}")
    assert "timed out" in caught.value.message and "simulate --gdb-port" in caught.value.hint


def test_only_qemu_has_a_stub() -> None:
    from tinyrobust.errors import BoardError
    from tinyrobust.virtual.simulation import Simulation

    with pytest.raises(BoardError, match="no GDB stub"):
        Simulation(boards.load("nucleo-h743"), None, gdb_port=0)


def test_stub_port_in_use() -> None:
    import socket

    from tinyrobust.errors import BoardError
    from tinyrobust.virtual.simulation import Simulation

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BoardError, match=f"cannot listen on port {port}"):
            Simulation(boards.load("mps2-an500"), None, gdb_port=port)


def test_output_of_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars, colours, slow tools, silent tools."""
    from tinyrobust.flash._tool import run_tool

    monkeypatch.chdir(tmp_path)
    heard: list[tuple[str, float | None]] = []

    def half(words: str) -> float | None:
        if "#" not in words:
            return None
        Path(f"heard{words.count('#')}").touch()  # the tool goes on when it was read
        return words.count("#") / 4

    script = (
        r"printf 'one\r\033[32mtwo\033[0m\n#'; until [ -e heard1 ]; do sleep 0.05; done; "
        r"printf '##'; until [ -e heard3 ]; do sleep 0.05; done; printf '#\nend'"
    )
    said = run_tool("sh", ["sh", "-c", script], (), fraction=half,
                    progress=lambda *what: heard.append(what))  # fmt: skip
    assert heard == [("one", None), ("two", None), ("", 0.25), ("", 0.75), ("", 1.0), ("end", None)]
    assert "\x1b" not in said
    with pytest.raises(FlashError, match=r"did not finish within 2 s: thinking") as caught:
        run_tool("sh", ["sh", "-c", "echo thinking; sleep 60"], [("think", "wait")], timeout_s=2.0)
    assert caught.value.hint == "wait"
    with pytest.raises(FlashError, match=r"status 3\): it said nothing"):
        run_tool("sh", ["sh", "-c", "exit 3"], ())
    with pytest.raises(FlashError, match="cannot run /no/such"):
        run_tool("x", ["/no/such"], ())
    with pytest.raises(FlashError, match="it is LOST"):
        run_tool("sh", ["sh", "-c", "echo it is LOST"], (), failed=("lost",))
    assert run_tool("sh", ["sh", "-c", "echo saved; exit 9"], (), done=("Saved",)) == "saved\n"


def test_a_tool_that_runs_can_be_stopped() -> None:
    import threading

    from tinyrobust.flash._tool import run_tool, stop_tools

    errors: list[FlashError] = []

    def work() -> None:
        try:
            run_tool("sleep", ["sleep", "60"], ())
        except FlashError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not errors and thread.is_alive():
        stop_tools()
        thread.join(0.1)
    assert "status -15" in errors[0].message


@pytest.mark.parametrize("words", [["sleep", "60"], ["sh", "-c", "trap '' INT; sleep 60"]])
def test_ctrl_c_ends_the_tool(words: list[str]) -> None:
    """Also one that does not want to end."""
    script = (
        "import sys; from tinyrobust.flash import _tool\n_tool._GRACE_S = 0.5\n"
        "try:\n    _tool.run_tool('x', sys.argv[1:], (), progress=print)\n"
        "except KeyboardInterrupt:\n    print('ended', len(_tool._running))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "sh", "-c", f"echo pid $$; exec {shlex.join(words)}"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    pid = int(process.stdout.readline().split()[1])
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.read().strip() == "ended 0" and process.wait(PATIENCE_S) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_progress_on_a_terminal_and_elsewhere() -> None:
    import io

    from rich.console import Console

    from tinyrobust.cli._tool_progress import ToolProgress

    def show(terminal: bool) -> str:
        out = io.StringIO()
        screen = Console(file=out, force_terminal=terminal, width=100, markup=False)
        with ToolProgress(screen) as progress:
            tell = progress.of("nucleo")
            tell("Erasing [bank 1]", None)
            for part in (0.0, 0.1, 0.3, 0.55, 0.99, 1.0, 0.0, 1.0):
                tell("", part)
        return out.getvalue()

    assert show(False).splitlines() == ["nucleo: Erasing [bank 1]"] + [
        f"nucleo: {n}%" for n in (0, 25, 50, 75, 100, 0, 100)
    ]
    assert "Erasing [bank 1]" in show(True) and "100%" in show(True)


def test_the_port_of_one_of_several_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Port(f"/dev/ttyACM{n}", 0x0483, 0x374B, f"SN{n}") for n in range(3)]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)
    h743 = boards.load("nucleo-h743")
    assert ports.find_port(h743, "sn1") == "/dev/ttyACM1"
    for probe in (None, "other", ""):
        with pytest.raises(LinkError, match="3 serial ports could be"):
            ports.find_port(h743, probe)
    free = board_with({"id": "virtual"}, serial={"device": "UART0 on pins 0 and 1", "usb_ids": []})
    with pytest.raises(LinkError, match="UART0 on pins 0 and 1") as caught:
        ports.find_port(free)
    assert "USB-to-serial adapter" in caught.value.hint
