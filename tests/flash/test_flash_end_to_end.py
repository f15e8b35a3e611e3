"""`tinyrobust flash` and `simulate` with the real firmware: the device's own hash is the proof."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tinyrobust import boards, device
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.flash import flash_file
from tinyrobust.virtual.chips import has_probe

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize("name", ["nucleo-h743", "arduino-nano-33-ble", "mps2-an500", "host"])
def test_virtual_boards_hold_what_was_built(name: str) -> None:
    assert tinyrobust(["flash", "--board", name, "--virtual", "--json", "flash.json"]) == 0
    result = json.loads(Path("flash.json").read_text())
    meta = json.loads(Path(f"build/{name}/shapes-small/image.json").read_text())
    assert result["schema"] == "tinyrobust.flash/1" and result["virtual"]
    assert result["device_sha256"] == result["image_sha256"] == meta["image_sha256"]


def test_another_image_in_flash_is_found() -> None:
    assert tinyrobust(["flash", "--board", "nucleo-h743", "--virtual"]) == 0
    file = flash_file(boards.load("nucleo-h743"))
    content = bytearray(file.read_bytes())
    size = Path("build/nucleo-h743/shapes-small/firmware.bin").stat().st_size
    content[size - 1] ^= 1  # the last byte of the image is padding: the firmware still runs
    file.write_bytes(content)
    simulate = _simulate()
    try:
        with device.Session.open("port") as session:
            meta = json.loads(Path("build/nucleo-h743/shapes-small/image.json").read_text())
            assert session.image_hash() != meta["image_sha256"]
    finally:
        simulate.terminate()
        simulate.communicate()


def _probed() -> list[str]:
    """Boards whose chip the virtual probe knows, and pyOCD without a pack that a user supplies."""
    from pyocd.target.builtin import BUILTIN_TARGETS

    found = {name: boards.load(name) for name in boards.names()}
    return [
        name
        for name, board in found.items()
        if has_probe(board)
        and any(r.id == "pyocd" and r.target in BUILTIN_TARGETS for r in board.flashers)
    ]


def test_an_image_behind_a_bootloader_is_simulated() -> None:
    name = "arduino-nano-33-ble"
    simulate = _simulate("--model", "shapes-small", board=name)
    try:
        with device.Session.open("port") as session:
            meta = json.loads(Path(f"build/{name}/shapes-small/image.json").read_text())
            assert session.image_hash() == meta["image_sha256"]
    finally:
        simulate.terminate()
        simulate.communicate()


@pytest.mark.parametrize("name", _probed())
def test_pyocd_flashes_the_running_virtual_board(name: str) -> None:
    """Through pyOCD onto the probe of a running board that holds another image; then evaluated
    over the same link."""
    assert tinyrobust(["flash", "--board", name, "--virtual", "--no-check"]) == 0
    file = flash_file(boards.load(name))
    content = file.read_bytes()
    size = Path(f"build/{name}/shapes-small/firmware.bin").stat().st_size
    first = boards.load(name).image_origin - boards.load(name).flash.origin
    file.write_bytes(content[: first + size - 1] + b"?" + content[first + size :])  # padding
    simulate = _simulate("--probe-port", "0", board=name)
    try:
        probe = json.loads(Path("simulate.json").read_text())["probe"]
        arguments = ["--board", name, "--flasher", "pyocd", "--probe", probe, "--port", "port"]
        assert tinyrobust(["flash", *arguments, "--json", "flash.json"]) == 0
        result = json.loads(Path("flash.json").read_text())
        assert result["flasher"] == "pyocd" and not result["virtual"]
        assert result["device_sha256"] == result["image_sha256"]
        assert tinyrobust([
            "evaluate", "--board", name, "--port", "port", "--task", "shapes", "--samples", "20",
            "--attacks", "noise", "--json", "evaluation.json", "--fresh",
        ]) == 0  # fmt: skip
        assert json.loads(Path("evaluation.json").read_text())["schema"]
    finally:
        simulate.terminate()
        simulate.communicate()


def _simulate(*more: str, board: str = "nucleo-h743") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyrobust", "simulate", "--board", board,
         "--link", "port", "--json", "simulate.json", *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    while not Path("simulate.json").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    return process
