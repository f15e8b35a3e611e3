"""What ``boards --check`` finds in a board file: the schema's rules, then what other parts need.

In: a file. Out: problems with line and field, none for a file that builds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tinyrobust import boards, flash, yamlfile
from tinyrobust.boards.schema import At, Board
from tinyrobust.errors import BoardError
from tinyrobust.image import ports
from tinyrobust.registry import nearest
from tinyrobust.virtual.peripherals import register_map
from tinyrobust.yamlfile import Problem


def problems(path: Path) -> list[Problem]:
    """All that is wrong in ``path``. Raises BoardError when it cannot be read at all."""
    found = yamlfile.problems(path, Board, BoardError)
    if found:
        return found
    return [
        Problem(
            yamlfile.line_of(path, said.where, BoardError),
            ".".join(str(part) for part in said.where), str(said), hint,
        )
        for said, hint in _further(boards.load(path))
    ]  # fmt: skip


def _further(board: Board) -> Iterator[tuple[At, str]]:
    """What the schema cannot know: ports, flashers, models of peripherals, sums of memories."""
    known_ports = ports.known_ports()
    if board.port in known_ports:
        yield from ports.wrong_settings(board)
    else:
        yield At(f"there is no port '{board.port}'", "port"), nearest(board.port, known_ports)
    known = flash.flashers()
    for i, row in enumerate(board.flashers):
        if row.id not in known:
            yield At(f"there is no flasher '{row.id}'", "flashers", i), nearest(row.id, known)
    ram = sum(m.length for m in board.memories if m.kind != "flash" and m.use)
    if board.budget.ram_bytes > ram:
        yield At(
            f"budget.ram_bytes is {board.budget.ram_bytes:,}, the memories that have a use have "
            f"{ram:,}", "budget", "ram_bytes",
        ), "add a memory, or lower the budget"  # fmt: skip
    stack = board.placed("stack")[0]
    if board.budget.stack_bytes >= stack.length:
        yield At(f"the stack does not fit {stack.name}", "budget", "stack_bytes"), ""
    if board.unicorn is not None:
        try:
            register_map(board)
        except BoardError as error:
            yield At(error.message, "unicorn", "peripherals"), error.hint
