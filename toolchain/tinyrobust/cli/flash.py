"""Program a board, real or virtual, and check what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from tinyrobust.cli._options import (
    board_option,
    build_folder,
    console,
    json_option,
    model_option,
    write_result,
)


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
    "--probe",
    default=None,
    metavar="ID",
    help="Debug probe, if there are several; remote:HOST:PORT for a remote one.",
)
@click.option(
    "--flasher",
    default=None,
    metavar="NAME",
    help="Flasher.  [default: the board's first one that is installed]",
)
@click.option(
    "--port",
    default=None,
    metavar="PORT",
    help="The board's serial port.  [default: found by its USB id]",
)
@click.option(
    "--check/--no-check",
    default=True,
    help="Ask the board for the hash of its flash.  [default: check]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
def command(
    board_name: str,
    model_name: str | None,
    folder: Path | None,
    virtual: bool,
    probe: str | None,
    flasher: str | None,
    port: str | None,
    check: bool,
    dry_run: bool,
    json_file: str | None,
) -> None:
    """Program a board, real or virtual, and check what it holds.

    Builds the image first when needed. Afterwards the device computes SHA-256 over its own flash,
    and a difference is exit 2.
    """
    from tinyrobust import boards, image
    from tinyrobust.convert.models import load_model
    from tinyrobust.flash import flash
    from tinyrobust.graph.model import DEFAULT_MODEL

    if folder is not None and model_name is not None:
        raise click.UsageError("give --model or --image, not both")
    board = boards.load(board_name)
    screen = console(json_file)
    if folder is not None:
        built = image.load(folder)
    else:
        model = load_model(model_name or DEFAULT_MODEL)
        with screen.status(f"building {model.name} for {board.id}"):
            built = image.build(
                model.graph, board, build_folder(None, board.id, model.name), model_name=model.name
            )
    with screen.status(f"flashing {board.id}"):
        done = flash(
            built, board, flasher=flasher, probe=probe, virtual=virtual, port=port,
            dry_run=dry_run, read_hash=_read_hash if check else None,
        )  # fmt: skip
    what = f"the virtual {board.id}" if done.virtual else board.id
    if dry_run:
        screen.print(f"would flash {what} with {done.flasher}: {' '.join(done.command)}",
                     soft_wrap=True)  # fmt: skip
    else:
        screen.print(f"flashed {what} with {done.flasher} in {done.seconds:.1f} s")
        if done.device_sha256:
            screen.print(f"the device's own SHA-256 over its flash is the image's: "
                         f"{done.device_sha256[:16]}...")  # fmt: skip
    write_result(json_file, "flash", done.as_dict())


def _read_hash(port: str, fault: Callable[[], object | None]) -> str:
    from tinyrobust import device

    with device.Session.open(port, fault=fault) as session:
        return session.image_hash()
