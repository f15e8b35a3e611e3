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
    table = Table("attack", "kind", "norms", "paper, budget")
    for column in table.columns[:3]:
        column.no_wrap = True
    for name in attacks.names():
        attack = attacks.get(name)
        available = installed or not attack.needs_art
        kind = attack.kind + (", minimum norm" if attack.minimum else "")
        budget = [f"{attack.steps} steps" if attack.steps else "",
                  f"{attack.queries:,} queries" if attack.queries else ""]  # fmt: skip
        found.append({
            "name": name, "title": attack.title, "kind": attack.kind,
            "minimum_norm": attack.minimum, "norms": list(attack.norms),
            "can_be_targeted": attack.can_target, "paper": attack.paper, "steps": attack.steps,
            "queries": attack.queries, "needs_art": attack.needs_art,
            "needs_surrogate": attack.needs_surrogate, "available": available,
            "parameters_at_eps_8": attack.parameters(8),
        })  # fmt: skip
        notes = ["" if attack.can_target else "untargeted only",
                 "with --surrogate" if attack.needs_surrogate else "",
                 "" if available else "needs pip install 'tinyrobust[attacks]'"]  # fmt: skip
        text = "; ".join([attack.paper, *filter(None, [*budget, *notes])])
        table.add_row(name, kind, " ".join(attack.norms), text)
    if json_file != "-":
        console(json_file).print(table)
    write_result(json_file, "attacks", {"attacks": found})
