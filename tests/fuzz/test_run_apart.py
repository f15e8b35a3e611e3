"""A fuzzer's memory limit counts what the fuzzer takes, not what the test process took."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz import run_apart

PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def test_the_peak_of_the_test_process_is_not_inherited(tmp_path: Path) -> None:
    here = b"x" * 200_000_000
    done = run_apart([sys.executable, "-c", PEAK], tmp_path)
    assert int(done.stdout) * 1024 < len(here), done.stderr
