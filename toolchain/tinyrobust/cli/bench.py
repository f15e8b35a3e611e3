"""Count what a network takes on virtual boards, against prediction, int8 and the ratchet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._bench_tables import show, show_int8
from tinyrobust.cli._options import (
    aim_options,
    board_names,
    build_folder,
    console,
    json_option,
    kernel_option,
    model_option,
    out_option,
    write_result,
)

if TYPE_CHECKING:
    from tinyrobust.bench.bench import Bench
    from tinyrobust.bench.published import Reference
    from tinyrobust.bench.ratchet import Change
    from tinyrobust.graph.nodes import Graph
    from tinyrobust.memory import Aim


@click.command(short_help="Count instructions and estimate cycles per layer on virtual boards.")
@click.option("--board", "board_list", multiple=True, required=True, metavar="NAME|FILE.yaml",
              help="Board, or a board file; may be repeated.",
              shell_complete=board_names)  # fmt: skip
@model_option
@click.option("--random", "specification", metavar="NETWORK",
              help="Random weights in a published shape instead of a model: resnet8:ZEROS "
              "(ternary, percent of zeros), resnet8-int8; ds-cnn likewise.")  # fmt: skip
@kernel_option
@aim_options
@click.option("--ratchet", "ratchet_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Best figures so far.  [default: benchmarks/ratchet.json]")  # fmt: skip
@click.option("--update", is_flag=True, help="Record this run's figures as the ones to hold.")
@click.option("--reorder", is_flag=True,
              help="Put the channels into the order that convert gives them, first.")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg",
              help="Draw instructions and cycles beside int8's.")  # fmt: skip
@out_option
@json_option
def command(
    board_list: tuple[str, ...], model_name: str | None, specification: str | None,
    force: dict[str, str], aim: Aim, ratchet_file: Path | None, update: bool, plot: Path | None,
    reorder: bool, out: Path | None, json_file: str | None,
) -> None:  # fmt: skip
    """Count instructions per layer on virtual boards, beside the predicted ones and int8's.

    Cycles are estimated by a model of the Cortex-M4, never measured. Instructions, cycles, flash
    or RAM above the ratchet file's figures: exit 1. A run with --kernel, --optimize or a limit is
    not compared.
    """
    from tinyrobust import boards
    from tinyrobust.bench import ratchet
    from tinyrobust.bench.bench import bench
    from tinyrobust.errors import CheckFailed
    from tinyrobust.memory.planner import AUTO

    own_choice = bool(force) or aim != AUTO
    if update and own_choice:
        raise click.UsageError(
            "--update records what the planner chooses by itself; leave --kernel, --optimize, "
            "--max-flash and --max-ram away"
        )
    name, graph = _model(model_name, specification)
    if reorder:
        from tinyrobust.graph.reorder import reorder as reordered

        graph = reordered(graph).graph
    chosen = [boards.load(text) for text in dict.fromkeys(board_list)]
    path = ratchet_file or ratchet.default_path()
    screen = console(json_file)
    results: list[tuple[Bench, Reference | None]] = []
    runs: list[dict[str, Any]] = []
    worse: list[tuple[str, Change]] = []
    for board in chosen:
        folder = build_folder(out, board.id, name)
        folder = folder / board.id if out and len(chosen) > 1 else folder
        with screen.status(f"counting {name} on {board.id}"):
            result = bench(graph, board, folder, model_name=name, force=force, aim=aim)
        ours = ratchet.our_int8(result, path)
        show(screen, result)
        results.append((result, ours))
        verdict = (ratchet.Verdict((), "kernels were forced, or an aim was given") if own_choice
                   else ratchet.compare(result, path))  # fmt: skip
        if update:
            ratchet.update(result, path)
        _print_verdict(screen, verdict, updated=update, path=path)
        worse += [(board.id, change) for change in verdict.worse]
        own = {"our_int8": None if ours is None else ours.as_json(), "ratchet": verdict.as_json()}
        runs.append({**result.as_json(), **own})
    show_int8(screen, results)
    write_result(json_file, "bench", {"runs": runs})
    if plot is not None:
        from tinyrobust.artefact import write_text
        from tinyrobust.report.bench_plot import bench_plot

        write_text(plot, bench_plot(runs))
        screen.print(f"wrote {plot}")
    if worse and not update:
        raise CheckFailed(
            f"{name} is worse than recorded: "
            + "; ".join(f"{board}: {change.text}" for board, change in worse),
            "mend it, or record the new figures with --update and say why",
        )


def _model(name: str | None, specification: str | None) -> tuple[str, Graph]:
    """Name and Graph of what is to be counted."""
    if specification is not None:
        if name is not None:
            raise click.UsageError("--model and --random exclude each other")
        from tinyrobust.bench.random_network import model_name, random_network

        return model_name(specification), random_network(specification)
    from tinyrobust.convert.models import load_model
    from tinyrobust.graph.model import DEFAULT_MODEL

    model = load_model(name or DEFAULT_MODEL)
    return model.name, model.graph


def _print_verdict(screen: Any, verdict: Any, *, updated: bool, path: Path) -> None:
    for change in verdict.changes:
        screen.print(change.text, markup=False)
    if updated:
        screen.print(f"recorded in {path}", markup=False)
    elif verdict.not_compared:
        screen.print(f"ratchet not compared: {verdict.not_compared}", markup=False)
    elif not verdict.changes:
        screen.print("ratchet: the same figures")
    elif not verdict.worse:
        screen.print("better than recorded: hold it with --update")
