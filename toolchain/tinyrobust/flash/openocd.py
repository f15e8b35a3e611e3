"""Program a board with OpenOCD and the configuration file that the board's YAML names.

The command line is tested with a stand-in and its configuration is parsed by OpenOCD itself; it
has never been run on hardware by this project.
"""

from __future__ import annotations

import shutil

from tinyrobust.errors import FlashError
from tinyrobust.flash._flasher import Job, run_tool

_HINTS = (
    ("open failed", "plug the board in, or allow access to it (OpenOCD's udev rules)"),
    ("no device found", "plug the board in; `tinyrobust doctor` lists the probes"),
    ("libusb_error_access", "allow access to the probe: install OpenOCD's udev rules"),
    ("can't find", "install a newer OpenOCD, or correct 'config' in the board's YAML"),
    ("target voltage may be too low", "check the board's power"),
    ("checksum mismatch", "flash again; if it stays, the flash is worn or protected"),
    ("verify failed", "flash again; if it stays, the flash is worn or protected"),
)


class _OpenOcd:
    virtual = False

    def missing(self) -> str:
        return "" if shutil.which("openocd") else "apt-get install openocd"

    def command(self, job: Job) -> list[str]:
        """``program`` erases, writes, verifies and resets (OpenOCD manual, "Flash Programming")."""
        if job.entry.config is None:
            raise FlashError(
                f"board {job.board.id}: flasher openocd has no config", "add it to the board's YAML"
            )
        if job.probe and job.probe.startswith("remote:"):
            raise FlashError("OpenOCD cannot use pyOCD's remote probes", "take --flasher pyocd")
        for text in (str(job.image.hex.resolve()), job.probe or ""):
            if any(c in text for c in "{}\\\n"):
                raise FlashError(f"OpenOCD cannot be given '{text}'", "move it to a plain path")
        command = [shutil.which("openocd") or "openocd", "-f", job.entry.config]
        if job.probe:
            command += ["-c", f"adapter serial {{{job.probe}}}"]
        return [*command, "-c", f"program {{{job.image.hex.resolve()}}} verify reset exit"]

    def program(self, job: Job) -> None:
        """Run it."""
        run_tool("openocd", self.command(job), _HINTS)


flasher = _OpenOcd()
