"""Flashers that are somebody's tool: lines, progress, lists, failures, through stand-ins."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import stand_ins
from tests.stand_ins import StandIns
from tinyrobust import boards, flash
from tinyrobust.artefact import sha256
from tinyrobust.boards.schema import Board
from tinyrobust.errors import FlashError
from tinyrobust.flash import ports
from tinyrobust.image import hexfile

CONTENT = bytes(range(256)) * 40
ST_LINK = {"vid": 0x0483, "pid": 0x374B}
DUE = {"vid": 0x2341, "pid": 0x003D}
LOADER = {"vid": 0x2341, "pid": 0x005A}
SKETCH = {"vid": 0x2341, "pid": 0x805A}
SERIAL = "066DFF525750877267092042"


@dataclass
class Built:
    """An image of ten kilobytes."""

    elf: Path
    bin: Path
    hex: Path
    meta: dict[str, object]


@dataclass
class Port:
    """A serial port as pyserial lists it."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None = None
    description: str = "USB serial"


@pytest.fixture
def image(tmp_path: Path) -> Built:
    folder = tmp_path / "with blank"  # a path that must be quoted
    folder.mkdir()
    files = [folder / f"firmware.{kind}" for kind in ("elf", "bin", "hex")]
    files[0].write_bytes(b"\x7fELF")
    files[1].write_bytes(CONTENT)
    files[2].write_text(hexfile.encode(0x08000000, CONTENT))
    return Built(*files, {"board": "nucleo-h743", "image_sha256": sha256(CONTENT)})


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    monkeypatch.setenv("HOME", str(tmp_path))
    return stand_ins.install(tmp_path, monkeypatch)


def plug(monkeypatch: pytest.MonkeyPatch, *found: Port) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: list(found))


def board_with(row: dict[str, Any], **changes: Any) -> Board:
    """nucleo-h743 with ``row`` as its flasher."""
    data = boards.load("nucleo-h743").as_dict() | {"flashers": [row], **changes}
    return Board.model_validate(data, strict=False)


def run(image: Built, row: dict[str, Any], **how: Any) -> list[tuple[str, float | None]]:
    """Flash; what ``progress`` heard."""
    heard: list[tuple[str, float | None]] = []
    changes = how.pop("changes", {})
    done = flash.flash(image, board_with(row, **changes),
                       progress=lambda words, part: heard.append((words, part)), **how)  # fmt: skip
    assert done.flasher == row["id"]
    return heard


