"""Prove how many images keep their class whatever changes within a size."""

from __future__ import annotations

from typing import Any

import click

from tinyrobust.cli._options import console, json_option, model_option, write_result


def _sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not a list of whole numbers, as 1,2") from error
    if not all(1 <= size <= 255 for size in sizes):
        raise click.BadParameter(f"'{value}': sizes are 1 to 255")
    return sizes


@click.command(short_help="Prove that no change within a size turns an image's class.")
@model_option
@click.option("--eps", "sizes", callback=_sizes, default="1,2", show_default=True,
              metavar="K,...", help="Largest change of every input value, of 255.")  # fmt: skip
@click.option("--samples", type=click.IntRange(min=1), default=100, show_default=True,
              help="Test images, from the first one on.")  # fmt: skip
@click.option("--attack", default="apgd", show_default=True, metavar="NAME",
              help="Attack whose share stands beside; 'none' for none.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Of the attack's randomness.")  # fmt: skip
@json_option
def command(
    model_name: str | None, sizes: tuple[int, ...], samples: int, attack: str, seed: int,
    json_file: str | None,
) -> None:  # fmt: skip
    """The certified share of images: their class is proved for every change of at most K of 255 of
    every input value, by interval bounds on the very integers that the device computes.

    The true share lies between what is certified and what the attack leaves. An image that is not
    certified may be robust all the same: bounds are sound, not exact.
    """
    from tinyrobust import attacks, tasks
    from tinyrobust.certify import shares
    from tinyrobust.cli._progress import Bars
    from tinyrobust.convert.models import load_model
    from tinyrobust.evaluate.oracles import fastest, victim_for
    from tinyrobust.graph.model import DEFAULT_MODEL

    model = load_model(model_name or DEFAULT_MODEL)
    wanted = None if attack == "none" else attack
    if wanted is not None:
        attacks.get(wanted).check_available()
    screen = console(json_file)
    images, labels = tasks.get(model.graph.task).load("test", samples)
    with Bars(screen) as bars:
        found = shares(
            model.graph, images, labels, sizes,
            victim=victim_for(fastest(), model) if wanted else None, attack=wanted, seed=seed,
            progress=lambda fraction: bars("certify", round(100 * fraction), 100),
        )  # fmt: skip
    rows = [share.as_json() for share in found]
    _show(screen, model.name, rows, wanted)
    write_result(json_file, "certify", {
        "schema": "tinyrobust.certify/1", "model": model.name, "task": model.graph.task,
        "graph_sha256": model.graph.sha256, "method": "interval bounds on the Graph's integers",
        "property": "the class stays the label for every integer input within eps in Linf",
        "attack": wanted, "seed": seed, "sizes": rows,
    })  # fmt: skip


def _show(screen: Any, model: str, rows: list[dict[str, Any]], attack: str | None) -> None:
    from rich.table import Table

    from tinyrobust.units import percent

    table = Table("eps", "right when clean", f"right under {attack or 'attack'}", "certified",
                  "median lead", title=f"{model}: {rows[0]['samples']:,} images")  # fmt: skip
    for row in rows:
        cells = [
            "not run" if row[name] is None
            else f"{percent(row[name]['share'])} "
            f"({100 * row[name]['low']:.1f}-{100 * row[name]['high']:.1f})"
            for name in ("clean", "attacked", "certified")
        ]  # fmt: skip
        table.add_row(f"{row['eps_255']:g}/255", *cells, f"{row['median_lead']:,.0f}")
    screen.print(table)
    screen.print(
        "certified: proved for every integer input within eps (local robustness; sound, not "
        "complete); the lead is the least that is proved over any other class, in steps of the "
        "scores, below 0 nothing is"
    )
