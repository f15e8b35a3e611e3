"""Faults planted in ports: ``faults.yaml`` beside a port, or beside a core's start-up code.

In: ``firmware/ports/<folder>/faults.yaml`` (``FaultFile``). Out: for every board that the folder's
code runs on, a firmware with that fault, run on the virtual board in strict mode, and the report.

A fault is a text in a source file replaced by another one, in a temporary copy, or facts of the
board file that are set otherwise (a clock that never gets ready). ``caught`` must be in the report:
it names the fault, so a firmware that merely falls over somewhere is not caught.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tinyrobust import boards, resources, yamlfile
from tinyrobust.boards import Board
from tinyrobust.errors import BoardError
from tinyrobust.image import compilers
from tinyrobust.image.build import board_text, firmware_source
from tinyrobust.image.elf import Elf
from tinyrobust.image.link import link
from tinyrobust.image.objects import Source, compile_all
from tinyrobust.image.ports import core_folders, port_file
from tinyrobust.virtual.machine import Machine
from tinyrobust.virtual.terminal import Terminal

PORTS = resources.root() / "firmware" / "ports"
PATIENCE_S = 60.0
SAID = b"ready\n"
SENT = b"?!"  # two: the first must not lose the second

# What every port must do: initialise memory, start, speak, hear, count, start again. Bounded, so
# that a deaf port ends.
PROGRAM = """
#include "tr_port.h"
volatile uint32_t initialised = 0x12345678;
volatile uint32_t zeroed;
static void say(const char* text) {
  uint32_t length = 0;
  while (text[length] != 0) ++length;
  tr_port_write(reinterpret_cast<const uint8_t*>(text), length);
}
int main() {
  tr_port_init();
  say("ready\\n");
  if (initialised != 0x12345678) say("initial values are not copied\\n");
  if (zeroed != 0) say("memory is not zeroed\\n");
  if (*tr_port_stack_low() != TR_STACK_PAINT) say("the stack is not painted\\n");
  uint8_t answers[2];
  for (uint8_t& answer : answers) {
    int heard = -1;
    for (uint32_t tries = 0; heard < 0 && tries < 300000; ++tries) heard = tr_port_read();
    answer = heard < 0 ? '-' : static_cast<uint8_t>(heard);
  }
  tr_port_write(answers, 2);
  const uint32_t before = tr_port_cycles();
  for (volatile int i = 0; i < 1000; ++i) {
  }
  if (tr_port_cycles() - before < 20) say("the cycle counter stands still\\n");
  say("+");
  tr_port_reset();
  return 0;
}
"""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Fault(_Strict):
    """One thing that keeps a port from starting on silicon.

    Either ``old`` in ``file`` (of the folder) becomes ``new``, once; or ``set`` gives facts of the
    board other values, by their path: ``unicorn.peripherals.RCC.registers.CR.follows`` goes through
    lists by ``name``. ``caught`` is a part of the report. ``boards``: only these; ``where``: only
    boards that have a floating-point unit (fpu), count cycles with DWT (dwt), or whose image is
    not at address 0, and no boot block told the core so (elsewhere). ``linked``: for which board
    the firmware is built when ``set`` changes what the linker reads; the changed one, or the one
    ``as it was``.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    file: str | None = None
    old: str | None = None
    new: str | None = None
    set: dict[str, Any] = {}
    caught: Annotated[str, Field(min_length=4)]
    boards: list[str] = []
    linked: Literal["changed", "as it was"] = "changed"
    where: Literal["fpu", "dwt", "elsewhere"] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Fault:
        text = (self.file, self.old, self.new)
        if (None in text) != (text == (None, None, None)) or bool(self.set) == (None not in text):
            raise ValueError("give file, old and new, or set")
        return self

    def concerns(self, board: Board) -> bool:
        """True when it would be a fault on that board."""
        is_so = {
            None: True,
            "fpu": board.fpu is not None,
            "dwt": board.cycle_counter == "dwt",
            "elsewhere": board.image_origin != 0 and board.boot_block is None,
        }
        return is_so[self.where] and (not self.boards or board.id in self.boards)


class FaultFile(_Strict):
    """All faults of a folder of ``firmware/ports``."""

    faults: Annotated[list[Fault], Field(min_length=1)]


@dataclass(frozen=True)
class Case:
    """A fault of ``folder``, planted in ``board``'s firmware."""

    board: str
    folder: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.board}-{self.folder}-{self.fault.name}"


def virtual_boards() -> list[str]:
    """Bare-metal boards that Unicorn can run."""
    found = {name: boards.load(name) for name in boards.names()}
    return [name for name, board in found.items() if board.unicorn and not board.is_host]


def files() -> dict[str, FaultFile]:
    """Faults by folder."""
    found = sorted(PORTS.glob("*/faults.yaml"))
    return {p.parent.name: yamlfile.load(p, FaultFile, BoardError) for p in found}