ROWS: dict[str, dict[str, Any]] = {
    "openocd": {"id": "openocd", "config": "board/st_nucleo_h743zi.cfg"},
    "st-flash": {"id": "st-flash"},
    "stm32cubeprogrammer": {"id": "stm32cubeprogrammer"},
    "dfu-util": {"id": "dfu-util", "usb": {"vid": 0x0483, "pid": 0xDF11}},
    "arduino-cli": {"id": "arduino-cli", "fqbn": "arduino:mbed_nano:nano33ble"},
}
LINES: dict[str, list[str]] = {
    "openocd": ["-f", "board/st_nucleo_h743zi.cfg", "-c", f"adapter serial {{{SERIAL}}}",
                "-c", "program {HEX} verify reset exit"],
    "st-flash": ["--reset", "--serial", SERIAL, "write", "BIN", "0x8000000"],
    "stm32cubeprogrammer": ["-c", "port=SWD", f"sn={SERIAL}", "mode=UR", "reset=HWrst",
                            "-w", "HEX", "-v", "-rst"],
    "dfu-util": ["-d", "0483:df11", "-a", "0", "-S", SERIAL, "-s", "0x08000000:leave", "-D", "BIN"],
    "arduino-cli": ["upload", "--fqbn", "arduino:mbed_nano:nano33ble", "--port", SERIAL,
                    "--input-file", "BIN"],
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_command_line_and_progress(image: Built, tools: StandIns, name: str) -> None:
    heard = run(image, ROWS[name], probe=SERIAL)
    wanted = [w.replace("HEX", str(image.hex)).replace("BIN", str(image.bin)) for w in LINES[name]]
    assert tools.lines()[-1] == wanted
    parts = [part for _, part in heard if part is not None]
    assert parts[-1] == 1.0 and len(parts) >= 3 and parts == sorted(parts)
    assert any(words for words, _ in heard)  # the tool's lines come through


@pytest.mark.parametrize("name", ROWS)
def test_dry_run_runs_nothing_and_can_be_pasted(image: Built, tools: StandIns, name: str) -> None:
    done = flash.flash(image, board_with(ROWS[name]), probe=SERIAL, dry_run=True)
    assert not [line for line in tools.lines() if "list" not in line]
    assert shlex.split(flash.shell(done.commands)) == done.command
    assert f"'{image.bin.parent}" in flash.shell(done.commands) or name == "openocd"


def test_stand_ins_are_strict(image: Built, tools: StandIns, monkeypatch: Any) -> None:
    for name, row in ROWS.items():
        tool = flash.flashers()[name]
        extra = type(tool).commands
        monkeypatch.setattr(
            type(tool), "commands",
            lambda self, job, extra=extra: [[*extra(self, job)[-1], "--surprise"]],
        )  # fmt: skip
        with pytest.raises(FlashError, match="stand-in"):
            run(image, row, probe=SERIAL)


# What the real tools say: stlink 1.7, dfu-util 0.11, bossac 1.9.1 and OpenOCD 0.12 (their sources),
# STM32CubeProgrammer 2.x and arduino-cli (their users' reports).
FAILURES = [
    ("openocd", "Error: open failed", "plug the board in"),
    ("openocd", "Error: libusb_open() failed with LIBUSB_ERROR_ACCESS", "--udev"),
    ("openocd", "Error: libusb_claim_interface() failed: LIBUSB_ERROR_BUSY", "another debugger"),
    ("openocd", "Error: ST-LINK open failed (serial mismatch)", "check --probe"),
    ("openocd", "Error: init mode failed (unable to connect to the target)", "readout protection"),
    ("openocd", "Error: Cannot identify target as a STM32H7xx family.", "another chip"),
    ("openocd", "Error: stm32x device protected\n** Programming Failed **", "protected"),
    ("openocd", "** Verify Failed **", "flash again"),
    ("st-flash", "2026-01-01T00:00:00 WARN usb.c: Couldn't find any ST-Link devices", "plug"),
    ("st-flash", "ERROR usb.c: Could not open USB device 0483:374b, access error.", "--udev"),
    ("st-flash", "WARN usb.c: Error Unable to claim interface (LIBUSB_ERROR_BUSY)", "another"),
    ("st-flash", "ERROR common.c: Can not connect to target. Please use 'connect under reset' and "
     "try again", "reset button"),
    ("st-flash", "unknown chip id! 0x482", "newer stlink"),
    ("st-flash", "ERROR common.c: Flash memory is write protected", "protected"),
    ("st-flash", "ERROR common.c: Verification of flash failed at offset: 1024", "worn"),
    ("st-flash", "ERROR common.c: addr too high", "does not fit"),
    ("stm32cubeprogrammer", "Error: No debug probe detected.", "plug the board in"),
    ("stm32cubeprogrammer", "Error: ST-LINK error (DEV_USB_COMM_ERR)", "close other debuggers"),
    ("stm32cubeprogrammer", "Error: No STM32 target found! If your product embeds Debug "
     "Authentication, please perform a discovery using Debug Authentication", "right board"),
    ("stm32cubeprogrammer", "Error: failed to erase memory", "RDP=0xAA"),
    ("stm32cubeprogrammer", "Error: Data mismatch found at address 0x08000004 (byte = 0x31 instead "
     "of 0x5D)\nError: Download verification failed", "worn"),
    ("stm32cubeprogrammer", "Error: unknown or unsupported device (DevID = 0x0000)", "another"),
    ("dfu-util", "dfu-util: No DFU capable USB device available", "boot loader"),
    ("dfu-util", "dfu-util: Cannot open DFU device 0483:df11 found on devnum 9 "
     "(LIBUSB_ERROR_ACCESS)", "--udev"),
    ("dfu-util", "dfu-util: Cannot claim interface - LIBUSB_ERROR_BUSY", "another program"),
    ("dfu-util", "dfu-util: More than one DFU capable USB device found! Try `--list' and specify "
     "the serial number or disconnect all but one device", "--probe"),
    ("dfu-util", "dfu-util: Last page at 0x08200000 is not writeable", "load_address"),
    ("dfu-util", "dfu-util: Error during download get_status", "cable"),
    ("arduino-cli", "Error during Upload: incorrect FQBN: platform arduino:mbed_nano is not "
     "installed", "core install"),
    ("arduino-cli", "Error during Upload: uploading error: no upload port provided", "plug"),
    ("arduino-cli", "No device found on ttyACM0\nFailed uploading: uploading error: exit status 1",
     "twice"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said", "hint"), FAILURES, ids=[f"{n}-{s[:38]}" for n, s, _ in FAILURES]
)
def test_failures_keep_the_tools_words(
    image: Built, tools: StandIns, name: str, said: str, hint: str
) -> None:
    tools.fail(said)
    with pytest.raises(FlashError) as caught:
        run(image, ROWS[name], probe=SERIAL)
    assert said.splitlines()[-1] in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_failure_gives_the_command_to_run(image: Built, tools: StandIns) -> None:
    tools.fail("the moon is full", 3)
    with pytest.raises(FlashError, match=r"status 3\): .*the moon is full") as caught:
        run(image, ROWS["st-flash"], probe=SERIAL)
    command = caught.value.hint.removeprefix("run it by hand: ")
    assert shlex.split(command)[1:] == tools.lines()[-1]


def test_cube_programmer_fails_though_its_status_is_0(image: Built, tools: StandIns) -> None:
    tools.fail("Error: Failed to download data! If it's a Flash memory, it may be not erased or "
               "protected", 0)  # fmt: skip
    with pytest.raises(FlashError) as caught:
        run(image, ROWS["stm32cubeprogrammer"])
    assert "RDP" in caught.value.hint


# What is plugged in, by the tools' own lists.

LISTS = [
    ("st-flash", f"Found 2 stlink programmers\n  version:    V2J37S26\n  serial:     {SERIAL}\n"
     "  flash:      2097152 (pagesize: 131072)\n  sram:       131072\n  chipid:     0x450\n"
     "  dev-type:   H74x/H75x\n  version:    V2J37S26\n  serial:     5301\n  chipid:     0x421\n"
     "  dev-type:   F446\n", [SERIAL]),
    ("st-flash", "Found 0 stlink programmers\n", []),
    ("stm32cubeprogrammer", "-------- Connected ST-LINK Probes List --------\n\nST-Link Probe 0 :\n"
     f"   ST-LINK SN  : {SERIAL}\n   ST-LINK FW  : V2J37M26\n   Access Port Number  : 1\n"
     "   Board Name  : NUCLEO-H743ZI\n\nST-Link Probe 1 :\n   ST-LINK SN  : 5301\n"
     "   Board Name  : NUCLEO-F446RE\n-----------------------------------------------\n", [SERIAL]),
    ("stm32cubeprogrammer", "", []),
    ("dfu-util", 'Found DFU: [0483:df11] ver=0200, devnum=9, cfg=1, intf=0, path="1-2", alt=1, '
     'name="@Option Bytes  /0x5200201C/01*128 e", serial="200364500000"\n'
     'Found DFU: [0483:df11] ver=0200, devnum=9, cfg=1, intf=0, path="1-2", alt=0, '
     'name="@Internal Flash   /0x08000000/16*128Kg", serial="200364500000"\n'
     'Found DFU: [2341:035b] ver=0200, devnum=7, cfg=1, intf=0, path="1-1", alt=0, name="x", '
     'serial="003"\n', ["200364500000"]),
    ("arduino-cli", json.dumps({"detected_ports": [
        {"matching_boards": [{"name": "Nano", "fqbn": "arduino:mbed_nano:nano33ble"}],
         "port": {"address": "/dev/ttyACM3", "properties": {"serialNumber": "A1"}}},
        {"port": {"address": "/dev/ttyS0"}}]}), ["/dev/ttyACM3"]),
    ("arduino-cli", "not json", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "ids"), LISTS)
def test_lists(tools: StandIns, name: str, text: str, ids: list[str]) -> None:
    tools.lists(text)
    board = board_with(ROWS[name])
    found = flash.flashers()[name].devices(board, board.flashers[0])
    assert found is not None and [device.id for device in found] == ids


def test_openocd_knows_probes_on_board_by_their_serial_port(
    tools: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(monkeypatch, Port("/dev/ttyACM0", 0x0483, 0x374B, SERIAL), Port("/dev/ttyS0", None, None))
    board = board_with(ROWS["openocd"])
    found = flash.flashers()["openocd"].devices(board, board.flashers[0])
    assert [device.id for device in found or []] == [SERIAL]
    plug(monkeypatch)
    assert flash.flashers()["openocd"].devices(board, board.flashers[0]) is None


def test_the_flasher_that_sees_a_board_is_taken(
    tools: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ROWS["dfu-util"], ROWS["st-flash"], ROWS["openocd"], {"id": "virtual"}]
    board = board_with(rows[0], flashers=rows)

    def chosen(**how: Any) -> str:
        return flash.find_flasher(board, None, virtual=False, **how)[1].id

    assert chosen() == "dfu-util"  # none sees anything: the first that is installed
    tools.lists(f"Found 1 stlink programmers\n  serial: {SERIAL}\n")
    assert chosen() == "st-flash"
    assert chosen(probe=SERIAL) == "dfu-util"  # who names a probe chooses the first, or --flasher
    (tools.folder / "dfu-util").unlink()
    (tools.folder / "st-flash").unlink()
    assert chosen() == "openocd"
    (tools.folder / "openocd").unlink()
    with pytest.raises(FlashError, match=r"dfu-util: apt-get .* or st-flash: .* or openocd"):
        chosen()


# bossac: the touch at 1200 baud.


def test_bossac_calls_the_boot_loader_and_waits_for_its_port(
    image: Built, tools: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged = [Port("/dev/ttyACM5", **SKETCH, serial_number="A1")]
    touched: list[str] = []

    def touch(port: str) -> None:
        touched.append(port)
        plugged[:] = [Port("/dev/ttyACM6", **LOADER, serial_number="A1")]

    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: plugged)
    monkeypatch.setattr(ports, "touch", touch)
    row = {"id": "bossac", "usb": LOADER, "touch": SKETCH, "offset": 0x2000}
    done = flash.flash(image, board_with(row), dry_run=True)
    assert done.commands[0] == ["stty", "-F", "/dev/ttyACM5", "1200"]
    heard = run(image, row)
    assert touched == ["/dev/ttyACM5"]
    assert tools.lines() == [[
        "--port=ttyACM6", "--usb-port=true", "--info", "--erase", "--write", "--verify", "--boot=1",
        "--offset=0x2000", "--reset", str(image.bin),
    ]]  # fmt: skip
    assert [part for _, part in heard if part is not None] == [0.0, 0.5, 1.0]
    run(image, row, changes={"mcu": "nRF52840"})  # the boot loader runs already
    assert touched == ["/dev/ttyACM5"]
    assert tools.lines()[-1][:5] == [
        "--port=ttyACM6", "--usb-port=true", "--info", "--erase", "--write",
    ]  # fmt: skip
    assert "--verify" not in tools.lines()[-1]


def test_bossac_through_a_bridge_keeps_its_port(
    image: Built, tools: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    monkeypatch.setattr(ports, "touch", touched.append)
    monkeypatch.setattr("tinyrobust.flash.bossac._SETTLE_S", 0)
    plug(monkeypatch, Port("/dev/ttyACM1", **DUE, serial_number="85"))
    serial = boards.load("nucleo-h743").as_dict()["serial"] | {"usb_ids": [DUE]}
    run(image, {"id": "bossac", "usb": DUE}, changes={"serial": serial})
    assert touched == ["/dev/ttyACM1"]
    assert tools.lines()[0][:2] == ["--port=ttyACM1", "--usb-port=false"]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("No device found on ttyACM6", "twice"),
        ("Device unsupported", "Arduino's fork"),
        ("SAM-BA operation failed", "cable"),
        ("Verify failed\nPage errors: 3\nByte errors: 12", "worn"),
        ("Flash page is locked", "bossac -u"),
    ],
)
def test_bossac_failures(
    image: Built, tools: StandIns, monkeypatch: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    plug(monkeypatch, Port("/dev/ttyACM6", **LOADER))
    tools.fail(said)
    with pytest.raises(FlashError) as caught:
        run(image, {"id": "bossac", "usb": LOADER})
    assert said.splitlines()[0] in caught.value.message and hint in caught.value.hint


def test_bossac_without_a_board(image: Built, tools: StandIns, monkeypatch: Any) -> None:
    row = {"id": "bossac", "usb": LOADER, "touch": SKETCH}
    with pytest.raises(FlashError, match="neither a nucleo-h743 nor its boot loader is attached"):
        run(image, row)
    plug(monkeypatch, Port("/dev/ttyACM5", **SKETCH), Port("/dev/ttyACM6", **SKETCH))
    with pytest.raises(FlashError, match="bossac sees 2 boards: /dev/ttyACM5, /dev/ttyACM6"):
        run(image, row)
    monkeypatch.setattr(ports, "touch", lambda port: None)
    monkeypatch.setattr(ports, "APPEAR_S", 0.2)
    with pytest.raises(FlashError, match="did not appear") as caught:
        run(image, row, probe="/dev/ttyACM5")
    assert "twice" in caught.value.hint
    assert tools.lines() == []


def test_dfu_touch(image: Built, tools: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, Port("/dev/ttyACM5", **SKETCH))
    touched: list[str] = []

    def touch(port: str) -> None:
        touched.append(port)
        tools.lists(LISTS[4][1])

    monkeypatch.setattr(ports, "touch", touch)
    run(image, ROWS["dfu-util"] | {"touch": SKETCH},
        changes={"load_address": 0x08040000, "budget": {
            "flash_bytes": 0x100000, "ram_bytes": 0xA0000, "stack_bytes": 8192}})  # fmt: skip
    assert touched == ["/dev/ttyACM5"]
    assert tools.lines()[-1][4:6] == ["-s", "0x08040000:leave"]


# Every row of every board file.


@pytest.mark.parametrize("name", boards.names())
def test_rows_of_every_board(
    name: str, image: Built, tools: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = boards.load(name)
    image.meta["board"] = name
    image.hex.write_text(hexfile.encode(board.image_origin, CONTENT))
    monkeypatch.setattr("tinyrobust.flash.bossac._SETTLE_S", 0)
    tools.lists("".join(
        f'Found DFU: [{row.usb.vid:04x}:{row.usb.pid:04x}] alt={row.alt}, name="", serial="1"\n'
        for row in board.flashers if row.id == "dfu-util" and row.usb))  # fmt: skip
    for row in board.flashers:
        tool = flash.flashers()[row.id]
        ids = [usb for usb in (row.usb, *board.serial.usb_ids) if usb]
        plug(monkeypatch, *(Port("/dev/ttyACM0", usb.vid, usb.pid) for usb in ids[:1]))
        monkeypatch.setattr(ports, "touch", lambda port: None)
        probe = {"gdb": "localhost:3333"}.get(row.id)
        if not tool.virtual:
            done = flash.flash(image, board, flasher=row.id, probe=probe, dry_run=True) if (
                not tool.missing()) else None  # fmt: skip
            if row.id in ROWS or row.id == "bossac":  # there is a stand-in
                assert done is not None
                before = len(tools.lines())
                flash.flash(image, board, flasher=row.id, probe=SERIAL if row.id in ROWS else None)
                assert len(tools.lines()) > before  # and the stand-in has taken them
