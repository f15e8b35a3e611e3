"""Program a board with pyOCD, over any probe it knows, a remote one included."""

from __future__ import annotations

import importlib.util
import shutil
import sys

from tinyrobust.errors import FlashError
from tinyrobust.flash._flasher import Job, run_tool

_HINTS = (
    ("no available debug probe", "plug the board in; `tinyrobust doctor` lists the probes"),
    ("no connected debug probe", "plug the board in; `tinyrobust doctor` lists the probes"),
    ("no matching debug probe", "check --probe; `tinyrobust doctor` lists the probes"),
    ("connection refused", "start the remote probe first and check its port"),
    ("not recognized", "install the target's pack: pyocd pack install TARGET"),
    ("permission", "allow access to the probe: install the udev rules of pyOCD"),
    ("access denied", "allow access to the probe: install the udev rules of pyOCD"),
    ("no ack", "check the cable and power; hold the reset button while it connects"),
    ("multiple", "name one with --probe; `tinyrobust doctor` lists them"),
)


class _PyOcd:
    virtual = False

    def missing(self) -> str:
        return "" if self._program() else "pip install 'tinyrobust[flash]'"

    def _program(self) -> list[str]:
        if importlib.util.find_spec("pyocd"):
            return [sys.executable, "-m", "pyocd"]
        found = shutil.which("pyocd")
        return [found] if found else []

    def command(self, job: Job) -> list[str]:
        """``pyocd load`` with the target spelled out; it erases, programs, and resets."""
        if job.entry.target is None:
            raise FlashError(
                f"board {job.board.id}: flasher pyocd has no target", "add it to the board's YAML"
            )
        command = [*self._program(), "load", "--no-wait", "--target", job.entry.target]
        if job.probe:
            command += ["--uid", job.probe]
        return [*command, "--format", "hex", str(job.image.hex)]

    def program(self, job: Job) -> None:
        """Run it. pyOCD ends with status 0 when it finds no probe: its output tells."""
        output = run_tool("pyocd", self.command(job), _HINTS)
        for text, hint in _HINTS[:3]:
            if text in output.lower():
                raise FlashError(f"pyocd found no debug probe for {job.board.id}", hint)


flasher = _PyOcd()
