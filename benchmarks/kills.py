"""Commands killed at their writes: ``python benchmarks/kills.py [--stride N] [COMMAND ...]``.

Each command runs once unbroken. Then, in a fresh folder each time, it is killed (SIGKILL) at its
Nth fault point (``tinyrobust/writing.py``) and the same command is given again; what it leaves must
equal what the unbroken run left, in every file or field that is not a time, and no temporary file
may be left. Points 1, 1 + stride, ... are tried until a run ends before it is killed. Prints a
table; ends with status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DIE_AT = "TINYROBUST_DIE_AT_WRITE"
TIMES = {"started", "finished", "device_s", "craft_s", "s", "per_s", "seconds", "wall_s", "judge_s",
         "training_seconds", "total_seconds", "seconds_per_epoch"}  # fmt: skip
SPACE = {
    "name": "tiny", "eps_255": 16, "parameters": {"width": {"low": 0.5, "high": 3.0, "step": 0.5}},
    "set": ["training.train_images=64", "training.validation_images=32", "training.batch_size=32",
            "training.batch_norm_images=64"],
}  # fmt: skip


def files(folder: Path) -> Any:
    """Hashes of all files below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"
    }  # fmt: skip


def timeless(document: Any) -> Any:
    """``document`` without the fields that are times."""
    if isinstance(document, dict):
        return {k: timeless(v) for k, v in document.items() if k not in TIMES}
    if isinstance(document, list):
        return [timeless(item) for item in document]
    return document


def report(name: str) -> Callable[[Path], Any]:
    """The JSON report ``name`` without times."""
    return lambda folder: timeless(json.loads((folder / "out" / name).read_text()))


def trained(folder: Path) -> Any:
    """A training's weights, bit for bit, and its figures."""
    out = folder / "out"
    about = timeless(json.loads((out / "training.json").read_text()))
    return [hashlib.sha256((out / "weights.npz").read_bytes()).hexdigest(), about]


def zoo(folder: Path) -> Any:
    """A converted model: every file; of the card what is no time."""
    found = files(folder / "out")
    for name in ("card.md", "card.json"):
        found.pop(name)
    return [found, timeless(json.loads((folder / "out" / "card.json").read_text()))]


@dataclass(frozen=True)
class Row:
    """A command line (``out`` is where it writes), how it goes on, and what it leaves."""

    words: str
    left: Callable[[Path], Any]
    again: str = ""


ROWS = {
    "build": Row("build --board nucleo-h743 --out out", lambda f: files(f / "out")),
    "export": Row("export --model shapes-small --board nucleo-h743 --format cmake --out out",
                  lambda f: files(f / "out")),
    "flash": Row("flash --board nucleo-h743 --virtual",
                 lambda f: files(f / "state")),
    "evaluate": Row("evaluate --board nucleo-h743 --virtual --samples 20 --batch 10 --attacks "
                    "noise,pgd --eps 8 --out out", report("report.json")),
    "compare": Row("compare --models shapes-small --samples 20 --attacks noise,fgsm --eps 8 "
                   "--out out", report("compare.json")),
    "convert": Row(f"convert {ROOT}/models/zoo/shapes-small/train --out out", zoo),
    "train": Row("train shapes-small --set training.epochs=2 --out out", trained, " --resume"),
    "search": Row("search shapes-small --space space.yaml --board nucleo-h743 --budget flash=64K "
                  "--trials 1 --epochs 1 --out out", report("search.json"), " --resume"),
}  # fmt: skip


def run(words: str, folder: Path, die_at: int = 0) -> int:
    """The command's status in ``folder``; -9 when it was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(json.dumps(SPACE))
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder),
                   "TF_CPP_MIN_LOG_LEVEL": "3", DIE_AT: str(die_at)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tinyrobust", *words.split()], cwd=folder, env=environment,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode not in (0, -signal.SIGKILL):
        sys.stderr.write(f"{words}: status {done.returncode}\n{done.stderr[-1500:]}\n")
    return done.returncode


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders of ours."""
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*")
            if ".tinyrobust-" in p.name or p.name.startswith("tinyrobust+")]  # fmt: skip


def matrix(name: str, row: Row, stride: int, work: Path) -> tuple[int, int, list[str]]:
    """Kills, kills after which all was equal, and what was not."""
    if run(row.words, work / "whole") != 0:
        return 0, 0, ["the unbroken run failed"]
    wanted = row.left(work / "whole")
    point, kills, equal, faults = 1, 0, 0, []
    while True:
        folder = work / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        status = run(row.words, folder, point)
        if status == 0:
            return kills, equal, faults
        kills += 1
        time.sleep(2)  # compilers that outlive their run end
        status = run(row.words + row.again, folder)
        if status != 0 and row.again:  # there is nothing to resume yet: begin
            status = run(row.words, folder)
        left = leftovers(folder)
        if status != 0:
            faults.append(f"{name} at {point}: status {status}")
        elif left:
            faults.append(f"{name} at {point}: leaves {left}")
        elif (found := row.left(folder)) != wanted:
            faults.append(f"{name} at {point}: {difference(wanted, found)}")
        else:
            equal += 1
        point += stride


def difference(wanted: Any, found: Any, where: str = "") -> str:
    """The first place in which two documents differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in [*wanted, *found]:
            if wanted.get(key) != found.get(key):
                return difference(wanted.get(key), found.get(key), f"{where}.{key}")
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
            if a != b:
                return difference(a, b, f"{where}[{i}]")
    return f"{where}: {str(wanted)[:60]} became {str(found)[:60]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", metavar="COMMAND")
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    wrong: list[str] = []
    sys.stdout.write("| command | kills | equal |\n|---|---:|---:|\n")
    for name in options.commands or ROWS:
        with tempfile.TemporaryDirectory() as work:
            kills, equal, faults = matrix(name, ROWS[name], options.stride, Path(work))
        sys.stdout.write(f"| {name} | {kills} | {equal} |\n")
        sys.stdout.flush()
        wrong += faults
    sys.stdout.write("".join(f"{text}\n" for text in wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
