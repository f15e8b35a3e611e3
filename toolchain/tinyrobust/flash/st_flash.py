"""Program an STM32 with st-flash of stlink-tools (https://github.com/stlink-org/stlink).

Tested with a stand-in whose messages are those of stlink 1.7, and its arguments by the program
itself; it has never been run on hardware by this project.
"""

from __future__ import annotations

import re
import shutil

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError
from tinyrobust.flash._ask import ask
from tinyrobust.flash._flasher import Device, Job, Tool

_SERIAL = re.compile(r"[0-9A-Fa-f]+")
_COUNT = re.compile(r"(\d+)/\s*(\d+)\s*(?:half)?(?:pages|bytes|erased)|at\s+(\d+)/\s*(\d+) erased")
_PROTECTED = (
    "the flash is protected: clear the protection with STM32CubeProgrammer (this erases it)"
)


class _StFlash(Tool):
    name = "st-flash"
    get = "apt-get install stlink-tools"
    needs = "stlink-tools, and an ST-LINK"
    probe_is = "the ST-LINK's serial number (`st-info --probe`)"
    hints = (
        ("couldn't find any st-link", "plug the board in; `tinyrobust doctor` lists the probes"),
        ("could not find", "plug the board in, or check --probe"),
        ("libusb_error_access", "allow access to the probe: tinyrobust doctor --udev"),
        ("could not open usb device", "allow access to the probe: tinyrobust doctor --udev"),
        ("libusb_error_busy", "another debugger has the probe: close it (openocd, an IDE)"),
        ("unable to claim interface", "another debugger has the probe: close it (openocd, an IDE)"),
        ("could not set configuration", "another debugger has the probe: close it"),
        ("connect under reset", "check cable and power; hold the reset button while it connects"),
        ("can not connect to target", "check cable and power; hold the reset button"),
        ("unknown chip id", "this stlink does not know the chip, or another board is plugged in: "
         "take a newer stlink, or --flasher openocd"),
        ("could not find chip id", "check cable and power; hold the reset button"),
        ("write protected", _PROTECTED),
        ("failed to unlock flash", _PROTECTED),
        ("flash programming error", "flash again; if it stays, " + _PROTECTED),
        ("non-erased value", "flash again; if it stays, " + _PROTECTED),
        ("verification of flash failed", "flash again; if it stays, the flash is worn or "
         "protected"),
        ("too low for flash writes", "check the board's power"),
        ("addr too high", "the image does not fit the flash of the chip that answers"),
    )  # fmt: skip

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """``st-info --probe``, without the chips that it names as others."""
        program = shutil.which("st-info")
        if program is None:
            return None
        found, serial, chip = [], "", ""
        for line in [*ask([program, "--probe"]).splitlines(), "version:"]:
            key, _, value = line.strip().partition(":")
            if key in ("version", "serial") and serial:  # the next one begins
                if may_be(chip, board.mcu):
                    found.append(Device(serial, serial, f"ST-LINK, {chip or 'unknown chip'}"))
                serial = chip = ""
            if key == "serial":
                serial = value.strip()
            elif key in ("dev-type", "descr"):
                chip = value.strip()
        return found

    def commands(self, job: Job) -> list[list[str]]:
        """Options first, then ``write FILE ADDRESS``."""
        command = [self.where() or self.name, "--reset"]
        if job.probe:
            if not _SERIAL.fullmatch(job.probe):
                raise FlashError(f"--probe '{job.probe}' is no serial number of an ST-LINK",
                                 "`st-info --probe` lists them")  # fmt: skip
            command += ["--serial", job.probe]
        return [[*command, "write", str(job.image.bin), f"{job.start:#x}"]]

    def fraction(self, words: str) -> float | None:
        """``12/ 53 pages written``, ``1024/4096 bytes written``."""
        if found := _COUNT.search(words):
            done, total = (int(n) for n in found.groups() if n is not None)
            return min(1.0, done / total) if total else None
        return None


def may_be(chip: str, mcu: str) -> bool:
    """Whether stlink's name of a chip (``H74x/H75x``, ``STM32F446``, ``L4Rx``) may be ``mcu``'s."""
    names = re.findall(r"[A-Z]\d[0-9A-Zx]{2}", chip)
    fits = [re.match("STM32" + name.replace("x", "."), mcu) for name in names]
    return not names or any(fits)


flasher = _StFlash()
