"""Stage ``boards``: board files. In: a name or a file. Out: a checked ``Board``.

A board is one file ``boards/<id>.yaml``; adding the file adds the board. The fields are
specified in ``schema.py``.
"""

from __future__ import annotations

from pathlib import Path

from tinyrobust import resources, yamlfile
from tinyrobust.boards.schema import Board, Memory
from tinyrobust.errors import BoardError
from tinyrobust.registry import nearest

__all__ = ["Board", "Memory", "load", "names"]


def names() -> list[str]:
    """Ids of all boards that come with tinyrobust."""
    return sorted(p.stem for p in (resources.root() / "boards").glob("*.yaml"))


def load(name_or_file: str | Path) -> Board:
    """The board called so, or the one in this YAML file.

    Raises BoardError: an unknown board (with the nearest name), or a file at fault (with line).
    """
    text = str(name_or_file)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        return yamlfile.load(Path(text), Board, BoardError)
    if text not in names():
        raise BoardError(
            f"unknown board '{text}'",
            nearest(text, names()) or "a board file of your own is named by its path: FILE.yaml",
        )
    path = resources.root() / "boards" / f"{text}.yaml"
    board = yamlfile.load(path, Board, BoardError)
    if board.id != text:
        raise BoardError(
            f"{path}: id is '{board.id}', the file is named '{text}'",
            "rename the file, or correct its id",
        )
    return board
