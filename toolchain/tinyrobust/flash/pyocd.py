"""Program a board with pyOCD, over any probe it knows, a remote one included."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.flash._ask import ask
from tinyrobust.flash._flasher import Device, Job, Tool

_NO_PROBE = "plug the board in; `tinyrobust doctor` lists the probes"
_RULES = "allow access to the probe: tinyrobust doctor --udev says which udev rules"


class _PyOcd(Tool):
    name = "pyocd"
    get = "pip install 'tinyrobust[flash]'"
    needs = "pyOCD, and a debug probe: ST-LINK, CMSIS-DAP (DAPLink) or J-Link"
    probe_is = "the probe's unique id (`pyocd list`), or remote:HOST:PORT"
    hints = (
        ("no available debug probe", _NO_PROBE),
        ("no connected debug probe", _NO_PROBE),
        ("no matching debug probe", "check --probe; `tinyrobust doctor` lists the probes"),
        ("no target device available", _NO_PROBE),
        ("connection refused", "start the remote probe first and check its port"),
        ("not recognized", "install the target's pack: pyocd pack install TARGET"),
        ("permission", _RULES),
        ("access denied", _RULES),
        ("libusb_error_access", _RULES),
        ("no libusb", "install libusb-1.0 (on Windows: the WinUSB driver, with Zadig)"),
        ("resource busy", "another debugger has the probe: close it (openocd, an IDE)"),
        ("libusb_error_busy", "another debugger has the probe: close it (openocd, an IDE)"),
        ("already open", "another debugger has the probe: close it (openocd, an IDE)"),
        ("approtect", "the chip is locked: pyocd erase --chip --target TARGET unlocks it and "
         "erases everything, the boot loader too"),
        ("unsupported stlink version", "update the ST-LINK's firmware (STM32CubeProgrammer)"),
        ("update the firmware", "update the ST-LINK's firmware (STM32CubeProgrammer)"),
        ("program page failure", "flash again; if it stays, that flash is write-protected: clear "
         "the protection in the option bytes"),
        ("erase sector failure", "flash again; if it stays, that flash is write-protected: clear "
         "the protection in the option bytes"),
        ("no ack", "check the cable and power; hold the reset button while it connects"),
        ("enter the number of the debug probe", "name one with --probe; `tinyrobust doctor` lists "
         "them"),
    )  # fmt: skip
    failed = ("no available debug probe", "no connected debug probe", "no matching debug probe",
              "no target device available")  # fmt: skip

    def where(self) -> str:
        """How it is called."""
        return " ".join(self.call())

    def call(self) -> list[str]:
        """The first words of a command line: this Python's pyOCD, else the one on PATH."""
        if importlib.util.find_spec("pyocd"):
            return [sys.executable, "-m", "pyocd"]
        found = shutil.which("pyocd")
        return [found] if found else []

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """pyOCD's own list, without the boards that it knows to be others."""
        answer = ask([*self.call(), "json", "--probes"])
        try:
            listed = json.loads(answer)["boards"]
            return [
                Device(
                    str(row["unique_id"]), str(row["unique_id"]),
                    f"{row.get('vendor_name', '')} {row.get('product_name', '')}".strip(),
                )
                for row in listed
                if _may_be(str(row.get("target")), str(entry.target))
            ]  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return None

    def commands(self, job: Job) -> list[list[str]]:
        """``pyocd load`` with the target spelled out; it erases, programs, and resets."""
        command = [*self.call(), "load", "--no-wait", "--target", str(job.entry.target)]
        if job.probe:
            command += ["--uid", job.probe]
        return [[*command, "--format", "hex", str(job.image.hex)]]

    def fraction(self, words: str) -> float | None:
        """Where its output is no terminal, the bar is a row of 40 signs that grows, under a scale
        (pyocd/utility/progress.py)."""
        if words.startswith("[---|"):
            return 0.0
        if words.startswith("[=") and not words.strip("[]="):
            return min(1.0, words.count("=") / 40)
        return None


def _may_be(found: str, wanted: str) -> bool:
    """Whether a probe's board, as pyOCD knows it, may be the one wanted: the same family, since a
    chip has several names (stm32h743xx, stm32h743zi)."""
    return found in ("None", "", "cortex_m") or found[:9] == wanted[:9]


flasher = _PyOcd()
