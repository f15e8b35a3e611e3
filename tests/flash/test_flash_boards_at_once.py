"""``flash --all``: probes and ports are matched, boards fail by themselves; two virtual boards."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.flash.test_flashers import ST_LINK, Built, Port, board_with, image, plug, tools  # noqa: F401
from tests.patience import PATIENCE_S
from tests.stand_ins import StandIns
from tinyrobust import boards, flash
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.errors import FlashError, LinkError
from tinyrobust.flash._tool import NO_PROGRESS
from tinyrobust.virtual.simulation import Simulation

ROW = {"id": "st-flash"}
THREE = "Found 3 stlink programmers\n" + "".join(
    f"  serial: {name}\n  dev-type: H74x/H75x\n  version: V2\n" for name in ("A1", "B2", "C3")
)


def progress_of(_name: str) -> Any:
    return NO_PROGRESS


def test_ports_are_matched_by_usb_serial_number(
    image: Built, tools: StandIns, monkeypatch: Any  # noqa: F811
) -> None:  # fmt: skip
    tools.lists(THREE)
    plug(monkeypatch, Port("/dev/ttyACM0", **ST_LINK, serial_number="c3"),
         Port("/dev/ttyACM1", **ST_LINK, serial_number="A1"),
         Port("/dev/ttyUSB0", 0x0403, 0x6001, serial_number="B2"))  # fmt: skip
    board = board_with(ROW)
    name, targets = flash.find_targets(board, None)
    assert name == "st-flash"
    assert [(t.device.id, t.port) for t in targets] == [
        ("A1", "/dev/ttyACM1"), ("B2", None), ("C3", "/dev/ttyACM0"),
    ]  # fmt: skip
    hashes = {"/dev/ttyACM1": str(image.meta["image_sha256"]), "/dev/ttyACM0": "0" * 64}
    outcomes = flash.flash_all(
        image, board, targets, flasher=name, read_hash=lambda port, fault: hashes[port],
        progress_of=progress_of,
    )  # fmt: skip
    first, second, third = outcomes
    assert first.flashed and first.flashed.device_sha256 == image.meta["image_sha256"]
    assert isinstance(second.error, LinkError) and "probe B2" in second.error.message
    assert isinstance(third.error, FlashError) and "holds another image" in third.error.message
    assert sorted(line[2] for line in tools.lines() if "write" in line) == ["A1", "C3"]
    # What is found may be another board's probe, so it needs its port; what is named does not.
    _, targets = flash.find_targets(board, None, check=False)
    assert [t.trouble is None for t in targets] == [True, False, True]
    _, targets = flash.find_targets(board, None, probes=["A1", "B2"], check=False)
    assert [(t.port, t.trouble) for t in targets] == [("/dev/ttyACM1", None), (None, None)]


def test_one_of_several_must_be_named(
    image: Built, tools: StandIns, monkeypatch: Any  # noqa: F811
) -> None:  # fmt: skip
    tools.lists(THREE)
    plug(monkeypatch, Port("/dev/ttyACM0", **ST_LINK, serial_number="C3"))
    board = board_with(ROW)
    with pytest.raises(FlashError, match="st-flash sees 3 boards: A1, B2, C3") as caught:
        flash.flash(image, board)
    assert "--all" in caught.value.hint and not [x for x in tools.lines() if "write" in x]
    flash.flash(image, board, port="/dev/ttyACM0")  # its probe has the port's serial number
    assert tools.lines()[-1][:3] == ["--reset", "--serial", "C3"]
    with pytest.raises(FlashError, match="sees 3 boards"):
        flash.flash(image, board, port="/dev/ttyUSB7", dry_run=True)


def test_boards_are_flashed_at_the_same_time(
    image: Built, tools: StandIns  # noqa: F811
) -> None:  # fmt: skip
    board = board_with(ROW)
    _, targets = flash.find_targets(board, None, probes=["A1", "B2"], serial_ports=["p", "q"])
    both = threading.Barrier(2, timeout=PATIENCE_S)  # broken unless both ask at once

    def read_hash(port: str, fault: object) -> str:
        both.wait()
        return str(image.meta["image_sha256"])

    outcomes = flash.flash_all(image, board, targets, flasher="st-flash", read_hash=read_hash,
                               progress_of=progress_of)  # fmt: skip
    assert [o.error for o in outcomes] == [None, None]
    assert [o.flashed.port for o in outcomes if o.flashed] == ["p", "q"]


def test_what_all_refuses(tools: StandIns) -> None:  # noqa: F811
    board = board_with(ROW)
    for how, message in (
        ({}, "sees no nucleo-h743"),
        ({"probes": ["a", "b"], "serial_ports": ["p"]}, "2 probes and 1 ports"),
        ({"probes": ["a", "a"]}, "probe a is named twice"),
        ({"probes": ["a", "b"], "serial_ports": ["p", "p"]}, "port p is named twice"),
    ):
        with pytest.raises(FlashError, match=message):
            flash.find_targets(board, None, **how)  # type: ignore[arg-type]
    with pytest.raises(FlashError, match="is virtual"):
        flash.find_targets(board_with({"id": "virtual"}), None)
    openocd = board_with({"id": "openocd", "config": "x.cfg"})
    with pytest.raises(FlashError, match="cannot tell what is plugged in"):
        flash.find_targets(openocd, "openocd")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--all", "--virtual"], "leave --all or --virtual out"),
        (["--probe", "a", "--probe", "b"], "several probes need --all"),
        (["--port", "a", "--port", "b"], "several ports need --all"),
    ],
)
def test_options_that_do_not_fit(words: list[str], message: str, capsys: Any) -> None:
    assert tinyrobust(["flash", "--board", "nucleo-h743", *words]) == 1
    assert message in capsys.readouterr().err


class _Running:
    """Two virtual nucleo-h743 that are kept running, each with a probe that the real pyOCD uses."""

    def __init__(self, folder: Path) -> None:
        board = boards.load("nucleo-h743")
        blank = folder / "blank"
        blank.write_bytes(b"")
        # Blank boards would fault at once, so both begin with an older image: this one.
        self._first = folder / "first"
        assert tinyrobust(["build", "--board", "nucleo-h743", "--out", str(self._first)]) == 0
        old = self._first / "firmware.bin"
        self.boards = [Simulation(board, old, probe_port=0) for _ in range(2)]
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._keep, args=(b,)) for b in self.boards]
        for thread in self._threads:
            thread.start()

    def _keep(self, board: Simulation) -> None:
        while not self._ended.is_set():
            board.wait(0.2)

    def close(self) -> None:
        self._ended.set()
        for thread, board in zip(self._threads, self.boards, strict=True):
            thread.join(PATIENCE_S)
            board.close()


@pytest.mark.slow
def test_two_virtual_boards_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    running = _Running(tmp_path)
    try:
        pairs = [(str(b.probe.probe_id), b.port) for b in running.boards if b.probe]
        words = [w for probe, port in pairs for w in ("--probe", probe, "--port", port)]
        line = ["flash", "--board", "nucleo-h743", "--all", "--flasher", "pyocd", *words]
        assert tinyrobust([*line, "--json", "all.json"]) == 0
        result = json.loads(Path("all.json").read_text())
        assert result["schema"] == "tinyrobust.flash-all/1" and result["failed"] == 0
        meta = json.loads(Path("build/nucleo-h743/shapes-small/image.json").read_text())
        for (probe, port), row in zip(pairs, result["boards"], strict=True):
            assert (row["probe"], row["port"]) == (probe, port)
            assert row["flashed"]["device_sha256"] == meta["image_sha256"]
        # Found, not named: pyOCD's list says the probes, pyserial's the ports.
        from tinyrobust.flash._flasher import Device

        pyocd = type(flash.flashers()["pyocd"])
        monkeypatch.setattr(
            pyocd,
            "devices",
            lambda *_: [Device(probe, f"SN{i}", "virtual") for i, (probe, _) in enumerate(pairs)],
        )
        plug(monkeypatch, *(Port(port, **ST_LINK, serial_number=f"SN{i}")
                            for i, (_, port) in reversed(list(enumerate(pairs)))))  # fmt: skip
        running.boards[1].probe.close()  # type: ignore[union-attr]
        capsys.readouterr()
        assert tinyrobust(["flash", "--board", "nucleo-h743", "--all"]) == 2
        said = capsys.readouterr().out
        assert "flashed, SHA-256" in said and "FAILED" in said
        assert "start the remote probe first" in said
    finally:
        running.close()
