"""pyOCD, for real, against the virtual probe; OpenOCD's command line against a stand-in."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.flash.test_flash_virtual import Built
from tests.patience import PATIENCE_S
from tests.virtual.sinner import Line, digest, firmware
from tinyrobust import boards, flash, virtual
from tinyrobust.errors import BoardError, FlashError
from tinyrobust.flash._flasher import Job
from tinyrobust.virtual.debug_target import DebugTarget
from tinyrobust.virtual.probe import ProbeServer
from tinyrobust.virtual.simulation import Simulation

H743 = boards.load("nucleo-h743")


@pytest.fixture
def image() -> Built:
    small = firmware()
    hex_file = small.bin.with_suffix(".hex")
    subprocess.run(
        ["arm-none-eabi-objcopy", "-I", "binary", "-O", "ihex",
         "--change-addresses", "0x08000000", str(small.bin), str(hex_file)],
        check=True,
    )  # fmt: skip
    return Built(
        small.elf, small.bin, hex_file,
        {"board": "nucleo-h743", "image_sha256": digest(small)},
    )  # fmt: skip


# pyOCD


@pytest.mark.slow
def test_pyocd_load_of_the_elf_is_byte_identical_and_boots(tmp_path: Path) -> None:
    events: list[str] = []
    target = DebugTarget(
        H743, bytes(0x60000),
        on_run=lambda _flash: events.append("run"), on_halt=lambda: events.append("halt"),
    )  # fmt: skip
    small = firmware()
    with ProbeServer(target, 0) as probe:
        done = subprocess.run(
            [sys.executable, "-m", "pyocd", "load", "-W", "-u", probe.probe_id,
             "-t", "stm32h743xx", str(small.elf)],
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = small.bin.read_bytes()
    end = -(-len(content) // 1024) * 1024  # pyOCD programs pages of 1 KiB
    assert target.flash[: len(content)] == content
    # pyOCD 0.46's algorithm for this chip erases the sector after the last one, too.
    assert target.flash[len(content) : 0x40000] == b"\xff" * (0x40000 - len(content))
    assert target.flash[0x40000:0x60000] == bytes(0x20000)  # the one after that is untouched
    assert target.controller.programmed_words == end // 32
    assert target.controller.refused == 0
    assert events[-1] == "run"
    file = tmp_path / "flash"
    file.write_bytes(target.flash)
    with virtual.start(H743, None, flash_file=file, strict=True) as board:
        assert Line(board.port).ask(b"v", 2)[1:] == b"k"


@pytest.mark.slow
def test_flashing_through_the_probe_of_a_running_board(image: Built, tmp_path: Path) -> None:
    blank = tmp_path / "old"
    blank.write_bytes(firmware().bin.read_bytes())
    with Simulation(H743, blank, probe_port=0) as running:
        assert running.probe is not None
        line = Line(running.port)
        done: list[flash.Flashed] = []
        probe = running.probe.probe_id
        work = threading.Thread(
            target=lambda: done.append(flash.flash(image, H743, flasher="pyocd", probe=probe))
        )
        work.start()
        while work.is_alive():
            running.wait(0.2)
        assert done and done[0].flasher == "pyocd"
        running.wait(1.5)
        assert line.ask(b"v", 3)[-1:] == b"k"  # after "!" of the boot


@pytest.mark.slow
def test_pyocd_without_a_probe_server(image: Built) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(FlashError, match="refused") as caught:
        flash.flash(image, H743, flasher="pyocd", probe=f"remote:127.0.0.1:{port}")
    assert "start the remote probe" in caught.value.hint


def test_pyocd_command_line(image: Built) -> None:
    done = flash.flash(image, H743, flasher="pyocd", probe="0671FF", dry_run=True)
    assert done.command[-8:] == [
        "--no-wait", "--target", "stm32h743xx", "--uid", "0671FF", "--format", "hex",
        str(image.hex),
    ]  # fmt: skip


def test_probe_port_in_use() -> None:
    target = DebugTarget(H743)
    with ProbeServer(target, 0) as first, pytest.raises(BoardError, match=f"port {first.port}"):
        ProbeServer(target, first.port)


def test_probe_survives_nonsense() -> None:
    with ProbeServer(DebugTarget(H743), 0) as probe:
        with (
            socket.create_connection(("127.0.0.1", probe.port), timeout=PATIENCE_S) as client,
            client.makefile("rwb") as stream,
        ):

            def ask(text: bytes) -> dict[str, object]:
                stream.write(text + b"\n")
                stream.flush()
                return dict(json.loads(stream.readline()))

            for bad in (b"?", b"[]", b"{}", b'{"id":1}', b'{"id":1,"request":"fly"}',
                        b'{"id":1,"request":"read_dp","arguments":["x",2,3]}',
                        b'{"id":1,"request":"hello","arguments":[9]}'):  # fmt: skip
                assert ask(bad)["status"] == 1, bad
            assert ask(b'{"id":2,"request":"hello","arguments":[1]}') == {"id": 2, "status": 0}
            ask(b'{"id":3,"request":"write_ap","arguments":[4,134217728]}')  # TAR: 0x08000000
            assert ask(b'{"id":4,"request":"read_ap","arguments":[12]}')["result"] == 0xFFFFFFFF
            ask(b'{"id":3,"request":"write_ap","arguments":[4,2415919104]}')  # TAR: 0x90000000
            assert ask(b'{"id":5,"request":"read_ap","arguments":[12]}')["status"] == 12
        with socket.create_connection(("127.0.0.1", probe.port), timeout=PATIENCE_S) as client:
            client.sendall(b'{"id":1,"request":"open"}\n')
            assert b'"status": 0' in client.recv(100)


def test_only_h7_boards_have_a_probe() -> None:
    with pytest.raises(BoardError, match="no virtual probe"):
        DebugTarget(boards.load("mps2-an500"))


# OpenOCD: a stand-in that knows the one command line that is right.

STAND_IN = """#!{python}
import json, os, pathlib, re, sys
args = sys.argv[1:]
want = [["-f", "board/st_nucleo_h743zi.cfg"]]
if os.environ.get("SERIAL"):
    want.append(["-c", "adapter serial {{" + os.environ["SERIAL"] + "}}"])
