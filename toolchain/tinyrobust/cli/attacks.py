"""List the attacks."""

from __future__ import annotations

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command(short_help="List the attacks.")
@json_option
def command(json_file: str | None) -> None:
    """List the attacks."""
    import importlib.util

    from rich.table import Table

    from tinyrobust import attacks

    installed = importlib.util.find_spec("art") is not None
    found = []
    table = Table("attack", "kind", "what", "parameters at 8/255", "available")
    for name in attacks.names():
        attack = attacks.get(name)
        available = installed or not attack.needs_art
        settings = attack.parameters(8)
        found.append({
            "name": name, "title": attack.title, "kind": attack.kind, "norm": "Linf",
            "paper": attack.paper, "needs_art": attack.needs_art, "available": available,
            "parameters_at_eps_8": settings,
        })  # fmt: skip
        table.add_row(
            name, attack.kind, f"{attack.title}; {attack.paper}",
            ", ".join(f"{k} {v}" for k, v in settings.items()),
            "yes" if available else "needs pip install 'tinyrobust[attacks]'",
        )  # fmt: skip
    if json_file != "-":
        console(json_file).print(table)
    write_result(json_file, "attacks", {"attacks": found})
