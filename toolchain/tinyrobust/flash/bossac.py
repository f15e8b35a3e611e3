"""Program a board's SAM-BA boot loader with bossac (https://github.com/shumatech/BOSSA).

Opening and closing the board's serial port at 1200 baud calls the boot loader (Arduino platform
specification, "1200 bps bootloader reset"). An nRF52840 needs Arduino's fork of bossac, in which
``offset`` counts from 0x10000, where its boot loader ends. Tested with a stand-in whose messages
are those of bossac 1.9.1, and with bossac itself on a modelled SAM3X8E; it has never been run on
hardware by this project.
"""

from __future__ import annotations

import re
import time

from tinyrobust.boards.schema import Board, UsbId
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError
from tinyrobust.flash import ports
from tinyrobust.flash._flasher import Device, Job, Tool
from tinyrobust.flash._tool import NO_PROGRESS, Progress

_PERCENT = re.compile(r"\]\s*(\d{1,3})%")
_SETTLE_S = 0.5  # a boot loader behind a bridge needs so long after the touch
_BOOT = "press the board's reset button twice (Due: ERASE, then RESET), then run this again"


def _touched(board: Board, entry: Entry) -> list[UsbId]:
    """Ids of the ports that call the boot loader."""
    return [entry.touch] if entry.touch else board.serial.usb_ids


class _Bossac(Tool):
    name = "bossac"
    get = ("apt-get install bossa-cli (SAM boards), or Arduino's fork (nRF52840): "
           "arduino-cli core install arduino:mbed_nano")  # fmt: skip
    needs = "bossac, and the board's own USB port"
    probe_is = "the serial port or USB serial number of the board or its boot loader"
    hints = (
        ("no device found on", _BOOT),
        ("device unsupported", "this bossac does not know the chip: an nRF52840 needs Arduino's "
         "fork of bossac (arduino-cli core install arduino:mbed_nano), a SAM3X bossac 1.9"),
        ("permission denied", "sudo usermod -aG dialout $USER, log out and in again"),
        ("failed to open port at 1200bps", "close the other program that has the port; " + _BOOT),
        ("sam-ba operation failed", "the line broke off: take another cable; " + _BOOT),
        ("verify failed", "flash again; if it stays, the flash is worn"),
        ("flash page is locked", "unlock it: bossac -u"),
        ("flash command failed", "flash again; if it stays, the flash is locked: bossac -u"),
        ("flash offset is invalid", "correct 'offset' in the board's YAML: a whole page"),
        ("exceeds flash size", "the image does not fit behind 'offset'"),
        ("no serial ports available", "plug the board in"),
    )  # fmt: skip

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """Boot loaders, and boards that the touch can make one."""
        loaders = [entry.usb] if entry.usb else []
        return [*ports.with_ids(loaders), *ports.with_ids(_touched(board, entry), loaders)]

    def commands(self, job: Job) -> list[list[str]]:
        """Erase, write, verify, boot from flash, reset: bossac's own help, and Arduino's cores."""
        entry = job.entry
        assert entry.usb is not None
        loader = ports.named(ports.with_ids([entry.usb]), job.probe)
        calls = _touched(job.board, entry)
        bridged = entry.usb in calls  # the port stays the same
        sketch = ports.named(ports.with_ids(calls), job.probe)
        port = (loader or sketch or ports.PLACEHOLDER).removeprefix("/dev/")
        touch = ports.touch_commands(loader or sketch) if bridged or not loader else []
        command = [self.where() or self.name, f"--port={port}",
                   f"--usb-port={'false' if bridged else 'true'}", "--info", "--erase",
                   "--write"]  # fmt: skip
        if not job.board.mcu.startswith("nRF"):  # Arduino's core asks its boot loader neither
            command += ["--verify", "--boot=1"]
        if entry.offset:
            command.append(f"--offset={entry.offset:#x}")
        return [*touch, [*command, "--reset", str(job.image.bin)]]

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Call the boot loader, wait for its port, then run the tool."""
        entry = job.entry
        assert entry.usb is not None
        calls = _touched(job.board, entry)
        bridged = entry.usb in calls
        if bridged or not ports.named(ports.with_ids([entry.usb]), job.probe):
            serial = ports.touch_board(job.board, calls, progress, job.probe)
            if bridged:
                time.sleep(_SETTLE_S)
            else:
                ports.wait_until(
                    lambda: bool(ports.with_ids([entry.usb] if entry.usb else [])), ports.APPEAR_S,
                    FlashError("the boot loader's port did not appear within "
                               f"{ports.APPEAR_S:.0f} s", _BOOT),
                )  # fmt: skip
                job = Job(job.image, job.board, entry, self._loader(entry, serial))
        self.run(self.commands(job)[-1], progress)

    def _loader(self, entry: Entry, serial: str) -> str:
        """The boot loader of the board with USB ``serial``; many have a number of their own."""
        assert entry.usb is not None
        found = ports.with_ids([entry.usb])
        return ports.named(found, serial or None) or ports.only(found, "boot loaders")

    def fraction(self, words: str) -> float | None:
        """``[=====     ] 45% (12/26 pages)``."""
        found = _PERCENT.search(words)
        return min(1.0, int(found[1]) / 100) if found else None


flasher = _Bossac()