def cases() -> list[Case]:
    """Every fault on every board of its port; those of a folder that several ports use on one board
    of each, and those of a core's folder on one board of each core: it is the same code on their
    other boards."""
    known, made = files(), []
    seen: set[tuple[str, str]] = set()
    for name in virtual_boards():
        board = boards.load(name)
        uses = port_file(board.port).uses
        for folder in (board.port, *core_folders(board)):
            group = name if folder == board.port else board.port if folder in uses else board.core
            if folder not in known or (folder, group) in seen:
                continue
            seen.add((folder, group))
            made += [Case(name, folder, f) for f in known[folder].faults if f.concerns(board)]
    return made


def run(name: str, folder: Path, case: Case | None = None) -> str:
    """What comes of the firmware of board ``name``, with a fault or without: the report of the
    virtual board, ``"sound"``, or what is wrong with what it said."""
    own = board = boards.load(name)
    if case is not None and case.fault.set:
        board = changed(board, case.fault.set)
    as_it_was = case is not None and case.fault.linked == "as it was"
    return boot(board, folder, own if as_it_was else board, case)


def boot(
    board: Board, folder: Path, linked_for: Board | None = None, case: Case | None = None
) -> str:  # fmt: skip
    """Build for ``linked_for`` (else ``board``), run on ``board``; as ``run``."""
    elf = build(linked_for or board, folder, case)
    return _boot(board, elf, Elf(elf).flash_image()[1])


def changed(board: Board, facts: dict[str, Any]) -> Board:
    """``board`` with other facts; raises KeyError for a path that is not there."""
    data = board.as_dict()
    for path, value in facts.items():
        *steps, last = path.split(".")
        where: Any = data
        for step in steps:
            where = _step(where, step)
        if last not in where:
            raise KeyError(path)
        where[last] = value
    return Board.model_validate(data, strict=False)


def _step(where: Any, step: str) -> Any:
    if isinstance(where, dict):
        return where[step]
    return next(row for row in where if row["name"] == step)


def build(board: Board, folder: Path, case: Case | None = None) -> Path:
    """Link ``PROGRAM`` with the board's port; the ELF."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.cpp").write_text(PROGRAM)
    (folder / "board.cpp").write_text(board_text(board))
    sources = [Source(folder / f, f"test/{f}", ("-O2",)) for f in ("main.cpp", "board.cpp")]
    folders = [PORTS / f for f in (board.port, *core_folders(board))]
    for path in sorted(p for f in folders for p in f.iterdir()):
        if path.suffix in (".cpp", ".S"):
            made = firmware_source(path)
            sources.append(Source(plant(path, folder, case), made.name, made.flags))
    compiler = compilers.for_board(board)
    include = [PORTS.parent, PORTS.parent / "include", *folders]
    for header in sorted(p for f in folders for p in f.glob("*.hpp")):
        if plant(header, folder, case) != header:
            include.insert(0, folder / "planted")
    objects = compile_all(sources, compiler, include, folder / "objects")
    return link(board, compiler, [o.path for o in objects], folder)


def plant(path: Path, folder: Path, case: Case | None) -> Path:
    """A copy of ``path`` with the fault, or ``path`` itself when it is in another file."""
    fault = case.fault if case else None
    if case is None or fault is None or path != PORTS / case.folder / (fault.file or ""):
        return path
    assert fault.old is not None and fault.new is not None
    text = path.read_text()
    assert text.count(fault.old) == 1, f"{path.name} has {text.count(fault.old)} of: {fault.old}"
    copy = folder / "planted" / path.name
    copy.parent.mkdir()
    copy.write_text(text.replace(fault.old, fault.new))
    return copy


def _boot(board: Board, elf: Path, image: bytes) -> str:
    """Run it in a process of its own until it faults or starts again."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    terminal = Terminal.open()
    os.write(terminal.user, SENT)
    content = b"\xff" * (board.image_origin - board.flash.origin) + image
    arguments = (theirs, board, elf, content, terminal.device)
    process = context.Process(target=_run, args=arguments)
    process.start()
    theirs.close()
    try:
        report = ours.recv() if ours.poll(PATIENCE_S) else "it never ended"
        said = _said(terminal.user)
    except EOFError:
        report, said = "the machine died", b""
    finally:
        process.kill()
        process.join()
        terminal.close()
    if report:
        return str(report)
    wanted = SAID + SENT + b"+"
    return "sound" if said == wanted else f"the line carried {said!r} instead of {wanted!r}"


def _run(answer: Connection, board: Board, elf: Path, content: bytes, device: int) -> None:
    machine = Machine(board, content, device, elf=elf, strict=True)
    report = machine.run(max_resets=0)
    machine.hooks.flush()
    answer.send("" if report is None else report.summary())
    answer.close()
    time.sleep(PATIENCE_S)  # the reader ends this process: nothing is torn down here


def _said(descriptor: int) -> bytes:
    data = b""
    while select.select([descriptor], [], [], 0.0)[0]:
        data += os.read(descriptor, 4096)
    return data
