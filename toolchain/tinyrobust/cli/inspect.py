"""Show what a network holds and what it will take on a board, before anything is compiled."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import aim_options, console, json_option, write_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinyrobust.evaluate.inspection import Inspection, NodeFacts
    from tinyrobust.memory import Aim


@click.command(short_help="Show what a network holds and takes, before it is compiled.")
@click.argument("model_name", metavar="MODEL")
@click.option("--board", "board_name", default="nucleo-h743", show_default=True,
              metavar="NAME|FILE.yaml", help="Board to predict for.")  # fmt: skip
@aim_options
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), default=None,
              metavar="FILE.svg", help="Draw the arena over time.")  # fmt: skip
@json_option
def command(
    model_name: str, board_name: str, aim: Aim, plot_file: Path | None, json_file: str | None
) -> None:
    """Show what MODEL holds (a .tflite file, a Graph file or a zoo model) and what it takes.

    Operators, shapes, quantisation, MACs and weights; then, for the board, the kernel, the
    predicted instructions and bytes of every layer, and the planned arena over time. Nothing is
    compiled: `build` measures, `bench` counts. Of a .tflite file that cannot be taken the operators
    are listed before the reasons.
    """
    from tinyrobust import boards, memory
    from tinyrobust.convert.models import load_model
    from tinyrobust.errors import ConvertError
    from tinyrobust.evaluate import inspection
    from tinyrobust.memory.budget import other_bytes

    board = boards.load(board_name)
    screen = console(json_file)
    try:
        model = load_model(model_name)
    except ConvertError:
        _print_operators(screen, Path(model_name))
        raise
    facts = inspection.nodes(model.graph)
    _print_nodes(screen, facts, model.name, model.graph.family)
    found = inspection.inspect(memory.plan(model.graph, board, aim=aim))
    plan, (flash, ram) = found.plan, other_bytes(board)
    _print_layers(screen, found, f"{model.name} on {board.id}, predicted")
    cycles = "" if plan.cycles is None else f", {plan.cycles:,} cycles of the Cortex-M4 model"
    screen.print(
        f"one inference: {plan.instructions:,} instructions{cycles}\n"
        f"flash: {plan.flash_bytes + flash:,} B = {plan.code_bytes:,} B kernels, "
        f"{plan.flash_bytes - plan.code_bytes:,} B weights and tables, {flash:,} B set aside for "
        f"the rest; {board.id} has {board.budget.flash_bytes:,} B\n"
        f"RAM: {plan.ram_bytes + ram:,} B = {plan.arena_bytes:,} B arena, "
        f"{plan.executable_bytes:,} B code, {ram:,} B set aside for stack and buffers; "
        f"{board.id} has {board.budget.ram_bytes:,} B"
    )
    if plot_file is not None:
        from tinyrobust.artefact import write_text
        from tinyrobust.report import plots

        steps = [step.name for step in plan.steps]
        blocks = [asdict(b) for b in found.blocks]
        write_text(plot_file, plots.arena(steps, blocks, plan.arena_bytes))
        screen.print(f"drew {plot_file}")
    write_result(
        json_file,
        "inspect",
        {"model": model.name, "board": board.id, "family": model.graph.family,
         "graph_sha256": model.graph.sha256, "nodes": [asdict(f) for f in facts],
         "arena": [asdict(b) for b in found.blocks], "in_use_bytes": list(found.in_use_bytes),
         "set_aside": {"flash_bytes": flash, "ram_bytes": ram}, "plan": plan.as_json()},
    )  # fmt: skip


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _print_operators(screen: Any, path: Path) -> None:
    """What a file holds of which no network can be made; nothing where it cannot be read."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from tinyrobust.errors import ConvertError
    from tinyrobust.tflite import importer, refusal

    try:
        file = importer.contents(path)
    except ConvertError:
        return
    title = f"{path.name}: {refusal.operators(file)}"
    table = Table("", "operator", "reads", "makes", box=SIMPLE_HEAD, pad_edge=False,
                  collapse_padding=True, title=title)  # fmt: skip
    for row in refusal.table(file):
        table.add_row(*row)
    screen.print(table)


def _print_nodes(screen: Any, facts: Sequence[NodeFacts], name: str, family: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from tinyrobust.units import count

    table = Table("node", "operation", "output", "scale", "zero", "MACs", "weights",
                  box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
                  title=f"{name}: arithmetic of family '{family}'")  # fmt: skip
    for column in table.columns[3:]:
        column.justify, column.no_wrap = "right", True
    for f in facts:
        weights = f"{f.weights:,} x {f.weight_bits} bit" if f.weights else ""
        if f.per_channel:
            weights += ", per channel"
        table.add_row(f.name, f.op, _shape(f.output), f"{f.scale:.6g}", str(f.zero_point),
                      f"{f.macs:,}" if f.macs else "", weights)  # fmt: skip
    screen.print(table)
    total = sum(f.weights for f in facts)
    screen.print(f"{count(sum(f.macs for f in facts))} MACs, {total:,} weights, "
                 f"{len(facts)} nodes")  # fmt: skip


def _print_layers(screen: Any, found: Inspection, title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from tinyrobust.evaluate.inspection import strip

    table = Table("layer", "kernel", "instructions", "flash", "arena", "used so: # = s .",
                  box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)  # fmt: skip
    for column in table.columns[2:5]:
        column.justify, column.no_wrap = "right", True
    table.columns[5].no_wrap = True
    for column in table.columns[:2]:
        column.no_wrap, column.overflow = screen.width >= 100, "fold"
    width = max(10, min(40, screen.width - (80 if screen.width >= 100 else 64)))
    for i, step in enumerate(found.plan.steps):
        table.add_row(
            step.name, step.kernel, f"{step.instructions:,}",
            f"{step.flash_weights + step.flash_tables:,} B", f"{found.in_use_bytes[i]:,} B",
            strip(found.blocks, found.plan, i, width),
        )  # fmt: skip
    screen.print(table)
    screen.print("arena: # written, = read, s scratch, . kept for later", style="dim")
