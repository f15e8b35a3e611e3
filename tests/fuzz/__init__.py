"""Fuzzing: the device's protocol parser and the reader of .tflite files."""

import subprocess
from pathlib import Path


def run_apart(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a fuzzer that limits its own memory; returns its exit code and output.

    Linux keeps a process's peak memory across exec, so a child of the test process would begin with
    what TensorFlow took there; a child of a small shell does not.
    """
    shell = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    return subprocess.run(shell, cwd=cwd, capture_output=True, text=True, check=False)
