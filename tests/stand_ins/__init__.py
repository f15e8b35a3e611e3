"""Stand-ins for flashing tools: executables that know the real tools' arguments, and nothing else.

``install`` puts them on a PATH of their own. What they do is told by the environment: ``FAILURE``
(JSON: text, status) makes the next one say so and end; ``SAID`` names a file for command lines.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOOLS = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


@dataclass
class StandIns:
    """Installed stand-ins."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def fail(self, text: str, status: int = 1) -> None:
        """Make every tool say ``text`` and end with ``status``."""
        self.monkeypatch.setenv("FAILURE", json.dumps({"text": text, "status": status}))

    def lists(self, text: str) -> None:
        """What tools answer when they are asked for devices."""
        self.monkeypatch.setenv("LISTED", text)

    def lines(self) -> list[list[str]]:
        """Command lines so far, without the program."""
        said = self.folder.parent / "said"
        return [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> StandIns:
    """The tools called ``names`` (all of them without any) as the only programs on PATH."""
    programs = folder / "bin"
    programs.mkdir()
    for name in names or TOOLS:
        file = programs / name.replace("_", "-").replace("STM32-Programmer-CLI",
                                                         "STM32_Programmer_CLI")  # fmt: skip
        source = HERE / f"{name.replace('-', '_')}.py"
        file.write_text(
            f"#!{sys.executable} -IS\nimport runpy, sys\nsys.path.insert(0, {str(HERE)!r})\n"
            f"runpy.run_path({str(source)!r}, run_name='__main__')\n"
        )
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("SAID", str(folder / "said"))
    for name in ("FAILURE", "LISTED"):
        monkeypatch.delenv(name, raising=False)
    return StandIns(programs, monkeypatch)
