"""Print the line that turns on completion in your shell."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes commands, options, boards and models in SHELL.

    For bash: put  eval "$(tinyrobust completion bash)"  into ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    from tinyrobust.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # the choice above allows only shells that click knows
    click.echo(kind(cli, {}, "tinyrobust", "_TINYROBUST_COMPLETE").source())
