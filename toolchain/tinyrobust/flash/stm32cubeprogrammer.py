"""Program an STM32 with ST's STM32CubeProgrammer, its command line (UM2237).

Tested with a stand-in that knows UM2237's arguments and the program's messages; it has never been
run by this project.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.flash._ask import ask
from tinyrobust.flash._flasher import Device, Job, Tool

# Where ST's installer puts it.
_USUAL = Path("STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin/STM32_Programmer_CLI")
_PERCENT = re.compile(r"(\d{1,3})\s?%")
_NO_TARGET = ("check cable, jumpers and power, and that this is the right board; a chip with "
              "readout protection or debug authentication must be unlocked first")  # fmt: skip
_PROTECTED = ("the flash is protected: clear it with -ob RDP=0xAA (this erases the chip), or the "
              "write protection of its sectors")  # fmt: skip


class _CubeProgrammer(Tool):
    name = "STM32_Programmer_CLI"
    get = "install STM32CubeProgrammer from st.com and put its bin folder on PATH"
    needs = "STM32CubeProgrammer (st.com), and an ST-LINK"
    probe_is = "the ST-LINK's serial number (`STM32_Programmer_CLI -l`)"
    hints = (
        ("no debug probe detected", "plug the board in; `tinyrobust doctor` lists the probes"),
        ("no st-link detected", "plug the board in; `tinyrobust doctor` lists the probes"),
        ("st-link with serial number", "check --probe: STM32_Programmer_CLI -l"),
        ("st-link could not be opened", "allow access: tinyrobust doctor --udev; close other "
         "debuggers (an IDE, openocd)"),
        ("dev_usb_comm_err", "close other debuggers, plug the board in again; if it stays, update "
         "the ST-LINK's firmware"),
        ("st-link in use", "another debugger has the probe: close it"),
        ("old st-link firmware", "update the ST-LINK's firmware, with STM32CubeProgrammer itself"),
        ("no stm32 target found", _NO_TARGET),
        ("dev_target_not_halted", _NO_TARGET),
        ("dev_connect_err", _NO_TARGET),
        ("unable to get core id", _NO_TARGET),
        ("unknown or unsupported device", "take a newer STM32CubeProgrammer, or is this another "
         "board?"),
        ("read out protection", _PROTECTED),
        ("readout protection", _PROTECTED),
        ("failed to erase memory", _PROTECTED),
        ("may be not erased or protected", _PROTECTED),
        ("data mismatch found", "flash again; if it stays, the flash is worn or protected"),
        ("verification failed", "flash again; if it stays, the flash is worn or protected"),
    )  # fmt: skip
    # It is known to end with status 0 after an "Error:".
    failed = ("error: ",)

    def where(self) -> str:
        """On PATH, or where ST's installer puts it."""
        usual = Path.home() / _USUAL
        return shutil.which(self.name) or (str(usual) if usual.is_file() else "")

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """``-l st-link``, without boards whose name tells another chip."""
        found: list[Device] = []
        for part in re.split(r"ST-?LINK Probe \d+", ask([self.where(), "-l", "st-link"]),
                             flags=re.IGNORECASE)[1:]:  # fmt: skip
            serial = re.search(r"ST-LINK SN\s*:\s*(\S+)", part)
            name = re.search(r"Board Name\s*:\s*(\S+)", part)
            title = name[1] if name and name[1] != "--" else ""
            other = title.startswith("NUCLEO-") and board.mcu[5:9] not in title
            if serial and not other:
                found.append(Device(serial[1], serial[1], title or "ST-LINK"))
        return found

    def commands(self, job: Job) -> list[list[str]]:
        """UM2237: ``-c`` connect under reset, ``-w`` program, ``-v`` verify, ``-rst`` reset."""
        connect = ["-c", "port=SWD", *([f"sn={job.probe}"] if job.probe else []), "mode=UR",
                   "reset=HWrst"]  # fmt: skip
        return [[self.where() or self.name, *connect, "-w", str(job.image.hex), "-v", "-rst"]]

    def fraction(self, words: str) -> float | None:
        """A bar with percents."""
        found = _PERCENT.search(words)
        return min(1.0, int(found[1]) / 100) if found else None


flasher = _CubeProgrammer()
