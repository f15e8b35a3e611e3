"""The commands that do the work, on a small model: their exit codes, files, and pure JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
BOARD = ("--board", "nucleo-h743")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands below run one after another, as a user would."""
    return tmp_path_factory.mktemp("user")


def tinyrobust(folder: Path, *args: str, code: int = 0) -> dict[str, Any]:
    """Run a command with ``--json -``; its document, after checking that it is all there is."""
    command = [sys.executable, "-m", "tinyrobust", *args, "--json", "-"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    made_by = "evaluate" if args[0] == "report" else args[0]  # a report is an evaluation's figures
    assert document["schema"] == f"tinyrobust.{made_by}/1"
    assert "Traceback" not in done.stderr
    return dict(document)


def test_build_then_budget(folder: Path) -> None:
    built = tinyrobust(folder, "build", *BOARD)
    image = folder / "build" / "nucleo-h743" / "shapes-small"
    assert {"firmware.elf", "firmware.bin", "firmware.hex", "image.json", "memory.json"} <= {
        path.name for path in image.iterdir()
    }
    assert built["schema"] == "tinyrobust.build/1"
    tinyrobust(folder, "budget", str(image))
    tinyrobust(folder, "budget", *BOARD)


def test_flash_the_virtual_board(folder: Path) -> None:
    flashed = tinyrobust(folder, "flash", *BOARD, "--virtual")
    meta = json.loads((folder / "build/nucleo-h743/shapes-small/image.json").read_text())
    assert meta["image_sha256"] in json.dumps(flashed)


def test_evaluate_then_report(folder: Path) -> None:
    attacks = ("--samples", "6", "--attacks", "noise")
    figures = tinyrobust(folder, "evaluate", *BOARD, "--virtual", *attacks)
    assert figures["score_differences"] == 0
    out = folder / "evaluation" / "nucleo-h743" / "shapes-small"
    for name in ("report.html", "report.md", "report.json", "junit.xml", "records.jsonl"):
        assert (out / name).stat().st_size > 0
    again = tinyrobust(folder, "report", str(out))
    assert again["score_differences"] == 0


def test_bench_and_verify(folder: Path) -> None:
    counted = tinyrobust(folder, "bench", *BOARD)
    assert len(json.dumps(counted)) > 100
    checked = tinyrobust(folder, "verify", *BOARD, "--samples", "4", "--layers", "1")
    assert len(json.dumps(checked)) > 100
