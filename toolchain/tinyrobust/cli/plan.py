"""Show what a network can cost on a board, and why each layer gets its kernel."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import (
    aim_options,
    board_option,
    console,
    json_option,
    kernel_option,
    model_option,
    write_result,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinyrobust.memory import Aim, Plan
    from tinyrobust.memory.frontier import Alternative, Point


@click.command(short_help="Show what a network can cost, and why each layer gets its kernel.")
@board_option
@model_option
@kernel_option
@aim_options
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), default=None,
              metavar="FILE.svg", help="Draw the frontier.")  # fmt: skip
@json_option
def command(
    board_name: str, model_name: str | None, force: dict[str, str], aim: Aim,
    plot_file: Path | None, json_file: str | None,
) -> None:  # fmt: skip
    """Show what a network can cost on a board, and why each layer gets its kernel.

    Prints the frontier (no other choice of kernels needs less flash, RAM and time at once), then
    the plan that `build` would take with the same options. All figures are predictions: `bench`
    counts. Nothing is built.
    """
    from tinyrobust import boards, memory
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL
    from tinyrobust.memory.budget import other_bytes
    from tinyrobust.memory.frontier import alternatives, frontier

    board = boards.load(board_name)
    model = load_model(model_name or DEFAULT_MODEL)
    found = memory.plan(model.graph, board, force=force, aim=aim)
    points = frontier(model.graph, board, force=force, aim=aim)
    taken = replace(aim, optimize=found.optimize)
    others = alternatives(model.graph, board, force=force, aim=taken)
    screen = console(json_file)
    _print_frontier(screen, points, f"{model.name} on {board.id}: the frontier")
    _print_plan(screen, found, others, f"the plan for {found.optimize}")
    if found.optimize != aim.optimize == "auto" and found.optimize != "speed":
        screen.print(
            "for speed (--optimize speed) it would take more flash than the same network in int8"
        )
    flash, ram = other_bytes(board)
    screen.print(
        f"network: flash {found.flash_bytes:,} B, RAM {found.ram_bytes:,} B; set aside for the "
        f"rest of the firmware: flash {flash:,} B, RAM {ram:,} B with the stack"
    )
    if plot_file is not None:
        from tinyrobust.artefact import write_text
        from tinyrobust.report import plots

        write_text(plot_file, plots.frontier([asdict(p) for p in points], _figures(found)))
        screen.print(f"drew {plot_file}")
    write_result(
        json_file,
        "plan",
        {"model": model.name, "board": board.id, "aim": asdict(aim),
         "frontier": [asdict(p) for p in points],
         "alternatives": [asdict(a) for a in others], "plan": found.as_json()},
    )  # fmt: skip


def _figures(plan: Plan) -> dict[str, Any]:
    return {
        "flash_bytes": plan.flash_bytes, "ram_bytes": plan.ram_bytes,
        "instructions": plan.instructions, "cycles": plan.cycles,
    }  # fmt: skip


def _print_frontier(screen: Any, points: Sequence[Point], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    cycles = any(point.cycles is not None for point in points)
    table = Table("flash", "RAM", "instructions", box=SIMPLE_HEAD, title=title, pad_edge=False)
    if cycles:
        table.add_column("M4 cycles")
    table.add_column("kernels", overflow="fold")
    for column in table.columns[:-1]:
        column.justify, column.no_wrap = "right", True
    for point in points:
        cells = [f"{point.flash_bytes:,} B", f"{point.ram_bytes:,} B", f"{point.instructions:,}"]
        if cycles:
            cells.append("" if point.cycles is None else f"{point.cycles:,}")
        table.add_row(*cells, _kernels(point.choices))
    screen.print(table)


def _kernels(choices: dict[str, str]) -> str:
    """How often each kernel is taken where there is more than one layer of its operation."""
    counts: dict[str, int] = {}
    for choice in choices.values():
        kernel = choice.partition(":")[0]
        counts[kernel] = counts.get(kernel, 0) + 1
    often = {kernel: n for kernel, n in counts.items() if n > 1} or counts
    return ", ".join(f"{n} x {kernel}" for kernel, n in sorted(often.items(), key=lambda k: -k[1]))


def _print_plan(screen: Any, plan: Plan, others: Sequence[Alternative], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("layer", "choice", "instructions", "flash", "scratch", "code in RAM",
                  box=SIMPLE_HEAD, title=title, pad_edge=False, collapse_padding=True)  # fmt: skip
    if plan.cycles is not None:
        table.add_column("M4 cycles")
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    table.columns[1].overflow = "fold"
    for step, choice in zip(plan.steps, plan.choices, strict=True):
        flash = step.flash_weights + step.flash_tables
        in_ram = step.code_ram_bytes + step.kept_code_bytes
        cells = [step.name, choice.choice, f"{step.instructions:,}", f"{flash:,} B",
                 f"{step.scratch_bytes:,} B", f"{in_ram:,} B"]  # fmt: skip
        if plan.cycles is not None:
            cells.append(f"{step.cycles:,}")
        table.add_row(*cells)
    screen.print(table)
    unit = "cycles" if plan.cycles is not None else "instructions"
    next_best = {other.layer: other for other in others}
    for choice in plan.choices:
        why = _why(choice.why, next_best.get(choice.layer), unit)
        screen.print(f"{choice.layer}: {choice.choice}, {why}")


def _why(why: str, other: Alternative | None, unit: str) -> str:
    if other is None:
        return why
    if other.choice is None:
        return f"{why}; nothing else fits"
    return (
        f"{why}; next best {other.choice}: {other.time:+,} {unit}, {other.flash_bytes:+,} B "
        f"flash, {other.ram_bytes:+,} B RAM in all"
    )
