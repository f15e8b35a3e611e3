"""GDB loads firmware into an empty QEMU, twice, and through pyOCD's server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tinyrobust import boards, resources
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.flash import flash_file

pytestmark = [pytest.mark.slow, pytest.mark.flashers]


@contextmanager
def simulate(*words: str) -> Iterator[dict[str, str]]:
    """`tinyrobust simulate ...` in this folder; what its JSON says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyrobust", "simulate", *words, "--json", "simulate.json"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    try:
        while not Path("simulate.json").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.05)
        yield json.loads(Path("simulate.json").read_text())
        assert process.poll() is None, process.communicate()[1]
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an500"])
def test_gdb_onto_an_empty_board(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with simulate("--board", board, "--gdb-port", "0") as running:
        where = ["--probe", running["gdb"], "--port", running["port"]]
        line = ["flash", "--board", board, "--flasher", "gdb", *where]
        assert tinyrobust([*line, "--json", "flash.json"]) == 0
        result = json.loads(Path("flash.json").read_text())
        meta = json.loads(Path(f"build/{board}/shapes-small/image.json").read_text())
        assert result["flasher"] == "gdb" and not result["virtual"]
        assert result["device_sha256"] == result["image_sha256"] == meta["image_sha256"]
        said = capfd.readouterr().out
        assert "6 sections compared, all matched" in said and "100%" in said
        if board == "mps2-an500":
            # Over the firmware that runs, whose MPU would stop the next one without a reset.
            assert tinyrobust(line) == 0
            return
        assert tinyrobust(
            ["evaluate", "--board", board, "--port", running["port"], "--samples", "10",
             "--attacks", "noise", "--eps", "2", "--json", "evaluate.json"]
        ) == 0  # fmt: skip
        assert json.loads(Path("evaluate.json").read_text())["score_differences"] == 0


def test_an_image_of_another_board_does_not_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tinyrobust(["build", "--board", "nucleo-h743"]) == 0
    folder = Path("build/nucleo-h743/shapes-small")
    meta = json.loads((folder / "image.json").read_text())
    (folder / "image.json").write_text(json.dumps(meta | {"board": "mps2-an500"}))
    with simulate("--board", "mps2-an500", "--gdb-port", "0") as running:
        assert tinyrobust(
            ["flash", "--board", "mps2-an500", "--flasher", "gdb", "--image", str(folder),
             "--probe", running["gdb"], "--port", running["port"]]
        ) == 2  # fmt: skip
    said = capfd.readouterr().err
    assert "the stub" in said


def test_gdb_through_pyocds_server_on_a_virtual_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    board = Path("mine.yaml")
    text = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()
    board.write_text(text.replace("flashers:\n", "flashers:\n  - {id: gdb}\n"))
    assert tinyrobust(["flash", "--board", "nucleo-h743", "--virtual", "--no-check"]) == 0
    file = flash_file(boards.load("nucleo-h743"))
    content = bytearray(file.read_bytes())
    size = Path("build/nucleo-h743/shapes-small/firmware.bin").stat().st_size
    content[size - 1] ^= 1  # padding: another image, which still runs
    file.write_bytes(content)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with simulate("--board", "nucleo-h743", "--probe-port", "0") as running:
        server = subprocess.Popen(
            [sys.executable, "-m", "pyocd", "gdbserver", "--no-wait", "--uid", running["probe"],
             "--target", "stm32h743xx", "--port", str(port), "--telnet-port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            assert any("GDB server listening" in line for line in server.stdout)
            assert tinyrobust(
                ["flash", "--board", str(board), "--flasher", "gdb", "--json", "flash.json",
                 "--probe", f"127.0.0.1:{port}", "--port", running["port"]]
            ) == 0  # fmt: skip
        finally:
            server.terminate()
            said = server.communicate()[0]
    result = json.loads(Path("flash.json").read_text())
    assert result["device_sha256"] == result["image_sha256"]
    assert "programmed 0 bytes" not in said and "Erased" in said
