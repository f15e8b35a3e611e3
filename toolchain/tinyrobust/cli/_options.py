"""Options that several commands share, and the JSON they write."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _names(folder: str, pattern: str) -> Callable[..., list[str]]:
    """Shell completion from the names of files in ``folder`` of the installation."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from tinyrobust.resources import root

        found = (root() / folder).glob(pattern)
        return sorted(p.stem for p in found if p.stem.startswith(incomplete))

    return complete


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``LAYER=ID`` options as a mapping."""
    found = {}
    for value in values:
        layer, equals, kernel = value.partition("=")
        if not (layer and equals and kernel):
            raise click.BadParameter(f"'{value}' is not LAYER=ID")
        found[layer] = kernel
    return found


board_names = _names("boards", "*.yaml")
board_option = click.option(
    "--board", "board_name", required=True, metavar="NAME|FILE.yaml",
    help="Board, or a board file.",
    shell_complete=board_names,
)  # fmt: skip
model_option = click.option(
    "--model", "model_name", default=None, metavar="NAME|FILE",
    help="Zoo model, Graph file or .tflite file.  [default: shapes-small]",
    shell_complete=_names("models/zoo", "*"),
)  # fmt: skip
json_option = click.option(
    "--json", "json_file", default=None, metavar="FILE",
    help="Write the result as JSON; '-' for standard output, with nothing else on it.",
)  # fmt: skip
kernel_option = click.option(
    "--kernel", "force", multiple=True, metavar="LAYER=ID", callback=_pairs,
    help="Compute LAYER (* is every layer that accepts it) with kernel ID, or "
    "ID:SETTING=VALUE,...; may be repeated.",
)  # fmt: skip


def size(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Bytes from ``65536``, ``64K`` or ``1M`` (KiB and MiB)."""
    if text is None:
        return None
    number, unit = text.strip().lower().removesuffix("ib").removesuffix("b"), 1
    if number[-1:] in ("k", "m"):
        unit, number = (1024 if number[-1] == "k" else 1 << 20), number[:-1]
    try:
        found = round(float(number) * unit)
    except (ValueError, OverflowError):
        found = 0
    if found <= 0:
        raise click.BadParameter(f"'{text}' is not a size such as 65536, 64K or 1M")
    return found


_AIM_OPTIONS = (
    click.option(
        "--optimize", type=click.Choice(["auto", "speed", "size", "balanced"]),
        default="auto", show_default=True,
        help="What the choice of kernels is to be best at; auto: speed, but balanced where that "
        "would take more flash than the network in int8.",
    ),
    click.option(
        "--max-flash", default=None, metavar="BYTES", callback=size,
        help="Flash at most, of the whole image: 65536, 64K, 1M.  [default: the board's budget]",
    ),
    click.option(
        "--max-ram", default=None, metavar="BYTES", callback=size,
        help="RAM at most, stack and buffers included.  [default: the board's budget]",
    ),
    click.option(
        "--no-code-in-ram", is_flag=True, help="No kernel that runs code which it wrote into RAM.",
    ),
)  # fmt: skip


def aim_options(command: Command) -> Command:
    """``--optimize``, ``--max-flash``, ``--max-ram`` and ``--no-code-in-ram``; the command gets a
    ``memory.Aim``, ``aim``."""

    @functools.wraps(command)
    def with_aim(
        *args: Any, optimize: Any, max_flash: int | None, max_ram: int | None,
        no_code_in_ram: bool, **rest: Any,
    ) -> Any:  # fmt: skip
        from tinyrobust.memory import Aim

        return command(*args, aim=Aim(optimize, max_flash, max_ram, not no_code_in_ram), **rest)

    wrapped: Any = with_aim
    for option in reversed(_AIM_OPTIONS):
        wrapped = option(wrapped)
    return cast("Command", wrapped)


out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=None, metavar="DIR",
    help="Folder to write to.  [default: build/BOARD/MODEL]",
)  # fmt: skip


def write_result(json_file: str | None, command: str, result: dict[str, Any]) -> None:
    """Write ``result`` under schema ``tinyrobust.<command>/1`` when ``--json`` was given."""
    if json_file is None:
        return
    document = {"schema": f"tinyrobust.{command}/1", **result}
    if json_file == "-":
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        from tinyrobust.artefact import write_json

        write_json(Path(json_file), document)


def console(json_file: str | None) -> Any:
    """A Screen: standard output, or standard error when JSON goes to standard output."""
    from tinyrobust.cli._screen import Screen

    return Screen(stderr=json_file == "-")


def build_folder(out: Path | None, board: str, model: str) -> Path:
    """``--out``, else ``build/<board>/<model>`` under the current folder."""
    return out if out is not None else Path("build") / board / model
