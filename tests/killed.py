"""Run something in a child process that is killed (SIGKILL) at its Nth write.

Fork only from a process that has no threads: a child has one thread, and waits for ever on a lock
that another one held. ``alone`` starts such a process for a test's work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tinyrobust import writing

_ENDED, _RAISED = 0, 3
_HANGS_S = 240
NEVER = 0


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Fork, run ``work`` there, and say whether it was killed at fault point ``point`` (from 1);
    False: it ended before. Fails the test when ``work`` raised or hung."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_HANGS_S)
            os.environ[writing.DIE_AT] = str(point)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(_RAISED)
        os._exit(_ENDED)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"hung at write {point}"
        return True
    assert os.WEXITSTATUS(status) == _ENDED, "the child raised; see its traceback above"
    return False


def alone(module: str, *arguments: object) -> str:
    """What ``python -m module arguments`` prints, in a process of its own; fails when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=Path(__file__).parents[1],
        capture_output=True, text=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
