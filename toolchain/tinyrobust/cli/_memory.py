"""The memory report as tables, for `build` and `budget`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyrobust.image import MemoryReport


def print_memory(screen: Any, report: MemoryReport) -> None:
    """Print totals, regions and layers on a rich Console."""
    from rich.table import Table

    table = Table("memory", "used", "of", "", "what", title=f"{report.model} on {report.board}")
    for column in (1, 2, 3):
        table.columns[column].justify = "right"
    for name, total in (("flash", report.flash), ("RAM", report.ram)):
        table.add_row(*_row(name, total.used_bytes, total.budget_bytes, total.parts))
    stack = report.stack
    if stack.bound_bytes is not None:
        chain = " > ".join(stack.path)
        table.add_row(*_row("stack bound", stack.bound_bytes, stack.reserved_bytes, []), chain)
    if report.code:
        code = ", ".join(f"{p.name} {p.bytes:,}" for p in report.code)
        table.add_row("code", f"{report.flash.part('code'):,} B", "", "", code)
    table.add_section()
    for region in report.regions:
        if region.used_bytes:
            table.add_row(*_row(region.name, region.used_bytes, region.size_bytes, region.parts))
    screen.print(table)
    layers = Table("layer", "kernel", "MACs", "weights", "tables", "scratch", "output")
    for column in range(2, 7):
        layers.columns[column].justify = "right"
    for layer in report.layers:
        layers.add_row(
            layer.name, layer.kernel,
            *(f"{n:,}" for n in (layer.macs, layer.weights_bytes, layer.tables_bytes,
                                 layer.scratch_bytes, layer.output_bytes)),
        )  # fmt: skip
    screen.print(layers)


def _row(name: str, used: int, limit: int, parts: Any) -> list[str]:
    from tinyrobust.units import percent

    what = ", ".join(f"{p.name} {p.bytes:,}" for p in parts if p.bytes)
    row = [name, f"{used:,} B", f"{limit:,} B", percent(used / limit)]
    return [*row, what] if parts else row