pairs = [args[i:i + 2] for i in range(0, len(args), 2)]
if pairs[:-1] != want or pairs[-1][0] != "-c":
    sys.exit("Error: unexpected command line " + json.dumps(args))
match = re.fullmatch(r"program {{(/[^{{}}]+\\.hex)}} verify reset exit", pairs[-1][1])
if not match:
    sys.exit("Error: bad program command " + pairs[-1][1])
if not pathlib.Path(match[1]).read_text().startswith(":"):
    sys.exit("Error: not Intel HEX")
failure = os.environ.get("FAILURE")
if failure:
    print("Open On-Chip Debugger 0.12.0", file=sys.stderr)
    print(failure, file=sys.stderr)
    sys.exit(1)
print("** Verified OK **", file=sys.stderr)
"""


@pytest.fixture
def openocd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    program = tmp_path / "bin" / "openocd"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return monkeypatch


def test_openocd_command_line(image: Built, openocd: pytest.MonkeyPatch) -> None:
    done = flash.flash(image, H743, flasher="openocd")
    assert done.flasher == "openocd" and done.device_sha256 is None
    openocd.setenv("SERIAL", "066DFF52")
    flash.flash(image, H743, flasher="openocd", probe="066DFF52")
    with pytest.raises(FlashError, match="unexpected command line"):
        flash.flash(image, H743, flasher="openocd", probe="another")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Error: open failed", "plug the board in"),
        ("Error: libusb_open() failed with LIBUSB_ERROR_ACCESS", "udev"),
        ("Error: target voltage may be too low for reliable debugging", "power"),
        ("** Verify Failed **", "flash again"),
        ("embedded:startup.tcl:28: Error: Can't find board/x.cfg", "newer OpenOCD"),
        ("Error: something else", "run it by hand"),
    ],
)
def test_openocd_failures_keep_its_words(
    image: Built, openocd: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    openocd.setenv("FAILURE", said)
    with pytest.raises(FlashError) as caught:
        flash.flash(image, H743, flasher="openocd")
    assert said in caught.value.message and hint in caught.value.hint


def test_openocd_refuses_what_tcl_would_misread(image: Built) -> None:
    for probe, message in (("a}b", "cannot be given"), ("remote:h:1", "remote probes")):
        with pytest.raises(FlashError, match=message):
            flash.flash(image, H743, flasher="openocd", probe=probe, dry_run=True)


@pytest.mark.flashers
@pytest.mark.parametrize("name", boards.names())
def test_openocd_itself_parses_the_configuration(name: str, image: Built) -> None:
    board = boards.load(name)
    for row in board.flashers:
        if row.id == "openocd":
            command = flash.flashers()["openocd"].commands(Job(image, board, row, "066DFF52"))[0]
            done = subprocess.run(
                [*command[:-1], "shutdown"], capture_output=True, text=True, timeout=PATIENCE_S
            )
            assert done.returncode == 0, done.stderr
            assert "Error" not in done.stderr
