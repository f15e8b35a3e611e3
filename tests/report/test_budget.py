"""`tinyrobust build`, `budget` and `boards` as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.graphs import Builder, tiny_graph
from tinyrobust import resources
from tinyrobust.cli.main import run
from tinyrobust.graph import file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with tiny.graph.npz."""
    monkeypatch.chdir(tmp_path)
    file.save(tiny_graph(), tmp_path / "tiny.graph.npz")
    return tmp_path


def board_file(folder: Path, old: str, new: str) -> str:
    text = (resources.root() / "boards" / "nucleo-h743.yaml").read_text()
    assert old in text
    path = folder / "mine.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def build(*options: str) -> int:
    return run(["build", "--model", "tiny.graph.npz", *options])


def test_build_then_budget(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build("--board", "nucleo-h743", "--json", "-") == 0
    out = capsys.readouterr()
    result = json.loads(out.out)  # nothing else on standard output
    assert result["schema"] == "tinyrobust.build/1"
    assert result["folder"] == "build/nucleo-h743/tiny"
    assert "stack bound" in out.err and "dense_t2_u8" in out.err
    on_disk = json.loads((here / "build/nucleo-h743/tiny/memory.json").read_text())
    assert on_disk == result["memory"]

    assert run(["budget", "build/nucleo-h743/tiny"]) == 0
    assert run(["budget", "--board", "nucleo-h743", "--model", "tiny", "--json", "b.json"]) == 0
    verdict = json.loads((here / "b.json").read_text())
    assert verdict["fits"] and verdict["excesses"] == [] and verdict["memory"] == on_disk


def test_budget_of_a_smaller_board_is_exit_1(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build("--board", "nucleo-h743") == 0
    small = board_file(here, "flash_bytes: 0x200000", "flash_bytes: 0x2000")
    assert run(["budget", "build/nucleo-h743/tiny", "--board", small, "--json", "b.json"]) == 1
    error = capsys.readouterr().err
    assert re.search(r"is 8,192 B; largest: \w+ code [\d,]+ B", error)
    verdict = json.loads((here / "b.json").read_text())
    assert not verdict["fits"] and len(verdict["excesses"]) == 1
    assert verdict["largest"]["flash"][0]["name"].endswith(" code")


def test_32_kilobytes_of_flash_are_too_few_for_a_large_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b = Builder(3, (16, 16, 64))
    for _ in range(4):
        b.conv(64)
        b.requantize()
    b.average()
    b.dense(10)
    b.requantize(scores=True)
    file.save(b.graph("large"), here / "large.graph.npz")
    small = board_file(here, "flash_bytes: 0x200000", "flash_bytes: 0x8000")
    assert run(["build", "--model", "large.graph.npz", "--board", small]) == 1
    error = capsys.readouterr().err
    assert "32,768 B" in error and "largest" in error and "flash" in error
    assert not (here / "build").exists() or not any((here / "build").rglob("*"))


def test_budget_needs_something_to_check(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["budget"]) == 1
    assert run(["budget", "nothing"]) == 2
    assert "no built image" in capsys.readouterr().err
    assert build("--board", "nucleo-h743") == 0
    assert run(["budget", "build/nucleo-h743/tiny", "--board", "mps2-an386"]) == 2
    assert "does not run on mps2-an386" in capsys.readouterr().err


def test_an_elf_that_is_not_memory_jsons_is_noticed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build("--board", "nucleo-h743") == 0
    folder = here / "build/nucleo-h743/tiny"
    data = json.loads((folder / "memory.json").read_text())
    data["flash"]["parts"][0]["bytes"] -= 4
    (folder / "memory.json").write_text(json.dumps(data))
    assert run(["budget", str(folder)]) == 2
    assert "where memory.json says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "nucleo-h7443"], "did you mean 'nucleo-h743'"),
        (["--board", "none.yaml"], "no such file"),
        (["--board", "nucleo-h743", "--kernel", "conv1"], "is not LAYER=ID"),
        (["--board", "nucleo-h743", "--kernel", "conv9=dense_t2_u8"], "no layer 'conv9'"),
        (["--board", "nucleo-h743", "--kernel", "conv1=magic"], "no kernel 'magic'"),
    ],
)
def test_bad_input_is_one_line_and_exit_1(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert build(*options) == 1
    assert message in capsys.readouterr().err
    assert not (here / "build").exists()


def test_boards_lists_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["boards", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = {row["name"] for row in found["boards"]}
    assert names == {p.stem for p in (resources.root() / "boards").glob("*.yaml")}
    assert run(["boards"]) == 0
    assert "nucleo-h743" in capsys.readouterr().out
