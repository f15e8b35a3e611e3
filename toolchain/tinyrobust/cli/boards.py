"""List the boards that firmware can be built for, show one, or check a board file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import board_names, console, json_option, write_result

if TYPE_CHECKING:
    from tinyrobust.boards import Board


@click.command(short_help="List the boards that firmware can be built for, or check a board file.")
@click.argument("name", required=False, metavar="[NAME|FILE.yaml]", shell_complete=board_names)
@click.option(
    "--check", "files", multiple=True, metavar="FILE.yaml",
    type=click.Path(path_type=Path), help="Check a board file of your own; may be repeated.",
)  # fmt: skip
@json_option
def command(name: str | None, files: tuple[Path, ...], json_file: str | None) -> None:
    """List the boards that firmware can be built for; with a name, all about that board.

    A board file of your own needs no place in the package: check it with --check, then give its
    path wherever a board is asked for (--board path/to/file.yaml).
    """
    from tinyrobust import boards

    if name is not None and files:
        raise click.UsageError("give a board or --check, not both")
    if files:
        _check(files, json_file)
        return
    found = [boards.load(each) for each in ([name] if name else boards.names())]
    if json_file != "-":
        screen = console(json_file)
        if name:
            _show(found[0], screen)
        else:
            screen.print(_table(found))
            for line in _never_run(found):
                screen.print(line)
    write_result(
        json_file, "boards",
        {"boards": [{"name": b.id, "never_run_on_hardware": _never(b), **b.as_dict()}
                    for b in found]},
    )  # fmt: skip


def _table(found: list[Board]) -> Any:
    from rich.table import Table

    table = Table("board", "core, clock", "flash, RAM", "serial", "flashers", "twin",
                  show_lines=True)  # fmt: skip
    for column in (0, 1, 2):
        table.columns[column].no_wrap = True
    for column in (3, 4):
        table.columns[column].overflow = "fold"
    for board in found:
        table.add_row(
            board.id,
            f"{board.core}\n{board.clock_hz / 1e6:g} MHz",
            f"{_kib(board.budget.flash_bytes)}\n{_kib(board.budget.ram_bytes)}",
            board.serial.device.partition(", or ")[0],
            ", ".join(_real(board)) or "-",
            board.virtual or "-",
        )  # fmt: skip
    return table


def _never_run(found: list[Board]) -> list[str]:
    """Sentences that say what was never run on hardware, boards with the same things together."""
    groups: dict[str, list[str]] = {}
    for board in found:
        never = _never(board)
        everything = never == ["firmware", *_real(board)]
        what = "firmware and every flasher of" if everything else f"{', '.join(never)} of"
        if never:
            groups.setdefault(what, []).append(board.id)
    return [f"Never run on hardware: {what} {', '.join(ids)}." for what, ids in groups.items()]


def _kib(n_bytes: int) -> str:
    return f"{n_bytes // 1024:,} KiB"


def _real(board: Board) -> list[str]:
    return [row.id for row in board.flashers if row.id != "virtual"]


def _never(board: Board) -> list[str]:
    """What this project has not run on the real board; a board that is only virtual has none."""
    real = _real(board)
    if not real:
        return []
    firmware = [] if board.hardware.firmware else ["firmware"]
    return firmware + [name for name in real if name not in board.hardware.flashers]


def _show(board: Board, screen: Any) -> None:
    from rich.table import Table

    facts = Table(title=board.title, show_header=False, title_justify="left")
    rows = [
        ("MCU", f"{board.mcu}, {board.core}" + (f", {board.fpu}" if board.fpu else "")),
        ("port", f"firmware/ports/{board.port}"),
        ("image at", "-" if board.is_host else f"{board.image_origin:#010x}"
         + (" (behind a bootloader)" if board.load_address is not None else "")),
        ("clock", f"{board.clock_hz / 1e6:g} MHz"),
        *_clock(board),
        ("stack guard", board.stack_guard),
        ("serial", f"{board.serial.device}; {board.serial.baud_default:,} to "
         f"{board.serial.baud_max:,} baud"),
        ("USB ids", ", ".join(f"{u.vid:04x}:{u.pid:04x}" for u in board.serial.usb_ids) or "-"),
        ("flashers", ", ".join(_real(board)) or "-"),
        ("virtual twin", board.virtual or "-"),
        ("never run on hardware", ", ".join(_never(board)) or "-"),
        ("budget", f"flash {board.budget.flash_bytes:,} B, RAM {board.budget.ram_bytes:,} B, stack "
         f"{board.budget.stack_bytes:,} B"),
    ]  # fmt: skip
    for what, value in rows:
        facts.add_row(what, value)
    screen.print(facts)
    memories = Table("memory", "from", "to", "KiB", "holds")
    for m in board.memories:
        memories.add_row(m.name, f"{m.origin:#010x}", f"{m.end - 1:#010x}", f"{m.length / 1024:g}",
                         ", ".join(m.use) or "-")  # fmt: skip
    screen.print(memories)
    for note in board.notes:
        screen.print(f"- {note}")


def _clock(board: Board) -> list[tuple[str, str]]:
    tree = board.clock_tree
    if tree is None:
        return []
    states = "" if tree.flash_wait_states is None else str(tree.flash_wait_states)
    rows = [("  from", tree.source), ("  PLL", tree.pll), ("  buses", tree.buses),
            ("  flash wait states", states), ("  voltage", tree.voltage),
            ("  caches", tree.caches)]  # fmt: skip
    return [row for row in rows if row[1]]


def _check(files: tuple[Path, ...], json_file: str | None) -> None:
    from dataclasses import asdict

    from tinyrobust import boards
    from tinyrobust.cli._board_check import problems
    from tinyrobust.errors import CheckFailed

    screen, wrong, rows = console(json_file), 0, []
    for file in files:
        found = problems(file)
        wrong += len(found)
        for problem in found:
            hint = f" ({problem.hint})" if problem.hint else ""
            screen.print(f"{file}:{problem.line}: {problem.message}{hint}", soft_wrap=True)
        if not found:
            board = boards.load(file)
            screen.print(
                f"{file}: {board.id} is a sound board file: {board.core}, "
                f"{board.clock_hz / 1e6:g} MHz, flash {_kib(board.budget.flash_bytes)}, RAM "
                f"{_kib(board.budget.ram_bytes)}; build with --board {file}",
                soft_wrap=True,
            )
        rows.append({"file": str(file), "problems": [asdict(p) for p in found]})
    write_result(json_file, "boards.check", {"files": rows})
    if wrong:
        raise CheckFailed(
            f"{wrong} thing{'s' if wrong > 1 else ''} wrong in board files",
            "the fields are described in toolchain/tinyrobust/boards/schema.py",
        )
