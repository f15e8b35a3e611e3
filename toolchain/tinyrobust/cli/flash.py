"""Program a board, real or virtual, and check what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import (
    board_option,
    build_folder,
    console,
    json_option,
    model_option,
    write_result,
)
from tinyrobust.cli._tool_progress import ToolProgress
from tinyrobust.errors import EXIT_DEVICE

if TYPE_CHECKING:
    from tinyrobust.boards import Board
    from tinyrobust.flash import Outcome
    from tinyrobust.image import Image


@click.command(short_help="Program a board, real or virtual, and check what it holds.")
@board_option
@model_option
@click.option(
    "--image",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FOLDER",
    help="A built image, instead of building --model.",
)
@click.option("--virtual", is_flag=True, help="Flash the virtual board instead of a real one.")
@click.option(
    "--all", "every", is_flag=True, help="Flash every attached board of this type at once."
)
@click.option(
    "--probe",
    "probes",
    multiple=True,
    metavar="ID",
    help="Which probe, port or drive, if there are several; remote:HOST:PORT for a remote probe. "
    "May be repeated with --all.",
)
@click.option(
    "--flasher",
    default=None,
    metavar="NAME",
    help="Flasher.  [default: the board's first one that is installed and sees a board]",
)
@click.option(
    "--port",
    "serial_ports",
    multiple=True,
    metavar="PORT",
    help="The board's serial port; with --all one per --probe.  [default: found by its USB id]",
)
@click.option(
    "--check/--no-check",
    default=True,
    help="Ask the board for the hash of its flash.  [default: check]",
)
@click.option("--dry-run", is_flag=True, help="Only print the command that would be run.")
@json_option
def command(
    board_name: str,
    model_name: str | None,
    folder: Path | None,
    virtual: bool,
    every: bool,
    probes: tuple[str, ...],
    flasher: str | None,
    serial_ports: tuple[str, ...],
    check: bool,
    dry_run: bool,
    json_file: str | None,
) -> int:
    """Program a board, real or virtual, and check what it holds.

    Builds the image first when needed. Afterwards the device computes SHA-256 over its own flash,
    and a difference is exit 2. With --all, so is one board that failed; the others are done.
    """
    from tinyrobust import boards, flash

    _check_options(model_name, folder, virtual, every, probes, serial_ports)
    board = boards.load(board_name)
    screen = console(json_file)
    if every:
        name, targets = flash.find_targets(
            board, flasher, probes=probes, serial_ports=serial_ports, check=check
        )
        built = _image(screen, board, model_name, folder)
        with ToolProgress(screen) as progress:
            outcomes = flash.flash_all(
                built, board, targets, flasher=name, dry_run=dry_run,
                read_hash=_read_hash if check else None, progress_of=progress.of,
            )  # fmt: skip
        _show_all(screen, outcomes, dry_run)
        failed = sum(outcome.error is not None for outcome in outcomes)
        write_result(json_file, "flash-all", {
            "board": board.id, "flasher": name, "dry_run": dry_run, "failed": failed,
            "boards": [outcome.as_dict() for outcome in outcomes],
        })  # fmt: skip
        return EXIT_DEVICE if failed else 0
    built = _image(screen, board, model_name, folder)
    with ToolProgress(screen) as progress:
        done = flash.flash(
            built, board, flasher=flasher, probe=next(iter(probes), None), virtual=virtual,
            port=next(iter(serial_ports), None), dry_run=dry_run,
            read_hash=_read_hash if check else None, progress=progress.of(board.id),
        )  # fmt: skip
    what = f"the virtual {board.id}" if done.virtual else board.id
    if dry_run:
        screen.print(f"would flash {what} with {done.flasher}:", soft_wrap=True)
        screen.print(flash.shell(done.commands), soft_wrap=True)
    else:
        screen.print(f"flashed {what} with {done.flasher} in {done.seconds:.1f} s")
        if done.device_sha256:
            screen.print(f"the device's own SHA-256 over its flash is the image's: "
                         f"{done.device_sha256[:16]}...")  # fmt: skip
    write_result(json_file, "flash", done.as_dict())
    return 0


def _check_options(
    model_name: str | None, folder: Path | None, virtual: bool, every: bool,
    probes: tuple[str, ...], serial_ports: tuple[str, ...],
) -> None:  # fmt: skip
    if folder is not None and model_name is not None:
        raise click.UsageError("give --model or --image, not both")
    if every and virtual:
        raise click.UsageError("there is one virtual board: leave --all or --virtual out")
    if not every and len(probes) > 1:
        raise click.UsageError("several probes need --all")
    if not every and len(serial_ports) > 1:
        raise click.UsageError("several ports need --all")


def _image(screen: Any, board: Board, model_name: str | None, folder: Path | None) -> Image:
    from tinyrobust import image
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL

    if folder is not None:
        return image.load(folder)
    model = load_model(model_name or DEFAULT_MODEL)
    with screen.status(f"building {model.name} for {board.id}"):
        return image.build(
            model.graph, board, build_folder(None, board.id, model.name), model_name=model.name
        )


def _show_all(screen: Any, outcomes: list[Outcome], dry_run: bool) -> None:
    from rich.table import Table

    from tinyrobust import flash

    if dry_run:
        for outcome in outcomes:
            if outcome.flashed:
                screen.print(flash.shell(outcome.flashed.commands), soft_wrap=True)
    table = Table("probe", "port", "result", "seconds")
    table.columns[3].justify = "right"
    for outcome in outcomes:
        done = outcome.flashed
        result = "FAILED" if done is None else "dry run" if dry_run else (
            f"flashed, SHA-256 {done.device_sha256[:16]}... is the image's"
            if done.device_sha256 else "flashed, not checked"
        )  # fmt: skip
        table.add_row(outcome.target.device.id, outcome.target.port or "-", result,
                      f"{outcome.seconds:.1f}")  # fmt: skip
    screen.print(table)
    for outcome in outcomes:
        if outcome.error is not None:
            screen.print(f"{outcome.target.device.id}: {outcome.error.message}", soft_wrap=True)
            if outcome.error.hint:
                screen.print(f"  try: {outcome.error.hint}", soft_wrap=True)


def _read_hash(port: str, fault: Callable[[], object | None]) -> str:
    from tinyrobust import device

    with device.Session.open(port, fault=fault) as session:
        return session.image_hash()
