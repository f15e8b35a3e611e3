"""The README's picture made anew: ``python benchmarks/report_picture.py [--report FOLDER]``.

Runs what ``make demo`` runs in a temporary folder (or takes the FOLDER of an evaluation that it
wrote), writes the figures that the picture shows to ``docs/report.json`` and takes the picture of
``report.html`` with a headless Chromium (Debian: ``apt-get install chromium``) as
``docs/report.png``. ``tests/project/test_report_picture.py`` compares the former with the demo's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyrobust.image import compilers
from tinyrobust.report import words
from tinyrobust.units import count, kib, percent

ROOT = Path(__file__).resolve().parents[1]
DATA, PICTURE = ROOT / "docs" / "report.json", ROOT / "docs" / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1240, 1120  # pixels


def demo_lines() -> list[list[str]]:
    """The commands of ``make demo`` but ``budget``, which shows no more, as words."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    samples = re.search(r"^DEMO_SAMPLES \?= (\d+)$", text, re.MULTILINE)
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert samples is not None and recipe is not None
    lines = [
        shlex.split(line.replace("$(BIN)/", "").replace("$(DEMO_SAMPLES)", samples[1]))
        for line in recipe[1].splitlines()
    ]
    return [line for line in lines if line[1] != "budget"]


def run_demo(folder: Path) -> dict[str, Any]:
    """Run the demo in ``folder``; the dictionary of its report.json."""
    for line in demo_lines():
        words_ = [str(ROOT / word) if word.startswith("models/") else word for word in line[1:]]
        subprocess.run(
            [sys.executable, "-c", "from tinyrobust.cli.main import main; main()", *words_],
            cwd=folder, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    (found,) = folder.glob("evaluation/*/*/report.json")
    return dict(json.loads(found.read_text()))


def shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the picture shows of a report's figures, as it shows it; ``firmware`` holds what
    another compiler makes different."""
    image = figures["memory"]["image"]
    return {
        "model": figures["model"],
        "board": figures["about"]["board_title"],
        "score_differences": figures["score_differences"],
        "samples": figures["clean"]["samples"],
        "rows": [
            {k: v for k, v in row.items() if k != "note"} for row in words.rows(dict(figures))
        ],
        "firmware": {
            "compiler": compilers.for_core("cortex-m7").version,
            "one_inference": count(figures["cost"]["mean"]),
            "flash": kib(image["flash"]["used_bytes"]),
            "flash_share": percent(image["flash"]["used_bytes"] / image["flash"]["budget_bytes"]),
            "ram": kib(image["ram"]["used_bytes"]),
            "ram_share": percent(image["ram"]["used_bytes"] / image["ram"]["budget_bytes"]),
            "layers": {row["name"]: count(row["cycles"]) for row in figures["cost"]["layers"]},
            "memory": [row["text"] for row in words.memory_rows(dict(figures)) if row.get("text")],
        },
    }


def take(page: Path, picture: Path) -> None:
    """A picture of the top of ``page``."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("no Chromium to take the picture with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={profile}",
             f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", page.as_uri()],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip
    _shrink(picture)


def _shrink(picture: Path) -> None:
    """A palette of 256 colours in place of 16 million: a third of the bytes."""
    from PIL import Image

    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    small.save(picture, optimize=True)


def main() -> None:
    """Make both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--report", type=Path, help="folder of the demo's evaluation")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if chosen.report is None:
            figures = run_demo(Path(name))
            (page,) = Path(name).glob("evaluation/*/*/report.html")
        else:
            page = chosen.report.resolve() / "report.html"
            figures = json.loads(page.with_suffix(".json").read_text())
        DATA.write_text(json.dumps(shown(figures), indent=1) + "\n")
        take(page, PICTURE)
    print(f"wrote {DATA} and {PICTURE}, {os.path.getsize(PICTURE):,} bytes")  # noqa: PTH202


if __name__ == "__main__":
    main()
