"""Stage ``flash``: a short question to a program, such as which probes it sees."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

TIMEOUT_S = 8.0


def ask(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> str:
    """What ``command`` prints on standard output; nothing when it cannot run or is too slow."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return ""
    return done.stdout.decode(errors="replace")
