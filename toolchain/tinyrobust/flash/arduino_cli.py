"""Upload the built binary with arduino-cli, which calls the tool that the board's core brings.

``arduino-cli upload --input-file`` takes a file that it did not compile (its manual, "upload").
Tested with a stand-in; it has never been run by this project.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.flash import ports
from tinyrobust.flash._ask import ask
from tinyrobust.flash._flasher import Device, Job, Tool

_PERCENT = re.compile(r"(\d{1,3})%")


class _ArduinoCli(Tool):
    name = "arduino-cli"
    get = "install arduino-cli (arduino.github.io/arduino-cli), then: arduino-cli core install CORE"
    needs = "arduino-cli, the board's core, and the board's own USB port"
    probe_is = "the serial port or USB serial number of the board"
    hints = (
        ("is not installed", "arduino-cli core install PACKAGER:ARCHITECTURE (the first two parts "
         "of 'fqbn')"),
        ("invalid fqbn", "correct 'fqbn' in the board's YAML: arduino-cli board listall"),
        ("unknown fqbn", "correct 'fqbn' in the board's YAML: arduino-cli board listall"),
        ("no upload port provided", "plug the board in, or name its port with --probe"),
        ("no device found on", "press the board's reset button twice, then run this again"),
        ("no dfu capable usb device", "press the board's reset button twice, then run this again"),
        ("permission denied", "sudo usermod -aG dialout $USER, log out and in again"),
        ("libusb_error_access", "allow access to the boot loader: tinyrobust doctor --udev"),
        ("port busy", "close the other program that has the port (a serial monitor)"),
        ("resource busy", "close the other program that has the port (a serial monitor)"),
        ("verify failed", "flash again; if it stays, the flash is worn"),
        ("failed uploading", "press the board's reset button twice, then run this again"),
    )  # fmt: skip

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """``arduino-cli board list``; what it cannot name is known by its USB ids."""
        found = {}
        for row in _listed(ask([self.where(), "board", "list", "--format", "json"])):
            port = row.get("port", {})
            names = {match.get("fqbn") for match in row.get("matching_boards") or ()}
            if entry.fqbn in names:
                serial = str(port.get("properties", {}).get("serialNumber", ""))
                found[port.get("address")] = Device(port["address"], serial, str(entry.fqbn))
        for device in ports.with_ids(board.serial.usb_ids):
            found.setdefault(device.id, device)
        return list(found.values())

    def commands(self, job: Job) -> list[list[str]]:
        """It touches the port itself where the core says so."""
        port = ports.named(ports.with_ids(job.board.serial.usb_ids), job.probe) or job.probe
        if port is None:
            port = ports.only(self.devices(job.board, job.entry) or [], "boards")
        return [[self.where() or self.name, "upload", "--fqbn", str(job.entry.fqbn), "--port",
                 port or ports.PLACEHOLDER, "--input-file", str(job.image.bin)]]  # fmt: skip

    def fraction(self, words: str) -> float | None:
        """Percents of whatever tool it calls."""
        found = _PERCENT.search(words)
        return min(1.0, int(found[1]) / 100) if found else None


def _listed(text: str) -> list[dict[str, Any]]:
    """Rows of ``board list``: a list until 0.x, under ``detected_ports`` since 1.0."""
    try:
        answer = json.loads(text)
    except ValueError:
        return []
    rows = answer.get("detected_ports") if isinstance(answer, dict) else answer
    return [row for row in rows or () if isinstance(row, dict)]


flasher = _ArduinoCli()
