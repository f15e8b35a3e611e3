"""Keep a virtual board running and print its serial port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyrobust.cli._options import (
    board_option,
    build_folder,
    console,
    json_option,
    model_option,
    write_result,
)
from tinyrobust.cli._text import command_line

if TYPE_CHECKING:
    from tinyrobust.boards import Board
    from tinyrobust.image import Image


@click.command(short_help="Keep a virtual board running and print its serial port.")
@board_option
@model_option
@click.option(
    "--image", "folder", type=click.Path(path_type=Path), default=None, metavar="FOLDER",
    help="A built image, instead of building --model.",
)  # fmt: skip
@click.option(
    "--link", type=click.Path(path_type=Path), default=None, metavar="PATH",
    help="Also make this symbolic link to the port.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Check more of what silicon forbids; slower.")
@click.option(
    "--probe-port", type=click.IntRange(0, 65535), default=None, metavar="N",
    help="Serve a debug probe for pyOCD on this TCP port; 0 for any.",
)  # fmt: skip
@click.option(
    "--gdb-port", type=click.IntRange(0, 65535), default=None, metavar="N",
    help="Serve QEMU's GDB stub on this TCP port, 0 for any; the board waits for a debugger, empty "
    "without --model or --image.",
)  # fmt: skip
@json_option
def command(
    board_name: str,
    model_name: str | None,
    folder: Path | None,
    link: Path | None,
    strict: bool,
    probe_port: int | None,
    gdb_port: int | None,
    json_file: str | None,
) -> None:
    """Keep a virtual board running and print its serial port, until Ctrl-C.

    Runs --model or --image, else what `tinyrobust flash --virtual` programmed, else the default
    model. A fault of the firmware prints its registers and function, and is exit 2.
    """
    import contextlib
    import os
    import signal
    import sys

    from tinyrobust import boards
    from tinyrobust.flash.state import elf_file, flash_file
    from tinyrobust.virtual.simulation import Simulation
    from tinyrobust.virtual.terminal import PortLink

    if folder is not None and model_name is not None:
        raise click.UsageError("give --model or --image, not both")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as cleanly as Ctrl-C
    board = boards.load(board_name)
    screen = console(json_file)
    flash: Path | None
    elf: Path | None
    offset = 0
    if folder is None and model_name is None and gdb_port is not None:
        what, flash, elf = "what a debugger will load", None, None
    elif folder is None and model_name is None and flash_file(board).is_file():
        what, flash, elf = "what was flashed last", flash_file(board), elf_file(board)
    else:
        image = built(board, model_name, folder)
        what, flash, elf = str(image.meta["model"]), image.bin, image.elf
        if board.is_host:
            flash = image.elf
        else:
            offset = board.image_origin - board.flash.origin
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            Simulation(board, flash, elf if elf and elf.is_file() else None, strict=strict,
                       probe_port=probe_port, gdb_port=gdb_port, flash_offset=offset)
        )  # fmt: skip
        if link is not None:
            stack.enter_context(PortLink(link, running.port))
        screen.print(f"virtual {board.id} runs {what}", soft_wrap=True)
        screen.print(f"port: {running.port}" + (f" (link: {link})" if link else ""), soft_wrap=True)
        if running.probe is not None:
            screen.print(f"probe: {running.probe.probe_id}")
        if running.gdb is not None:
            load = command_line("tinyrobust", "flash", "--board", board.id, "--flasher", "gdb",
                                "--probe", running.gdb, "--port", link or running.port)  # fmt: skip
            screen.print(f"GDB stub: {running.gdb}; load it: {load}")
        write_result(json_file, "simulate", {
            "board": board.id, "flash": str(flash) if flash else None, "gdb": running.gdb,
            "port": running.port, "helper": running.helper,
            "probe": running.probe.probe_id if running.probe else None, "strict": strict,
            "link": str(link) if link else None, "pid": os.getpid(),
        })  # fmt: skip
        sys.stdout.flush()
        screen.print("Ctrl-C ends it")
        while True:
            running.wait(3600.0)


def built(board: Board, model_name: str | None, folder: Path | None) -> Image:
    """The image in ``folder``, else of the model, built first. Raises BoardError: another board."""
    from tinyrobust import image
    from tinyrobust.convert.models import load_model
    from tinyrobust.errors import BoardError
    from tinyrobust.graph.model import DEFAULT_MODEL

    if folder is not None:
        found = image.load(folder)
        if found.meta["board"] != board.id:
            raise BoardError(
                f"{folder} is for {found.meta['board']}, not for {board.id}",
                f"build it: tinyrobust build --board {board.id}",
            )
        return found
    model = load_model(model_name or DEFAULT_MODEL)
    out = build_folder(None, board.id, model.name)
    return image.build(model.graph, board, out, model_name=model.name)
