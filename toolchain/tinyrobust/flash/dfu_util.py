"""Program a board's DFU boot loader with dfu-util (https://dfu-util.sourceforge.net).

The command line, with ST's DfuSe address, is that of Arduino's Portenta core. Tested with a
stand-in whose messages are those of dfu-util 0.11, and its arguments by the program itself; it has
never been run on hardware by this project.
"""

from __future__ import annotations

import re

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError
from tinyrobust.flash import ports
from tinyrobust.flash._ask import ask
from tinyrobust.flash._flasher import Device, Job, Tool
from tinyrobust.flash._tool import NO_PROGRESS, Progress

_PERCENT = re.compile(r"\]\s*(\d{1,3})%")
_FOUND = re.compile(
    r'Found DFU: \[([0-9a-f]{4}):([0-9a-f]{4})\].*?\balt=(\d+), name="([^"]*)", serial="([^"]*)"'
)
_BOOT = "start the boot loader: press the reset button twice (Arduino) or set BOOT0 (ST)"


class _DfuUtil(Tool):
    name = "dfu-util"
    get = "apt-get install dfu-util"
    needs = "dfu-util, and the board in its boot loader"
    probe_is = "the boot loader's serial number (`dfu-util -l`)"
    hints = (
        ("no dfu capable usb device", _BOOT),
        ("more than one dfu capable", "name one with --probe; `dfu-util -l` lists them"),
        ("cannot open dfu device", "allow access: tinyrobust doctor --udev; on Windows give it the "
         "WinUSB driver, with Zadig"),
        ("libusb_error_access", "allow access to the boot loader: tinyrobust doctor --udev"),
        ("libusb_error_not_supported", "on Windows: give the boot loader the WinUSB driver, with "
         "Zadig"),
        ("cannot claim interface", "another program has the boot loader: close it"),
        ("libusb_error_busy", "another program has the boot loader: close it"),
        ("can not be erased", "the boot loader forbids that address, or the flash is protected"),
        ("is not writeable", "the boot loader forbids that address: check 'load_address' and 'alt' "
         "in the board's YAML"),
        ("errvendor", "the flash is readout-protected: clear it with STM32CubeProgrammer (this "
         "erases it)"),
        ("no alternate setting", "check 'alt' in the board's YAML; `dfu-util -l` lists them"),
        ("cannot set alternate interface", "check 'alt' in the board's YAML"),
        ("lost device", "take another cable or another USB port"),
        ("error during download", "take another cable, start the boot loader again and repeat"),
    )  # fmt: skip
    # After :leave many a boot loader is gone before it has answered the last question.
    done = ("file downloaded successfully",)

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """``dfu-util -l``."""
        assert entry.usb is not None
        ids = (f"{entry.usb.vid:04x}", f"{entry.usb.pid:04x}")
        return [
            Device(serial, serial, name)
            for vid, pid, alt, name, serial in _FOUND.findall(ask([self.where(), "-l"]))
            if (vid, pid) == ids and int(alt) == entry.alt
        ]

    def commands(self, job: Job) -> list[list[str]]:
        """Device, alternate setting, address; ``leave`` starts the image."""
        usb = job.entry.usb
        assert usb is not None
        command = [self.where() or self.name, "-d", f"{usb.vid:04x}:{usb.pid:04x}",
                   "-a", str(job.entry.alt)]  # fmt: skip
        if job.probe:
            command += ["-S", job.probe]
        calls = [job.entry.touch] if job.entry.touch else []
        touch = ports.touch_commands(ports.named(ports.with_ids(calls), None)) if calls else []
        return [*touch, [*command, "-s", f"{job.start:#010x}:leave", "-D", str(job.image.bin)]]

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Call the boot loader if it must be called, then run the tool."""
        if job.entry.touch and not self.devices(job.board, job.entry):
            ports.touch_board(job.board, [job.entry.touch], progress)
            ports.wait_until(lambda: bool(self.devices(job.board, job.entry)), ports.APPEAR_S,
                             FlashError("no DFU boot loader appeared", _BOOT))  # fmt: skip
        self.run(self.commands(job)[-1], progress)

    def fraction(self, words: str) -> float | None:
        """``Download  [=====    ]  45%   12345 bytes``; erasing is the first half."""
        found = _PERCENT.search(words)
        if found is None:
            return None
        part = int(found[1]) / 200
        return part if words.startswith("Erase") else 0.5 + part


flasher = _DfuUtil()
