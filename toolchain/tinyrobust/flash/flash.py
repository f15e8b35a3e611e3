"""Stage ``flash``: choose a flasher, program, and ask the device what it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tinyrobust import virtual as virtual_boards
from tinyrobust.artefact import sha256
from tinyrobust.boards.schema import Board
from tinyrobust.boards.schema import Flasher as Entry
from tinyrobust.errors import FlashError
from tinyrobust.flash._flasher import Flasher, Image, Job
from tinyrobust.flash._tool import NO_PROGRESS, Progress
from tinyrobust.flash.ports import find_port, serial_of
from tinyrobust.flash.state import elf_file, flash_file
from tinyrobust.registry import discover, nearest

# Opens a port and gives the SHA-256 that the device computes over its own flash; the second
# argument gives a virtual board's fault report, if there is one. The device link is a floor above
# this one, so whoever calls hands it in: see cli/flash.py.
ReadHash = Callable[[str, Callable[[], object | None]], str]


@dataclass(frozen=True)
class Flashed:
    """What was done: ``command`` programs, after the others of ``commands``. ``device_sha256`` is
    None when the device was not asked."""

    board: str
    flasher: str
    command: list[str]
    commands: list[list[str]]
    probe: str | None
    virtual: bool
    dry_run: bool
    image_sha256: str
    device_sha256: str | None
    port: str | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def flashers() -> dict[str, Flasher]:
    """All flashers by id, which is the name of their file with - for _."""
    found = discover("tinyrobust.flash", "flasher")
    return {name.replace("_", "-"): flasher for name, flasher in found.items()}


def find_flasher(
    board: Board, name: str | None, *, virtual: bool, probe: str | None = None
) -> tuple[Flasher, Entry]:
    """The flasher called ``name``, else the board's first one that is installed and sees something.

    Where nothing is plugged in that a flasher could see, the first one that is installed; ``probe``
    is what the user named, if anything. Raises FlashError: unknown, not for this board, or none is
    installed (with how to get one).
    """
    known = flashers()
    rows = {row.id: row for row in board.flashers}
    for row in rows.values():
        if row.id not in known:
            raise FlashError(f"board {board.id}: no flasher '{row.id}'", nearest(row.id, known))
    if virtual and name not in (None, "virtual"):
        raise FlashError(f"flasher {name} does not program virtual boards", "leave --flasher out")
    if virtual:
        name = "virtual"
        rows.setdefault(name, Entry(id=name))
    if name is not None:
        if name not in known:
            raise FlashError(f"no flasher '{name}'", nearest(name, known))
        if name not in rows:
            raise FlashError(
                f"board {board.id} is not flashed with {name}", f"it has: {', '.join(rows)}"
            )
        if missing := known[name].missing():
            raise FlashError(f"{name} is not installed", missing)
        return known[name], rows[name]
    return _choose(board, list(rows.values()), known, probe)


def _choose(
    board: Board, rows: list[Entry], known: dict[str, Flasher], probe: str | None
) -> tuple[Flasher, Entry]:
    real = [
        row for row in rows
        if not known[row.id].virtual and known[row.id].addressed(row, probe)
    ]  # fmt: skip
    rows = real or [row for row in rows if known[row.id].virtual]
    installed = [row for row in rows if not known[row.id].missing()]
    if not installed:
        ways = " or ".join(f"{row.id}: {known[row.id].missing()}" for row in real)
        raise FlashError(
            f"no flasher for {board.id} is installed", ways or "the board file lists none"
        )
    if len(installed) > 1 and probe is None:
        for row in installed:
            if known[row.id].devices(board, row):
                return known[row.id], row
    return known[installed[0].id], installed[0]


def flash(
    image: Image,
    board: Board,
    *,
    flasher: str | None = None,
    probe: str | None = None,
    virtual: bool = False,
    port: str | None = None,
    dry_run: bool = False,
    read_hash: ReadHash | None = None,
    progress: Progress = NO_PROGRESS,
) -> Flashed:
    """Program ``image`` and compare the hash that the device computes over its own flash.

    ``probe``: which debug probe. ``virtual``: program the virtual board instead. ``port``: the
    board's serial port, found by its USB id when left out. ``dry_run``: say what would be done.
    ``read_hash`` asks the device; without it nothing is compared. ``progress`` hears what the tool
    says. Raises FlashError.
    """
    tool, entry = find_flasher(board, flasher, virtual=virtual, probe=probe)
    if tool.virtual and board.virtual is None:
        raise FlashError(f"board {board.id} has no virtual board", "flash the real one")
    if tool.virtual and (probe or port):
        raise FlashError("a virtual board has no probe and makes its own port",
                         "leave --probe and --port out")  # fmt: skip
    if probe is None and not tool.virtual:
        probe = _which_of_several(tool, board, entry, port)
    job = Job(image, board, entry, probe)
    wanted = str(image.meta["image_sha256"])
    _check_image(job, wanted)
    start = time.monotonic()
    commands = tool.commands(job)
    found: str | None = None
    if not dry_run:
        if not tool.virtual and read_hash is not None:  # a missing port is told at once
            port = port or find_port(board, probe)
        tool.program(job, progress)
        if read_hash is not None:
            progress("asking the device for the hash of its flash", None)
            found = _ask(board, tool, port, read_hash)
            _compare(found, wanted, board)
    return Flashed(
        board.id, entry.id, commands[-1], commands, probe, tool.virtual, dry_run, wanted, found,
        None if tool.virtual else port, time.monotonic() - start,
    )  # fmt: skip


def _which_of_several(tool: Flasher, board: Board, entry: Entry, port: str | None) -> str | None:
    """With several boards attached many tools would take any: the one whose serial port was named.

    None when there are not several. Raises FlashError when it cannot be told.
    """
    found = tool.devices(board, entry) or []
    if len(found) < 2:
        return None
    serial = serial_of(port) if port else ""
    mine = [device.id for device in found if serial and device.serial.lower() == serial.lower()]
    if len(mine) == 1:
        return mine[0]
    raise FlashError(
        f"{entry.id} sees {len(found)} boards: {', '.join(device.id for device in found)}",
        "name one with --probe, or flash all of them: --all",
    )


def _check_image(job: Job, wanted: str) -> None:
    if job.image.meta.get("board") != job.board.id:
        raise FlashError(
            f"the image is for {job.image.meta.get('board')}, not for {job.board.id}",
            f"build it: tinyrobust build --board {job.board.id}",
        )
    try:
        data = job.image.bin.read_bytes()
    except OSError as error:
        raise FlashError(f"cannot read {job.image.bin}: {error.strerror}", "build it") from error
    if sha256(data) != wanted:
        raise FlashError(f"{job.image.bin} is not the file that image.json names", "build it again")


def _ask(board: Board, tool: Flasher, port: str | None, read_hash: ReadHash) -> str:
    if not tool.virtual:
        assert port is not None  # found before programming
        return read_hash(port, lambda: None)
    with virtual_boards.start(
        board, None, flash_file=flash_file(board), elf=elf_file(board)
    ) as running:
        return read_hash(running.port, running.fault)


def _compare(found: str, wanted: str, board: Board) -> None:
    if found.lower() != wanted.lower():
        raise FlashError(
            f"{board.id} holds another image: SHA-256 {found[:16]}..., wanted {wanted[:16]}...",
            "flash it again; if it stays, the flash is write-protected or worn",
        )
