"""What goes wrong around virtual boards: signals, busy ports, full disks, clients that vanish."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.virtual.sinner import Line, SmallImage, digest, firmware
from tinyrobust import boards, flash, virtual
from tinyrobust.errors import BoardError, BuildError, FlashError
from tinyrobust.virtual import native
from tinyrobust.virtual.terminal import PortLink

ROOT = Path(__file__).resolve().parents[2]

H743 = boards.load("nucleo-h743")


@pytest.fixture
def flashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual board whose flash file holds the small firmware."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = flash.flash_file(H743)
    file.parent.mkdir(parents=True)
    file.write_bytes(firmware().bin.read_bytes())
    (file.parent / "firmware.elf").write_bytes(firmware().elf.read_bytes())
    return file


class Simulate:
    """``tinyrobust simulate`` in a process."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tinyrobust", "simulate", "--board", "nucleo-h743", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = ""
        while "Ctrl-C" not in self.said:
            line = self.process.stdout.readline()
            if not line:
                break
            self.said += line

    @property
    def port(self) -> str:
        found = re.search(r"port: (\S+)", self.said)
        assert found, self.said
        return found.group(1)

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Exit status and what it said on standard error."""
        if number is not None:
            self.process.send_signal(number)
        _, error = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, error


@pytest.fixture
def simulate(flashed: Path) -> Iterator[list[Simulate]]:
    started: list[Simulate] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_ends_cleanly(
    number: signal.Signals, simulate: list[Simulate], tmp_path: Path
) -> None:
    link = tmp_path / "port"
    told = tmp_path / "told.json"
    running = Simulate("--link", str(link), "--json", str(told), "--probe-port", "0")
    simulate.append(running)
    result = json.loads(told.read_text())
    assert result["schema"] == "tinyrobust.simulate/1" and result["port"] == running.port
    assert result["probe"] in running.said and result["pid"] == running.process.pid
    assert str(link.readlink()) == running.port
    Line(str(link))
    opened = os.open(running.port, os.O_RDWR | os.O_NOCTTY)
    status, error = running.end(number)
    assert status == 130 and "Traceback" not in error
    assert not link.is_symlink()
    # The name may be another terminal's by now; what was opened before tells.
    with pytest.raises(OSError):
        os.write(opened, b"x")
    os.close(opened)


def test_a_fault_is_exit_2_with_a_report(simulate: list[Simulate]) -> None:
    running = Simulate("--strict")
    simulate.append(running)
    line = Line(running.port)
    line.serial.write(b"O")
    status, error = running.end()
    assert status == 2
    assert error.startswith("error: the virtual board faulted: integer division by zero at 0x08")
    assert "in sin" in error and "sp 2000" in error and "Traceback" not in error


def test_a_busy_probe_port_is_one_line(simulate: list[Simulate]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = Simulate("--probe-port", str(port))
        simulate.append(running)
        status, error = running.end()
    assert status == 1 and f"port {port}" in error and "--probe-port" in error
    assert "Traceback" not in error


def test_links_replace_only_links(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("keep me")
    with pytest.raises(BoardError, match="is no link"):
        PortLink(file, "/dev/pts/1").__enter__()
    assert file.read_text() == "keep me"
    link = tmp_path / "a" / "link"
    with PortLink(link, "/dev/pts/1"):
        with PortLink(link, "/dev/pts/2"):
            assert str(link.readlink()) == "/dev/pts/2"
        assert not link.is_symlink()
    with pytest.raises(BoardError, match="cannot make the link"):
        PortLink(file / "x", "/dev/pts/1").__enter__()


def test_a_killed_board_is_noticed() -> None:
    with virtual.start(H743, firmware()) as board:
        os.kill(board.pid, signal.SIGKILL)
        end = time.monotonic() + PATIENCE_S
        while board.is_alive() and time.monotonic() < end:
            time.sleep(0.02)
        assert not board.is_alive() and board.fault() is None


@pytest.mark.slow
def test_a_client_that_vanishes_leaves_the_board_usable() -> None:
    with virtual.start(H743, firmware()) as board:
        first = Line(board.port)
        first.serial.write(b"e\xff" + bytes(100))  # half a request
        first.serial.close()
        second = Line(board.port, greet=False)
        second.serial.write(bytes(155))
        second.read(155)
        second.serial.timeout = 0.5
        second.serial.read(100)  # what is left of the first one's, if the board heard it
        second.serial.timeout = PATIENCE_S
        assert second.ask(b"v", 2)[1:] == b"k"


@pytest.mark.slow
def test_nobody_reads() -> None:
    with virtual.start(H743, firmware()) as board:
        line = Line(board.port)
        for _ in range(80):  # more than a terminal holds, and never a read
            line.serial.write(b"e\xff" + bytes(255))
        time.sleep(7)
        line.serial.reset_input_buffer()
        line.serial.timeout = 1
        while line.serial.read(65536):
            pass
        line.serial.timeout = PATIENCE_S
        assert line.ask(b"v", 2)[1:] == b"k"


def test_ctrl_c_ends_the_flashing_tool_too(tmp_path: Path) -> None:
    tool = tmp_path / "openocd"
    tool.write_text("#!/bin/sh\necho $$ > " + str(tmp_path / "pid") + "\nexec sleep 60\n")
    tool.chmod(0o755)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.flash.test_flash_virtual import Built, H743\n"
        "from tests.virtual.sinner import SmallImage, digest\n"
        "from tinyrobust import flash\n"
        "small = SmallImage(Path(sys.argv[2]), Path(sys.argv[3]))\n"
        "meta = {'board': 'nucleo-h743', 'image_sha256': digest(small)}\n"
        "try: flash.flash(Built(small.elf, small.bin, small.bin, meta), H743, flasher='openocd')\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    small = firmware()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT), str(small.elf), str(small.bin)],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(PATIENCE_S) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def _no_space() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_full_disk_while_flashing_keeps_the_old_flash(flashed: Path, tmp_path: Path) -> None:
    before = flashed.read_bytes()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.flash.test_flash_virtual import Built, H743\n"
        "from tests.virtual.sinner import SmallImage, digest\n"
        "from tinyrobust import flash\n"
        "from tinyrobust.errors import FlashError\n"
        "small = SmallImage(Path(sys.argv[2]), Path(sys.argv[3]))\n"
        "meta = {'board': 'nucleo-h743', 'image_sha256': digest(small)}\n"
        "try: flash.flash(Built(small.elf, small.bin, small.bin, meta), H743, virtual=True)\n"
        "except FlashError as error: print(error)\n"
    )
    small: SmallImage = firmware()
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(small.elf), str(small.bin)],
        capture_output=True, text=True, preexec_fn=_no_space, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "was not flashed" in done.stdout and "disk space" in done.stdout, done
    assert flashed.read_bytes() == before
    assert sorted(p.name for p in flashed.parent.iterdir()) == ["firmware.elf", "flash.bin"]


def test_unwritable_state_folder(flashed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.flash.test_flash_virtual import Built

    monkeypatch.setenv("XDG_STATE_HOME", str(flashed))  # a file, not a folder
    small = firmware()
    image = Built(small.elf, small.bin, small.bin,
                  {"board": "nucleo-h743", "image_sha256": digest(small)})  # fmt: skip
    with pytest.raises(FlashError, match="was not flashed"):
        flash.flash(image, H743, virtual=True)


def test_without_a_compiler_or_a_cache_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        patch.delenv("CC", raising=False)
        with pytest.raises(BuildError, match=r"no C compiler.*apt-get install gcc") as caught:
            virtual.start(H743, firmware())
        assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="cannot compile"):
        virtual.start(H743, firmware())


def test_a_damaged_cached_library_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = native.build()
    assert library.is_relative_to(tmp_path)
    whole = library.read_bytes()
    library.write_bytes(whole[:100])
    with virtual.start(H743, firmware()) as board:
        assert board.helper == "native"
        assert Line(board.port).ask(b"v", 2)[1:] == b"k"
    assert len(library.read_bytes()) == len(whole)
