"""Several workers at once, each a process of its own on the same folder.

In: a Folder, how many trials and workers. Out: when it returns, the trials are done. A worker that
dies is no loss: its trial is taken up by another, at last by this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from optuna.trial import TrialState

from tinyrobust.errors import EXIT_DEVICE, EXIT_USER, TinyRobustError
from tinyrobust.graph.batches import cores
from tinyrobust.search.results import sentence
from tinyrobust.search.study import Folder
from tinyrobust.search.worker import Watcher, work

_LOOK_S = 1.0


def run(folder: Folder, wanted: int, workers: int, watcher: Watcher) -> None:
    """Do trials until ``wanted`` are trained; with one worker in this process.

    Raises what ``worker.work`` raises, and TinyRobustError with a worker's own words.
    """
    if workers > 1:
        _ = folder.study  # made before the others open it
        threads = str(max(1, cores() // workers))
        environment = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": "1"}
        command = [sys.executable, "-m", "tinyrobust.search.child", str(folder.path), str(wanted)]
        children = [
            subprocess.Popen(command, env={**environment, **os.environ}, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(workers)
        ]  # fmt: skip
        try:
            _wait(folder, children, watcher)
        finally:
            for child in children:
                if child.poll() is None:
                    child.terminate()
                child.communicate()
    work(folder, wanted, watcher)


def _wait(folder: Folder, children: Sequence[subprocess.Popen[str]], watcher: Watcher) -> None:
    told = {t.number for t in folder.study.get_trials(deepcopy=False) if t.state.is_finished()}
    while True:
        running = [child for child in children if child.poll() is None]
        for trial in folder.study.get_trials(deepcopy=False):
            if trial.state != TrialState.RUNNING and trial.number not in told:
                told.add(trial.number)
                watcher.end(trial.number, sentence(trial))
        for child in children:
            if child.returncode in (EXIT_USER, EXIT_DEVICE):
                message = child.stderr.read() if child.stderr else ""
                raise TinyRobustError(f"a worker gave up: {message.strip() or 'it said nothing'}")
        if not running:
            return
        time.sleep(_LOOK_S)
