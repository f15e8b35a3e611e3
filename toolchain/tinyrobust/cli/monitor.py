"""Show what a board says and hears, decoded."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import board_option, build_folder, console

if TYPE_CHECKING:
    from tinyrobust.boards import Board
    from tinyrobust.device.link import FaultProbe
    from tinyrobust.device.monitor import Known

_STYLES = {"host": "cyan", "board": "", "monitor": "dim"}


@click.command(short_help="Show what a board says and hears, decoded.")
@board_option
@click.option("--port", metavar="PORT", help="Serial port.  [default: found by its USB id]")
@click.option("--virtual", is_flag=True, help="Start the virtual board, as it was flashed last.")
@click.option("--image", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Built image, for names of functions and classes.  "
              "[default: build/BOARD/MODEL of the model that answers]")  # fmt: skip
@click.option("--link", type=click.Path(path_type=Path), metavar="PATH",
              help="Also make this symbolic link to the port for other programs.")  # fmt: skip
@click.option("--baud", type=click.IntRange(min=1200), default=115200, show_default=True,
              help="Rate to begin with; then what the other program sets.")  # fmt: skip
@click.option("--hello/--quiet", default=True,
              help="Ask the board who it is, or only listen.  [default: ask]")  # fmt: skip
@click.option("--reset", is_flag=True, help="Restart the board first (firmware of ours).")
@click.option("--fault", "read_record", is_flag=True,
              help="Only say why a board stopped: read its fault record with pyOCD.")  # fmt: skip
@click.option("--probe", metavar="ID", help="Debug probe for --fault, if there are several.")
@click.option("--seconds", type=click.FloatRange(min=0), metavar="S",
              help="End by itself.  [default: Ctrl-C ends it]")  # fmt: skip
@click.option("--json", "json_file", metavar="FILE",
              help="Write a line of JSON for each event; '-' for standard output.")  # fmt: skip
def command(
    board_name: str, port: str | None, virtual: bool, folder: Path | None, link: Path | None,
    baud: int, hello: bool, reset: bool, read_record: bool, probe: str | None,
    seconds: float | None, json_file: str | None,
) -> None:  # fmt: skip
    """Show what a board says and hears, decoded, with the time of each message.

    Frames of the protocol become words, addresses in text get the name of the function, other bytes
    are shown in hex. Another program may talk to the board meanwhile, through the port that is
    printed: `tinyrobust evaluate --port` with it shows both directions. Ctrl-C ends it.

    A real board that faults stops and says nothing more; --fault tells where and why (exit 2).
    """
    from tinyrobust import boards
    from tinyrobust.device import wire
    from tinyrobust.device.monitor import Event, Monitor
    from tinyrobust.device.transport import SerialTransport
    from tinyrobust.flash.ports import find_port
    from tinyrobust.virtual.terminal import PortLink, Terminal

    if virtual and port:
        raise click.UsageError("give either --virtual or --port PORT")
    if probe and not read_record:
        raise click.UsageError("--probe is for --fault")
    board = boards.load(board_name)
    screen = console(json_file)
    if read_record:
        _fault(board, folder, probe, screen, json_file)
        return
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(_lines(json_file))
        fault: FaultProbe = lambda: None  # noqa: E731
        if virtual:
            port, fault = stack.enter_context(_virtual(board))
        port = port or find_port(board)

        def say(event: Event) -> None:
            screen.print(event.line(), style=_STYLES[event.source], soft_wrap=True)
            if lines is not None:
                lines.write(json.dumps(event.as_dict()) + "\n")
                lines.flush()

        transport = SerialTransport(port, baud)
        stack.callback(transport.close)
        through = Terminal.open()
        stack.callback(through.close)
        if link is not None:
            stack.enter_context(PortLink(link, through.port))
        monitor = Monitor(transport, say, passthrough=through, fault=fault, baud=baud,
                          meet=lambda fields: _known(board, folder, fields))  # fmt: skip
        if folder is not None and (known := _known(board, folder, None)):
            monitor.know(known)
        screen.print(f"listening to {port}; other programs: {link or through.port}; Ctrl-C ends it",
                     soft_wrap=True)  # fmt: skip
        if lines is not None:
            lines.write(json.dumps({
                "schema": "tinyrobust.monitor/1", "board": board.id, "port": port,
                "passthrough": through.port, "protocol": wire.VERSION,
            }) + "\n")  # fmt: skip
            lines.flush()
        with contextlib.suppress(KeyboardInterrupt):
            monitor.run(hello=hello, reset=reset, seconds=seconds)


def _fault(
    board: Board, folder: Path | None, probe: str | None, screen: Any, json_file: str | None
) -> None:
    """Raises DeviceFault when the board has recorded a fault."""
    from tinyrobust import image
    from tinyrobust.errors import DeviceFault
    from tinyrobust.flash.fault_record import read_fault
    from tinyrobust.graph.model import DEFAULT_MODEL

    found = read_fault(
        board, image.load(folder or build_folder(None, board.id, DEFAULT_MODEL)), probe
    )
    with _lines(json_file) as lines:
        if lines is not None:
            fault = found.as_dict() if found else None
            lines.write(json.dumps({"schema": "tinyrobust.fault/1", "board": board.id,
                                    "fault": fault}) + "\n")  # fmt: skip
    if found is None:
        screen.print(f"{board.id} has recorded no fault since it started")
        return
    words = [f"{name} {value:08x}" for name, value in found.registers.items()]
    rows = ["  ".join(words[at : at + 4]) for at in range(0, len(words), 4)]
    raise DeviceFault(
        "\n  ".join([f"{board.id} stopped: {found.summary()}", *rows]),
        "this is a defect of the firmware; look at that function in the ELF",
    )


@contextlib.contextmanager
def _lines(json_file: str | None) -> Iterator[IO[str] | None]:
    if json_file is None:
        yield None
    elif json_file == "-":
        yield sys.stdout
    else:
        with Path(json_file).open("w") as file:
            yield file


@contextlib.contextmanager
def _virtual(board: Board) -> Iterator[tuple[str, Any]]:
    """A virtual board that runs what was flashed last, else the default model."""
    from tinyrobust import virtual
    from tinyrobust.cli.simulate import built
    from tinyrobust.flash.state import elf_file, flash_file

    file, elf = flash_file(board), elf_file(board)
    if file.is_file():
        running = virtual.start(board, None, flash_file=file, elf=elf if elf.is_file() else None)
    else:
        running = virtual.start(board, built(board, None, None))
    with running:
        yield running.port, running.fault


def _known(board: Board, folder: Path | None, fields: dict[str, Any] | None) -> Known | None:
    """Names from ``folder``, else from where the model that answers is built, if it is that image.

    ``fields`` are those of a hello. Raises what ``image.load`` raises when ``folder`` was given.
    """
    from tinyrobust import image
    from tinyrobust.device.monitor import Known
    from tinyrobust.errors import TinyRobustError
    from tinyrobust.virtual.faults import Symbols

    if folder is not None:
        found = image.load(folder)
    else:
        try:
            found = image.load(build_folder(None, board.id, str((fields or {})["model"])))
        except TinyRobustError:
            return None  # not built here: no names
    if fields and (found.meta["image_bytes"], found.meta["graph_sha256"]) != (
        fields["image_bytes"], fields["graph_sha256"],
    ):  # fmt: skip
        return None  # another image: its names would mislead
    return Known(found.meta.get("classes") or (), Symbols(found.elf))
