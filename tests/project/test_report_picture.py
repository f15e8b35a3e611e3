"""The README's picture shows what ``make demo`` prints today."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "report_picture", ROOT / "benchmarks" / "report_picture.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_is_what_the_script_runs() -> None:
    lines = _script().demo_lines()
    assert [line[1] for line in lines] == ["build", "flash", "evaluate"]
    assert all("$" not in word for line in lines for word in line)


@pytest.mark.slow
def test_the_pictures_figures_are_the_demos(tmp_path: Path) -> None:
    """To mend it: ``python benchmarks/report_picture.py``."""
    script = _script()
    now = script.shown(script.run_demo(tmp_path))
    held = json.loads((ROOT / "docs" / "report.json").read_text())
    firmware, before = now.pop("firmware"), held.pop("firmware")
    assert now == held
    # Another compiler makes other code of the same integers.
    if firmware["compiler"] == before["compiler"]:
        assert firmware == before
    assert before["flash"].endswith("KiB") and len(before["layers"]) == len(firmware["layers"])
