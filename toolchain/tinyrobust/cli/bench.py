"""Count instructions per layer on the virtual board, against prediction and ratchet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import (
    aim_options,
    board_option,
    build_folder,
    console,
    json_option,
    kernel_option,
    model_option,
    out_option,
    write_result,
)

if TYPE_CHECKING:
    from tinyrobust.evaluate.bench import Bench
    from tinyrobust.memory import Aim


@click.command(short_help="Count instructions per layer on the virtual board.")
@board_option
@model_option
@kernel_option
@aim_options
@click.option("--ratchet", "ratchet_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Best figures so far.  [default: benchmarks/ratchet.json]")  # fmt: skip
@click.option("--update", is_flag=True, help="Record this run's figures as the ones to hold.")
@out_option
@json_option
def command(
    board_name: str, model_name: str | None, force: dict[str, str], aim: Aim,
    ratchet_file: Path | None, update: bool, out: Path | None, json_file: str | None,
) -> None:  # fmt: skip
    """Count instructions per layer on the virtual board, beside the predicted ones.

    Instructions, flash or RAM above the ratchet file's figures: exit 1. A run with --kernel,
    --optimize or a limit is not compared.
    """
    from tinyrobust import boards
    from tinyrobust.errors import CheckFailed
    from tinyrobust.evaluate import ratchet
    from tinyrobust.evaluate.bench import bench
    from tinyrobust.graph.model import DEFAULT_MODEL, load_model
    from tinyrobust.memory.planner import SPEED

    own_choice = bool(force) or aim != SPEED
    if update and own_choice:
        raise click.UsageError(
            "--update records what the planner chooses by itself; leave --kernel, --optimize, "
            "--max-flash and --max-ram away"
        )
    board = boards.load(board_name)
    model = load_model(model_name or DEFAULT_MODEL)
    path = ratchet_file or ratchet.default_path()
    screen = console(json_file)
    with screen.status(f"counting {model.name} on {board.id}"):
        folder = build_folder(out, board.id, model.name)
        result = bench(model.graph, board, folder, model_name=model.name, force=force, aim=aim)
    _print(screen, result)
    verdict = (ratchet.Verdict((), "kernels were forced, or an aim was given") if own_choice
               else ratchet.compare(result, path))  # fmt: skip
    if update:
        ratchet.update(result, path)
        screen.print(f"recorded in {path}", markup=False)
    for change in verdict.changes:
        screen.print(change.text, markup=False)
    if verdict.not_compared:
        screen.print(f"ratchet not compared: {verdict.not_compared}", markup=False)
    elif not verdict.changes:
        screen.print("ratchet: the same figures")
    write_result(json_file, "bench", {**result.as_json(), "ratchet": verdict.as_json()})
    if verdict.worse and not update:
        raise CheckFailed(
            f"{model.name} on {board.id} is worse than recorded: "
            + "; ".join(change.text for change in verdict.worse),
            "mend it, or record the new figures with --update and say why",
        )


def _print(screen: Any, result: Bench) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from tinyrobust.units import count, kib

    table = Table(
        "layer", "kernel", "MACs", "instructions", "/MAC", "predicted", box=SIMPLE_HEAD,
        title=f"{result.model} on {result.board} (virtual)", pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    if result.reference:
        table.add_column("int8 *")
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    table.columns[0].min_width, table.columns[1].min_width = 10, 13
    for row in result.layers:
        cells = _cells(row.name, row.kernel, row.macs, row.counted, row.predicted)
        if result.reference:
            cells.append(count(row.published) if row.published else "")
        table.add_row(*cells)
    macs = sum(row.macs for row in result.layers)
    table.add_section()
    cells = _cells("inference", "", macs, result.counted, result.predicted)
    if result.reference:
        cells.append(count(result.reference.instructions))
    table.add_row(*cells)
    screen.print(table)
    if result.reference:
        screen.print(f"* {result.reference.name}, {result.reference.how}", markup=False)
    screen.print(
        f"flash {kib(result.flash_bytes)}, RAM {kib(result.ram_bytes)}, of which arena "
        f"{kib(result.arena_bytes)}"
    )


def _cells(name: str, kernel: str, macs: int, counted: int, predicted: int) -> list[str]:
    from tinyrobust.units import count

    return [
        name, kernel, count(macs) if macs else "", f"{counted:,}",
        f"{counted / macs:.2f}" if macs else "",
        f"{(predicted / counted - 1) * 100:+.1f} %" if counted else "",
    ]  # fmt: skip
