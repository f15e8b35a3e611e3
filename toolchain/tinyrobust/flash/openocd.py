"""Program a board with OpenOCD and the configuration file that the board's YAML names.

The command line is tested with a stand-in and its configuration is parsed by OpenOCD itself; it
has never been run on hardware by this project.
"""

from __future__ import annotations

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError
from tinyrobust.flash._flasher import Device, Job, Tool
from tinyrobust.flash.ports import attached

_RULES = "allow access to the probe: tinyrobust doctor --udev says which udev rules"
_PROTECTED = ("the flash is write- or readout-protected: clear the protection with "
              "STM32CubeProgrammer (this erases it)")  # fmt: skip

# What is done of the whole when OpenOCD says so (its startup.tcl, "proc program"): it has no bar.
_STAGES = {
    "** programming started **": 0.1,
    "** programming finished **": 0.6,
    "** verify started **": 0.7,
    "** verified ok **": 0.9,
    "** resetting target **": 1.0,
}


# Boards without a probe of their own: what is usual, a CMSIS-DAP probe (DAPLink, Debug Probe).
_INTERFACE = "interface/cmsis-dap.cfg"


class _OpenOcd(Tool):
    name = "openocd"
    get = "apt-get install openocd"
    needs = "OpenOCD, and the board's own probe or one that its configuration file names"
    hints = (
        ("libusb_error_access", _RULES),
        ("libusb_error_busy", "another debugger has the probe: close it (an IDE, pyocd, st-util)"),
        ("resource busy", "another debugger has the probe: close it (an IDE, pyocd, st-util)"),
        ("serial mismatch", "check --probe; `tinyrobust doctor` lists the probes"),
        ("libusb_error_not_supported", "on Windows: give the probe the WinUSB driver, with Zadig"),
        ("open failed", "plug the board in, or allow access to it (tinyrobust doctor --udev)"),
        ("no device found", "plug the board in; `tinyrobust doctor` lists the probes"),
        ("unable to find a matching cmsis-dap", "plug the board in; `tinyrobust doctor` lists the "
         "probes"),
        ("debug adapter has to be specified", "add 'interface' to the board's YAML: OpenOCD's "
         "interface/*.cfg of the probe"),
        ("can't find", "install a newer OpenOCD, or correct 'config' in the board's YAML"),
        ("unexpected idcode", "another chip answers: is this the right board?"),
        ("cannot identify target as", "another chip answers: is this the right board?"),
        ("target voltage may be too low", "check the board's power"),
        ("target voltage too low", "check the board's power"),
        ("init mode failed", "check cable, jumpers and power; hold the reset button while it "
         "connects, or disable readout protection"),
        ("device is protected", _PROTECTED),
        ("protected", _PROTECTED),
        ("checksum mismatch", "flash again; if it stays, the flash is worn or protected"),
        ("verify failed", "flash again; if it stays, the flash is worn or protected"),
        ("programming failed", _PROTECTED + ", or the image does not fit"),
        ("address already in use", "another OpenOCD runs: end it"),
    )  # fmt: skip

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """OpenOCD lists nothing; a probe on the board shows as its serial port."""
        return attached(board) or None

    def commands(self, job: Job) -> list[list[str]]:
        """``program`` erases, writes, verifies and resets (OpenOCD manual, "Flash Programming")."""
        if job.probe and job.probe.startswith("remote:"):
            raise FlashError("OpenOCD cannot use pyOCD's remote probes", "take --flasher pyocd")
        for text in (str(job.image.hex.resolve()), job.probe or ""):
            if any(c in text for c in "{}\\\n"):
                raise FlashError(f"OpenOCD cannot be given '{text}'", "move it to a plain path")
        config = str(job.entry.config)
        interface = job.entry.interface or (_INTERFACE if config.startswith("target/") else "")
        command = [self.where() or self.name, *(["-f", interface] if interface else []),
                   "-f", config]  # fmt: skip
        if job.probe:
            command += ["-c", f"adapter serial {{{job.probe}}}"]
        return [[*command, "-c", f"program {{{job.image.hex.resolve()}}} verify reset exit"]]

    def fraction(self, words: str) -> float | None:
        return _STAGES.get(words.strip().lower())


flasher = _OpenOcd()
