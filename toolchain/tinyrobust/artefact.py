"""Text and JSON through the one writer (``writing.py``), locks, and hashes of what an artefact was
made from."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tinyrobust.errors import TinyRobustError
from tinyrobust.writing import write_bytes

__all__ = [
    "canonical_json", "sha256", "try_lock", "write_bytes", "write_json", "write_text",
]  # fmt: skip


def try_lock(path: Path) -> int | None:
    """A handle whose lock lasts until it is closed or the process ends; None: another has it.

    Raises TinyRobustError when the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise TinyRobustError(
            f"cannot write {path}: {error.strerror}", "check the folder and its permissions"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` for UTF-8 text."""
    write_bytes(path, text.encode())


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def write_json(path: Path, value: Any) -> None:
    """Indented JSON, written as ``write_bytes`` does."""
    write_text(path, json.dumps(value, indent=2, sort_keys=False) + "\n")


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()
