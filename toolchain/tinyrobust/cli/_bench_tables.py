"""The tables of ``tinyrobust bench``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyrobust.bench.bench import Bench
    from tinyrobust.bench.published import Reference


def show(screen: Any, result: Bench) -> None:
    """Per layer and in all, and bytes by part."""
    _layers(screen, result)
    _bytes(screen, result)


def show_int8(screen: Any, runs: Sequence[tuple[Bench, Reference | None]]) -> None:
    """The runs, one per board, beside int8 where it is known; nothing otherwise."""
    if not (runs[0][0].references or any(ours for _, ours in runs)):
        return
    table = _table("", "instructions", "of this", "M4 cycles, estimated", "of this",
                   title="beside int8", names=1)  # fmt: skip
    for result, ours in runs:
        table.add_row(f"this, {result.board}", _millions(result.instructions), "",
                      _millions(result.m4_cycles), "")  # fmt: skip
        counted = [r for r in result.references if r.instructions is not None]
        for other in [ours, *counted] if ours else counted:
            table.add_row(
                other.name, _millions(other.instructions),
                _factor(other.instructions, result.instructions), _millions(other.m4_cycles),
                _factor(other.m4_cycles, result.m4_cycles),
            )  # fmt: skip
        table.add_section()
    screen.print(table)
    for other in {r.name: r for _, ours in runs for r in (ours, *runs[0][0].references)
                  if r is not None}.values():  # fmt: skip
        measured = other.measured_cycles
        cycles = "" if measured is None else f"{_millions(measured)} cycles, "
        screen.print(f"{other.name}: {cycles}{other.how}", markup=False)


def _millions(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.2f} M"


def _factor(value: int | None, base: int) -> str:
    return "" if value is None else f"{value / base:.2f} x"


def _table(*columns: str, title: str, names: int) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*columns, box=SIMPLE_HEAD, title=title, pad_edge=False, collapse_padding=True)
    for column in table.columns[names:]:
        column.justify, column.no_wrap = "right", True
    return table


def _layers(screen: Any, result: Bench) -> None:
    from tinyrobust.units import count

    zeros = "" if result.zeros is None else f", {100 * result.zeros:.1f} % zeros"
    other = next((r for r in result.references if r.layers), None)
    table = _table(
        "layer", "kernel", "MACs" if other is None else other.name.split()[0], "instructions",
        "/MAC", "predicted", "M4 cycles *",
        title=f"{result.model} on {result.board} (virtual){zeros}", names=2,
    )  # fmt: skip
    table.columns[0].min_width, table.columns[1].min_width = (10, 13) if other is None else (10, 11)
    rows = [
        (layer.name, _kernel(layer.kernel, layer.variant), layer.macs, layer.instructions,
         layer.predicted, layer.m4_cycles)
        for layer in result.layers
    ]  # fmt: skip
    macs = sum(layer.macs for layer in result.layers)
    for row in (*rows, None, ("inference", "", macs, result.instructions, result.predicted,
                              result.m4_cycles)):  # fmt: skip
        if row is None:
            table.add_section()
            continue
        name, kernel, macs, counted, predicted, cycles = row
        table.add_row(
            name, kernel, _theirs(other, name) if other else count(macs) if macs else "",
            f"{counted:,}",
            f"{counted / macs:.2f}" if macs else "",
            f"{(predicted / counted - 1) * 100:+.1f} %" if counted else "", f"{cycles:,}",
        )  # fmt: skip
    screen.print(table)
    screen.print(f"* {result.cycles_are}", markup=False)
    if result.first_instructions != result.instructions:
        screen.print(f"first inference after a reset: {result.first_instructions:,} instructions")


def _theirs(other: Reference, layer: str) -> str:
    """What a layer, or all of them, takes there."""
    figures = other.layers.get(layer)
    theirs = other.instructions if layer == "inference" else figures and figures.instructions
    return f"{theirs / 1e6:.2f} M" if theirs else ""


def _kernel(name: str, variant: dict[str, int]) -> str:
    settings = ",".join(f"{key}={value}" for key, value in variant.items())
    return f"{name}:{settings}" if settings else name


def _bytes(screen: Any, result: Bench) -> None:
    from tinyrobust.units import kib

    own = result.weight_flash_bytes
    screen.print(
        f"flash {kib(result.flash_bytes)}; of the network {kib(result.network_flash_bytes)}, its "
        f"weights and constants {kib(own)}"
    )
    flash = sorted(result.flash.items(), key=lambda part: -part[1])
    screen.print("  " + ", ".join(f"{name} {n:,}" for name, n in flash if n), markup=False)
    screen.print(
        f"RAM {kib(result.ram_bytes)}; of the network {kib(result.network_ram_bytes)} (without "
        "stack and link)"
    )
    scratch = max((layer.scratch_bytes for layer in result.layers), default=0)
    ram = ", ".join(f"{name} {n:,}" for name, n in result.ram.items() if n)
    screen.print(f"  {ram}; largest scratch {scratch:,}, in the arena", markup=False)
