"""``tinyrobust``: finds the commands, runs one, and turns errors into one line and an exit code.

A file ``cli/<name>.py`` that defines ``command`` is the command ``tinyrobust <name>`` (``_``
becomes ``-``). Its first docstring line is read without importing it, so ``--help`` is quick.
"""

from __future__ import annotations

import ast
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tinyrobust import __version__
from tinyrobust.cli._text import say_error
from tinyrobust.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USER, TinyRobustError
from tinyrobust.registry import nearest

_HERE = Path(__file__).parent
_NOT_COMMANDS = {"main", "__init__"}
# What a disk does to its user; anything else the system reports is a bug that we did not expect.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


class _Commands(click.Group):
    """Commands from the files beside this one, imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(
            p.stem.replace("_", "-")
            for p in _HERE.glob("*.py")
            if p.stem not in _NOT_COMMANDS and not p.stem.startswith("_")
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"tinyrobust.cli.{cmd_name.replace('-', '_')}")
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            raise click.UsageError(
                f"no command '{name}'; {nearest(name, self.list_commands(ctx))}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            tree = ast.parse((_HERE / f"{name.replace('-', '_')}.py").read_text())
            rows.append((name, (ast.get_docstring(tree) or "").split("\n")[0]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinyrobust")
def cli() -> None:
    """Train a robust ternary network, prove its integers, fit it to a microcontroller's memory,
    flash it, and attack it on the device."""


def main(args: Sequence[str] | None = None) -> None:
    """Console entry point; exits 0, 1 (user, budget), 2 (device, tool), 70 (our bug), 130."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        words = None if args is None else list(args)
        result = cli.main(words, prog_name="tinyrobust", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USER
    except (click.Abort, KeyboardInterrupt):
        say_error("interrupted; nothing is half-written, run the same command to go on")
        return EXIT_INTERRUPTED
    except TinyRobustError as error:
        say_error(f"error: {error.message}")
        if error.hint:
            say_error(f"  try: {error.hint}")
        return error.exit_code
    except OSError as error:
        if error.errno not in _DISK:
            return _bug()
        where = os.fsdecode(error.filename) if error.filename else "while writing"
        say_error(f"error: {error.strerror}: {where}")
        say_error("  try: free some disk space, or write to a folder where you may write")
        return EXIT_USER
    except Exception:  # the one place that may catch everything: it reports our own bugs
        return _bug()


def _bug() -> int:
    """Print the traceback of the exception being handled, and where it belongs."""
    import traceback

    traceback.print_exc()
    say_error("this is a bug in tinyrobust; please report the lines above")
    return EXIT_BUG
