"""Stage ``flash``: what a flasher is.

A flasher is a file here that defines ``flasher``; its name, with ``-`` for ``_``, is the ``id`` of
its rows in board files. Most of them run somebody's tool, through ``_tool.py``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.flash._tool import NO_PROGRESS, Hints, Progress, run_tool


class Image(Protocol):
    """What is needed of ``image.Image``."""

    @property
    def elf(self) -> Path: ...
    @property
    def bin(self) -> Path: ...
    @property
    def hex(self) -> Path: ...
    @property
    def meta(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class Job:
    """One thing to flash: ``entry`` is the flasher's row of the board's YAML, ``probe`` a probe's
    id (what that is, the flasher says) or None for the only one."""

    image: Image
    board: Board
    entry: Entry
    probe: str | None = None

    @property
    def start(self) -> int:
        """The address that the image starts at."""
        return self.board.image_origin


@dataclass(frozen=True)
class Device:
    """Something plugged in that a flasher can program: ``id`` is what ``--probe`` takes, ``serial``
    the USB serial number, by which the board's serial port is found."""

    id: str
    serial: str
    description: str


class Flasher(Protocol):
    """One way to program boards."""

    virtual: bool  # programs a virtual board
    needs: str  # what must be installed and plugged in, for people
    probe_is: str  # what ``--probe`` takes

    def where(self) -> str:
        """The program that does it, or nothing when it is not installed."""
        ...

    def missing(self) -> str:
        """How to get the tool, or nothing when it is installed."""
        ...

    def addressed(self, entry: Entry, probe: str | None) -> bool:
        """False when it cannot be chosen by itself, for want of an address."""
        ...

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """What is plugged in that may be a ``board``; None when this flasher cannot tell."""
        ...

    def commands(self, job: Job) -> list[list[str]]:
        """The command lines, the last of which programs; of no tool, what is done, for people."""
        ...

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Program the image. Raises FlashError."""
        ...


class Tool:
    """A flasher that is a program: what most of them share."""

    virtual: ClassVar[bool] = False
    needs: ClassVar[str] = ""
    probe_is: ClassVar[str] = "the probe's USB serial number"
    name: ClassVar[str] = ""  # of the program
    get: ClassVar[str] = ""  # how to get it
    hints: ClassVar[Hints] = ()
    # Words of a failure that the program's exit status does not tell, and of a success likewise.
    failed: ClassVar[tuple[str, ...]] = ()
    done: ClassVar[tuple[str, ...]] = ()

    def where(self) -> str:
        """Its path."""
        return shutil.which(self.name) or ""

    def missing(self) -> str:
        """How to get it, when it is not installed."""
        return "" if self.where() else self.get

    def addressed(self, entry: Entry, probe: str | None) -> bool:
        """A tool finds its probe."""
        return True

    def devices(self, board: Board, entry: Entry) -> list[Device] | None:
        """Unless a tool has a list."""
        return None

    def commands(self, job: Job) -> list[list[str]]:
        """The command lines, the last of which programs."""
        raise NotImplementedError

    def fraction(self, words: str) -> float | None:
        """How much is done, 0 to 1, by what the tool has just said; None: it does not say."""
        return None

    def run(self, command: list[str], progress: Progress) -> str:
        """Run ``command`` with this tool's hints. Raises FlashError."""
        return run_tool(
            self.name, command, self.hints, progress=progress, fraction=self.fraction,
            failed=self.failed, done=self.done,
        )  # fmt: skip

    def program(self, job: Job, progress: Progress = NO_PROGRESS) -> None:
        """Run the commands."""
        for command in self.commands(job):
            self.run(command, progress)
