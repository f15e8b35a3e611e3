"""Say what is installed, what is missing and how to get it, and what is attached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tinyrobust.cli._options import board_names, console, json_option, write_result
from tinyrobust.cli._text import visible

if TYPE_CHECKING:
    from tinyrobust.cli._doctor import Item


@click.command()
@click.option("--board", "board_name", metavar="NAME|FILE.yaml", shell_complete=board_names,
              help="Only what this board needs: flashers, udev rules, permissions.")  # fmt: skip
@click.option("--udev", "udev_rules", is_flag=True,
              help="Print udev rules for all boards, or for --board, only.")  # fmt: skip
@json_option
def command(board_name: str | None, udev_rules: bool, json_file: str | None) -> int:
    """Say what is installed, what is missing and how to get it, and what is attached.

    Exits 1 when something is missing that building and flashing a zoo model needs, or, with
    --board, when no flasher of that board is installed.
    """
    from tinyrobust import boards
    from tinyrobust.flash import udev

    if udev_rules and json_file is not None:
        raise click.UsageError("--udev prints a rules file: leave --json out")
    chosen = [boards.load(name) for name in ([board_name] if board_name else boards.names())]
    if udev_rules:
        click.echo(udev.rules(chosen), nl=False)
        return 0
    return _board(chosen[0], json_file) if board_name else _machine(chosen, json_file)


def _machine(chosen: Sequence[Any], json_file: str | None) -> int:
    """Everything."""
    from dataclasses import asdict

    from tinyrobust.cli import _doctor, _doctor_boards

    out = console(json_file)
    tools, extras = _doctor.tools(), _doctor.extras()
    told = {"flasher pyocd", *(f"flasher {item.name}" for item in tools)}
    groups = {
        "tools": tools, "extras": extras,
        "flashers": [i for i in _doctor_boards.flashers(chosen) if i.name not in told],
        "data": _doctor.data_sets(),
    }  # fmt: skip
    ports, probes = _doctor.ports(), _doctor.probes()
    others = [seen for seen in _doctor_boards.seen(chosen)
              if seen.flasher not in ("pyocd", "openocd")]  # fmt: skip
    items = [item for group in groups.values() for item in group]
    ready = all(item.found for item in items if item.required)
    _print(out, items)
    for port in ports:
        looks_like = f", looks like {' or '.join(port.boards)}" if port.boards else ""
        out.print(f"serial port {port.device}: {port.description}{looks_like}")
    for probe in probes:
        out.print(f"debug probe {probe.unique_id}: {probe.description}")
    for seen in others:
        out.print(f"{seen.flasher} sees {seen.id}: {seen.description}", soft_wrap=True)
    if not ports:
        out.print("no serial port is attached; --virtual needs none")
    out.print("permissions, udev rules: tinyrobust doctor --board NAME")
    out.print("ready to build and flash" if ready else "not ready: see 'missing' above")
    write_result(
        json_file,
        "doctor",
        {
            "ready": ready,
            **{name: [asdict(item) for item in group] for name, group in groups.items()},
            "ports": [asdict(port) for port in ports],
            "probes": [asdict(probe) for probe in probes],
            "seen": [asdict(seen) for seen in others],
        },
    )
    return 0 if ready else 1


def _board(board: Any, json_file: str | None) -> int:
    """What one board needs."""
    from dataclasses import asdict

    from tinyrobust.cli import _doctor, _doctor_boards
    from tinyrobust.flash import udev

    out = console(json_file)
    ports = [port for port in _doctor.ports() if board.id in port.boards]
    flashers = _doctor_boards.flashers([board])
    permissions = _doctor_boards.permissions([board], [port.device for port in ports])
    seen = _doctor_boards.seen([board])
    ready = any(item.found for item in flashers) or not flashers
    out.print(f"{board.id}: {board.title}; serial: {board.serial.device}", soft_wrap=True)
    _print(out, [*flashers, *permissions])
    for port in ports:
        out.print(f"serial port {port.device}: {port.description}")
    for row in seen:
        out.print(f"{row.flasher} sees {row.id}: {row.description}", soft_wrap=True)
    if not seen and flashers:
        out.print("no flasher sees this board plugged in")
    if udev.needs(board) or udev.has_free_probe(board):
        out.print(f"udev rules for {udev.FILE} (tinyrobust doctor --board {board.id} --udev):",
                  soft_wrap=True)  # fmt: skip
        out.print(udev.rules([board]), soft_wrap=True)
    out.print(
        "ready to flash" if flashers and ready
        else "no flasher is installed: see above" if flashers
        else "a virtual board: --virtual needs nothing"
    )  # fmt: skip
    write_result(json_file, "doctor-board", {
        "board": board.id, "ready": ready, "flashers": [asdict(item) for item in flashers],
        "permissions": [asdict(item) for item in permissions],
        "ports": [asdict(port) for port in ports], "seen": [asdict(row) for row in seen],
        "udev_file": udev.FILE, "udev_rules": udev.rules([board]),
    })  # fmt: skip
    return 0 if ready else 1


def _print(out: Any, items: Sequence[Item]) -> None:
    """One line each, so that a command to type can be copied whole."""
    from rich.text import Text

    for item in items:
        mark, style = (
            ("ok", "green") if item.found else ("missing", "red") if item.required else ("-", "")
        )
        found = item.detail if item.found else f"get it: {item.how}"
        note = "" if item.found else f"  (for {item.needed_for})"
        words = visible(f" {item.name:18} {found}{note}")
        out.print(Text.assemble((f"{mark:7}", style), words))
