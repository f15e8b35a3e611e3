"""Run something in a child process that is killed (SIGKILL) at its Nth write."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

from tinyrobust import writing

_ENDED, _RAISED = 0, 3


def killed_at(point: int, work: Callable[[], object]) -> bool:
    """Fork, run ``work`` there, and say whether it was killed at fault point ``point`` (from 1);
    False: it ended before. Fails the test when ``work`` raised."""
    child = os.fork()
    if child == 0:
        try:
            os.environ[writing.DIE_AT] = str(point)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(_RAISED)
        os._exit(_ENDED)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == _ENDED, "the child raised; see its traceback above"
    return False
