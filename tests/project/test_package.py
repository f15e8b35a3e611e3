"""The wheel: what it carries, that it works outside the checkout, and what it does not need."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
TRAINING = ["tensorflow", "keras", "qkeras", "hls4ml", "art", "librosa", "pyocd", "scipy", "pytest"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked far from the checkout, as pip would unpack it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def outside(
    installed: Path, folder: Path, *args: str, without: list[str] = TRAINING
) -> subprocess.CompletedProcess[str]:
    """Run the unpacked package from another folder, with the packages in ``without`` missing."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({without!r}));"
        f"sys.path.insert(0, {str(installed)!r});"
        "import tinyrobust; print(tinyrobust.__file__, file=sys.stderr);"
        "from tinyrobust.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *args]
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.stderr.startswith(str(installed)), "another tinyrobust was imported"
    return done


def _tracked(*folders: str) -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {name for name in listing.stdout.splitlines() if (ROOT / name).exists()}


def test_it_carries_firmware_boards_and_models(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"tinyrobust/_resources/{path}" for path in _tracked("firmware", "boards", "models")}
    wanted |= {name.removeprefix("toolchain/") for name in _tracked("toolchain")}
    assert wanted - names == set()
    assert "tinyrobust/_resources/boards/nucleo-h743.yaml" in names
    assert "tinyrobust/_resources/models/zoo/shapes-small/model.graph.npz" in names
    assert not [n for n in names if n.startswith("tests") or "__pycache__" in n]


def test_its_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    text = archive.read(info).decode()
    assert "License-Expression: Apache-2.0" in text
    assert re.search(r"^Requires-Python: (<3\.14,>=3\.10|>=3\.10,<3\.14)$", text, re.MULTILINE)
    plain = [
        line for line in text.splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]  # fmt: skip
    assert plain and not [line for line in plain if re.search("tensorflow|keras|hls4ml", line)]
    entries = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert "tinyrobust = tinyrobust.cli.main:main" in entries
    assert "[hls4ml.backends]" in entries and "CortexM = " in entries
    assert any(n.endswith("LICENSE") for n in archive.namelist())


def test_it_builds_firmware_from_another_folder(installed: Path, tmp_path: Path) -> None:
    done = outside(installed, tmp_path, "build", "--board", "nucleo-h743", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "tinyrobust.build/1"
    image = tmp_path / "build" / "nucleo-h743" / "shapes-small"
    assert (image / "firmware.elf").read_bytes()[:4] == b"\x7fELF"
    assert (image / "firmware.bin").stat().st_size > 1000
    generated = "".join(p.read_text() for p in image.rglob("*.cpp"))
    assert str(ROOT) not in generated


def test_it_exports_a_library_from_another_folder(installed: Path, tmp_path: Path) -> None:
    words = ["--format", "cmake", "--no-measure", "--json", "-"]
    done = outside(installed, tmp_path, "export", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "tinyrobust.export/1"
    library = tmp_path / "export" / "cmake" / "shapes-small"
    assert (library / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert str(ROOT) not in "".join(p.read_text() for p in library.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["attacks", "boards", "doctor", "models", "tasks"])
def test_its_lists_work_without_the_extras(installed: Path, tmp_path: Path, name: str) -> None:
    done = outside(installed, tmp_path, name, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == f"tinyrobust.{name}/1"


def test_training_without_its_extra_says_how_to_get_it(installed: Path, tmp_path: Path) -> None:
    done = outside(installed, tmp_path, "train", "shapes-small")
    assert done.returncode in (1, 2)
    said = done.stderr.splitlines()[1:]
    assert "Traceback" not in done.stderr
    assert any("tinyrobust[train]" in line for line in said), done.stderr


def test_nothing_in_the_repository_names_a_home_or_a_temporary_folder() -> None:
    strange = re.compile(rb"(?<![\w./$-])/(root|home/\w+|tmp/\w+|work)/")
    for name in sorted(_tracked()):
        if Path(name).suffix in {".npz", ".png"}:
            continue
        found = strange.search((ROOT / name).read_bytes())
        assert found is None, f"{name}: {found.group()!r}"
