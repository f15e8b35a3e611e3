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
    table.columns[0].no_wrap = True
    for name in boards.names():
        board = boards.load(name)
        table.add_row(
            name, board.core, f"{board.budget.flash_bytes // 1024:,} KiB",
            f"{board.budget.ram_bytes // 1024:,} KiB", f"{board.clock_hz / 1e6:g} MHz",
            board.virtual or "-", board.title,
        )  # fmt: skip
        rows.append({"name": name, **board.as_dict()})
    if json_file != "-":
        console(json_file).print(table)
    write_result(json_file, "boards", {"boards": rows})
