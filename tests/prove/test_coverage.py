"""``tinyrobust coverage``: a folder of .tflite files, each with what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_models import Op, T, constant, write
from tinyrobust import artefact
from tinyrobust.cli.main import run
from tinyrobust.prove import coverage


def _files(folder: Path) -> list[str]:
    x, y = T((1, 4, 4, 2), 0.1, 3), T((1, 4, 4, 2), 0.2, -5)
    window = {"Padding": 1, "StrideH": 10, "StrideW": 10, "FilterHeight": 2, "FilterWidth": 2}
    pool = Op("MAX_POOL_2D", [0], [1], "Pool2DOptions", window)
    wide = T((1, 100, 100, 16), 0.1)
    real = T((1, 4), type="FLOAT32")
    kernel = constant(np.ones((4, 4), np.float32))
    models = {
        "good.lite": write([x, y], [Op("RELU", [0], [1])], [0], [1]),
        "large.tflite": write([wide, T((1, 10, 10, 16), 0.1)], [pool], [0], [1]),
        "float.tflite": write([real, kernel, real], [Op("FULLY_CONNECTED", [0, 1], [2])], [0], [2]),
        "broken.tflite": b"no model at all",
    }
    for name, data in models.items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in models]


def test_each_file_has_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, out = _files(tmp_path), tmp_path / "found.json"
    command = ["coverage", *files, str(tmp_path / "missing"), "--samples", "3",
               "--board", "nucleo-f446", "--json", str(out)]  # fmt: skip
    assert run(command) == 0
    document = json.loads(out.read_text())
    good, large, real, broken, missing = document["files"]
    assert document["schema"] == "tinyrobust.coverage/1"
    assert good["imports"] and good["fits"] and good["host_differs"] == 0
    assert good["operators"] == {"RELU": 1} and good["outputs"] == 3 * 32
    assert large["imports"] and large["fits"] is False and "nucleo-f446" in large["notes"][0]
    assert real["kind"] == "a float32 network" and not real["imports"]
    assert "is a float32 network" in real["refused"]
    assert "no TensorFlow Lite model" in broken["refused"]
    assert "cannot read" in missing["refused"]
    printed = capsys.readouterr().out
    assert "5 files: 2 import, 1 fit nucleo-f446" in printed


def test_a_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that the result knows, by its bytes, is not looked at again."""

    class Idle:
        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(coverage, "_pool", Idle)
    first, out = Path(_files(tmp_path)[0]), tmp_path / "found.json"
    row = coverage.Row(str(first), artefact.sha256(first.read_bytes()), 7, "", {"RELU": 1}, True,
                       board="nucleo-h743", samples=2, outputs=64, reference_differs=0,
                       host_differs=0, notes=("a note",))  # fmt: skip
    out.write_text(json.dumps({"files": [row.as_json()]}))
    again = ["coverage", str(first), "--samples", "2", "--json", str(out), "--resume"]
    assert run(again) == 0
    (entry,) = json.loads(out.read_text())["files"]
    assert coverage.Row.from_json(entry) == row and entry["exact"]
    assert "1 are exact" in capsys.readouterr().out
    out.write_text('{"files": [{}]}')
    assert run(again) == 1
    assert "is no result of `coverage`" in capsys.readouterr().err


@pytest.mark.train
def test_the_reference_is_asked(tmp_path: Path) -> None:
    row = coverage.examine(Path(_files(tmp_path)[0]), "nucleo-h743", 3)
    assert row.reference_differs == 0 and row.exact
