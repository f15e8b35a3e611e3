"""Start-up times of every command: ``python benchmarks/startup.py [--runs N] [--toolchain DIR]``.

Each command is started as a user starts it, in a process of its own, and the processor time (user
and system, of it and of its children) and the wall time are printed, medians of ``--runs`` runs.
Rows: ``CMD --help`` for every command; what prints something at once; and, for commands that run
long, a model, board or folder that does not exist, so that they end where their work would begin.
The first row of each is warm: one run before is not counted. ``--toolchain`` measures another
checkout (its ``toolchain`` folder) with the packages of this environment; ``--json FILE`` keeps the
figures, ``--beside FILE`` prints kept ones in front.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NONE = "no-such-thing"
TFLITE = "models/zoo/digits-dscnn-ternary/int8.tflite"
LINES = (
    "--version",
    "--help",
    "attacks",
    "boards",
    "models",
    "tasks",
    "completion bash",
    "doctor",
    f"inspect {TFLITE}",
    f"plan --board nucleo-h743 --model {TFLITE}",
    f"build --board {NONE}",
    f"build --board nucleo-h743 --model {NONE}",
    f"bench --board nucleo-h743 --model {NONE}",
    f"budget {NONE}",
    f"compare --suite {NONE}",
    f"convert {NONE} --out {NONE}",
    f"evaluate --virtual --board nucleo-h743 --model {NONE}",
    f"export --model {NONE} --format arduino",
    f"flash --virtual --board {NONE}",
    f"monitor --virtual --board {NONE}",
    f"report {NONE}",
    f"search {NONE} --board nucleo-h743",
    f"simulate --board {NONE}",
    f"train {NONE}",
    f"verify --board nucleo-h743 --model {NONE}",
)


def commands(toolchain: Path) -> list[str]:
    """Names of all commands, from their files."""
    files = (toolchain / "tinyrobust" / "cli").glob("[!_]*.py")
    return sorted(f.stem.replace("_", "-") for f in files if f.stem != "main")


def run(line: str, toolchain: Path, folder: Path) -> tuple[float, float]:
    """Processor and wall seconds of one run of ``tinyrobust LINE`` with ``folder`` as home."""
    words = [sys.executable, "-c", "from tinyrobust.cli.main import main; main()", *line.split()]
    # Its own cache: what is kept by this version is not what another's start-up should find.
    environment = {
        **os.environ, "PYTHONPATH": str(toolchain), "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "100", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    begun = time.perf_counter()
    child = subprocess.Popen(
        words, cwd=toolchain.parent, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, _, used = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - begun
    child.returncode = 0  # wait4 has reaped it
    return used.ru_utime + used.ru_stime, wall_s


def measure(lines: Sequence[str], toolchain: Path, runs: int) -> dict[str, dict[str, float]]:
    """Median processor and wall seconds of each line."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for line in lines:
            run(line, toolchain, Path(name))
            timed = [run(line, toolchain, Path(name)) for _ in range(runs)]
            cpu, wall = (statistics.median(column) for column in zip(*timed, strict=True))
            found[line] = {"cpu_s": round(cpu, 3), "wall_s": round(wall, 3)}
            print(f"{line}: {cpu:.2f} s of processor time", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, dict[str, float]], beside: dict[str, dict[str, float]]) -> str:
    """Markdown, one row per line; ``beside`` in front where it is not empty."""
    heads = ["`tinyrobust ...`", *(["before: processor s", "wall s"] if beside else []),
             "processor s", "wall s"]  # fmt: skip
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for line, now in found.items():
        figures = [beside.get(line)] if beside else []
        cells = [
            cell
            for each in (*figures, now)
            for cell in ((f"{each['cpu_s']:.2f}", f"{each['wall_s']:.2f}") if each else ("", ""))
        ]
        rows.append([f"`{line}`", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--toolchain", type=Path, default=ROOT / "toolchain")
    parser.add_argument("--json", type=Path, help="keep the figures")
    parser.add_argument("--beside", type=Path, help="figures kept before, to print in front")
    parser.add_argument(
        "--only", action="append", default=[], help="lines beginning so; repeatable"
    )
    chosen = parser.parse_args()
    toolchain = chosen.toolchain.resolve()
    lines = [*LINES, *(f"{name} --help" for name in commands(toolchain))]
    if chosen.only:
        lines = [line for line in lines if line.startswith(tuple(chosen.only))]
    found = measure(lines, toolchain, chosen.runs)
    beside = json.loads(chosen.beside.read_text()) if chosen.beside else {}
    print(table(found, beside))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
