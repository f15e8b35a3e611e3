"""Program a board through a GDB remote stub: QEMU's, or a debug server that can write flash (those
of OpenOCD, pyOCD, J-Link, ST).

Run for real against QEMU, empty and with firmware, and against pyOCD's server on a virtual probe.
"""

from __future__ import annotations

import re
import shutil

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError
from tinyrobust.flash._flasher import Device, Job, Tool
from tinyrobust.flash._tool import NO_PROGRESS, Progress

_PROGRAMS = ("gdb-multiarch", "arm-none-eabi-gdb")
_REMOTE = re.compile(r"[A-Za-z0-9_.:\[\]-]+:\d+")
_CONNECT_S = 5
_SECTION = re.compile(r"Loading section (\S+), size (0x[0-9a-f]+) lma")
_COMPARED = re.compile(r"^Section .*: (matched|MIS-MATCHED!)", re.MULTILINE)
_START = "start the stub first: tinyrobust simulate --gdb-port N, or OpenOCD, pyocd gdbserver"


class _Gdb(Tool):
    name = "gdb"
    get = "apt-get install gdb-multiarch (or Arm's toolchain, which has arm-none-eabi-gdb)"
    needs = "gdb-multiarch or arm-none-eabi-gdb, and a running stub"
    probe_is = "HOST:PORT of the stub"
    hints = (
        ("connection timed out", _START),
        ("connection refused", _START),
        ("could not connect", _START),
        ("remote replied unexpectedly", "something else listens on that port; " + _START),
        ("ignoring packet error", "another debugger has the stub, or something else listens there"),
        ("remote connection closed", "the stub ended: see what it said"),
        ("load failed", "the stub cannot write there: is it for this board, and unlocked?"),
        ("cannot access memory", "the stub cannot write there: is it for this board?"),
        ("mis-matched", "load again; if it stays, the memory is protected or the stub is for "
         "another board"),
        ("no symbol table is loaded", "build the image again"),
    )  # fmt: skip
    failed = ("mis-matched!", "connection timed out", "load failed", "remote connection closed")

    def __init__(self) -> None:
        self._sections: dict[str, int] = {}
        self._total = 0

    def where(self) -> str:
        """The first of the two."""
        return next(filter(None, map(shutil.which, _PROGRAMS)), "")

    def addressed(self, entry: Entry, probe: str | None) -> bool:
        """Stubs have no place of their own."""
        return bool(probe or entry.remote)

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """Nobody lists stubs."""
        return None

    def commands(self, job: Job) -> list[list[str]]:
        """Reset, load, compare, start at the vector table as a reset would, let go.

        Without the reset the last program's MPU would stop the next one. ``monitor reset halt`` is
        OpenOCD's, pyOCD's and J-Link's, ``monitor system_reset`` QEMU's; each says that it does not
        know the other, which gdb takes lightly. DDI0403, "Reset behavior": SP and PC come from the
        vector table, EPSR.T from bit 0 of the latter.
        """
        remote = job.probe or job.entry.remote
        if remote is None:
            raise FlashError("gdb needs the address of a stub", "give --probe HOST:PORT")
        if not _REMOTE.fullmatch(remote):
            raise FlashError(
                f"'{remote}' is no HOST:PORT of a GDB stub", "as --probe localhost:3333"
            )
        lines = (
            "set confirm off",
            f"set tcp connect-timeout {_CONNECT_S}",
            f"target extended-remote {remote}",
            "monitor reset halt",
            "monitor system_reset",
            "load",
            "compare-sections",
            "set $sp = ((unsigned int *)&tr_vectors)[0]",
            "set $xpsr = 0x01000000",
            "set $pc = ((unsigned int *)&tr_vectors)[1] & ~1",
            "detach",
        )
        script = [word for line in lines for word in ("-ex", line)]
        return [[self.where() or _PROGRAMS[0], "-nx", "-batch", *script, str(job.image.elf)]]

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Run it; gdb ends with status 0 whatever happened, so its words are read."""
        work = _Gdb()  # counts of its own: several may run at once
        work._total = max(1, job.image.bin.stat().st_size if job.image.bin.is_file() else 1)
        said = work.run(self.commands(job)[0], progress)
        compared = _COMPARED.findall(said)
        if "Transfer rate" not in said or not compared:
            raise FlashError("gdb loaded nothing: " + " / ".join(said.strip().splitlines()[-3:]),
                             _START)  # fmt: skip
        progress(f"{len(compared)} sections compared, all matched", 1.0)

    def fraction(self, words: str) -> float | None:
        """It names sections as it begins them; a line may be seen twice, cut and whole."""
        found = _SECTION.match(words)
        if found is None or not self._total:
            return None
        name, size = found.groups()
        self._sections.setdefault(name, int(size, 16))
        before = sum(n for other, n in self._sections.items() if other != name)
        return min(1.0, before / self._total)


flasher = _Gdb()
