"""Say what is installed, what is missing and how to get it, and what is attached."""

from __future__ import annotations

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command()
@json_option
def command(json_file: str | None) -> int:
    """Say what is installed, what is missing and how to get it, and what is attached.

    Exits 1 when something is missing that building and flashing a zoo model needs.
    """
    from dataclasses import asdict

    from rich.markup import escape

    from tinyrobust.cli import _doctor

    out = console(json_file)
    groups = {
        "tools": _doctor.tools(), "extras": _doctor.extras(), "data": _doctor.data_sets(),
    }  # fmt: skip
    ports, probes = _doctor.ports(), _doctor.probes()
    items = [item for group in groups.values() for item in group]
    ready = all(item.found for item in items if item.required)

    for item in items:  # one line each, so that a command to type can be copied whole
        mark = (
            "[green]ok[/]     " if item.found else "[red]missing[/]" if item.required else "-      "
        )
        found = escape(item.detail if item.found else f"get it: {item.how}")
        note = "" if item.found else f"  (for {escape(item.needed_for)})"
        out.print(f"{mark} {escape(f'{item.name:18}')} {found}{note}", soft_wrap=True, markup=True)
    for port in ports:
        looks_like = f", looks like {' or '.join(port.boards)}" if port.boards else ""
        out.print(f"serial port {port.device}: {port.description}{looks_like}")
    for probe in probes:
        out.print(f"debug probe {probe.unique_id}: {probe.description}")
    if not ports:
        out.print("no serial port is attached; --virtual needs none")
    out.print("ready to build and flash" if ready else "not ready: see 'missing' above")
    write_result(
        json_file,
        "doctor",
        {
            "ready": ready,
            **{name: [asdict(item) for item in group] for name, group in groups.items()},
            "ports": [asdict(port) for port in ports],
            "probes": [asdict(probe) for probe in probes],
        },
    )
    return 0 if ready else 1
