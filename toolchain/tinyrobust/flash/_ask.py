"""Stage ``flash``: a short question to a program, such as which probes it sees."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

TIMEOUT_S = 8.0
_memory: dict[tuple[str, ...], str] | None = None


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Inside, a question is asked once and then answered from memory."""
    global _memory
    _memory = {}
    try:
        yield
    finally:
        _memory = None


def ask(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """What ``command`` prints on standard output; nothing when it cannot run or is too slow."""
    known = _memory
    if known is None:
        return _ask(command, timeout_s)
    key = tuple(command)
    if key not in known:
        known[key] = _ask(command, timeout_s)
    return known[key]


def _ask(command: Sequence[str], timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return ""
    return done.stdout.decode(errors="replace")
