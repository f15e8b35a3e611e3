"""List the boards that firmware can be built for."""

from __future__ import annotations

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command(short_help="List the boards that firmware can be built for.")
@json_option
def command(json_file: str | None) -> None:
    """List the boards that firmware can be built for."""
    from rich.table import Table

    from tinyrobust import boards

    rows = []
    table = Table("board", "title", "flash", "RAM", "runs in")
    for column in (0, 2, 3):
        table.columns[column].no_wrap = True
    for name in boards.names():
        board = boards.load(name)
        flash, ram = (f"{n // 1024:,} KiB" for n in (board.budget.flash_bytes,
                                                     board.budget.ram_bytes))  # fmt: skip
        table.add_row(name, board.title, flash, ram, board.virtual or "-")
        rows.append({"name": name, **board.as_dict()})
    if json_file != "-":
        console(json_file).print(table)
    write_result(json_file, "boards", {"boards": rows})
