"""Stage ``flash``: what a flasher is, and running the tools behind it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError

TIMEOUT_S = 300.0
_LAST_LINES = 3


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
    id or None for the only one."""

    image: Image
    board: Board
    entry: Entry
    probe: str | None = None


class Flasher(Protocol):
    """One way to program boards."""

    virtual: bool  # programs a virtual board

    def missing(self) -> str:
        """How to get the tool, or nothing when it is installed."""
        ...

    def command(self, job: Job) -> list[str]:
        """The command line (of a tool), or what is done, for people."""
        ...

    def program(self, job: Job) -> None:
        """Program the image. Raises FlashError."""
        ...


def run_tool(name: str, command: Sequence[str], hints: Sequence[tuple[str, str]]) -> str:
    """Run a flashing tool; its output.

    Raises FlashError with the tool's own last words and, from ``hints`` (text in the output ->
    what to try), a next step. A KeyboardInterrupt ends the tool first.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise FlashError(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        output = process.communicate(timeout=TIMEOUT_S)[0].decode(errors="replace")
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise FlashError(
            f"{name} did not finish within {TIMEOUT_S:.0f} s", "unplug the probe and try again"
        ) from error
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)  # Ctrl-C reached the tool too
        process.kill()
        process.communicate()
        raise
    wrong = next((hint for text, hint in hints if text.lower() in output.lower()), "")
    if process.returncode:
        lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
        said = " / ".join(lines[-_LAST_LINES:]) or "it said nothing"
        raise FlashError(
            f"{name} failed (status {process.returncode}): {said}",
            wrong or f"run it by hand: {' '.join(command)}",
        )
    return output
