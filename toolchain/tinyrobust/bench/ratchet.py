"""The ratchet: the best figures so far per model and board, which no change may worsen.

In: a Bench and ``benchmarks/ratchet.json``. Out: a Verdict, or the file written anew. The file:
``{"schema": "tinyrobust.ratchet/2", "entries": {model: {board: Entry}}}``. Figures of another
Graph or another compiler are not comparable; the verdict then says so instead of comparing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinyrobust import resources
from tinyrobust.artefact import write_json
from tinyrobust.bench.bench import Bench
from tinyrobust.bench.published import Reference
from tinyrobust.errors import TinyRobustError

SCHEMA: Literal["tinyrobust.ratchet/2"] = "tinyrobust.ratchet/2"
FIGURES = ("instructions", "m4_cycles", "flash_bytes", "ram_bytes")


class Entry(BaseModel):
    """What was recorded: counted ``instructions`` and estimated ``m4_cycles`` per inference
    (Cortex-M4 model), bytes of the whole image."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    graph_sha256: str
    compiler: str
    instructions: int = Field(gt=0)
    m4_cycles: int = Field(gt=0)
    flash_bytes: int = Field(gt=0)
    ram_bytes: int = Field(gt=0)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    schema_: Literal["tinyrobust.ratchet/2"] = Field(alias="schema")
    entries: dict[str, dict[str, Entry]]


@dataclass(frozen=True)
class Change:
    """One figure against the recorded one."""

    figure: str
    recorded: int
    now: int

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"{self.figure} {self.recorded:,} -> {self.now:,} "
            f"({(self.now / self.recorded - 1) * 100:+.2f} %)"
        )


@dataclass(frozen=True)
class Verdict:
    """``changes`` of every figure that differs; ``not_compared`` says why there are none."""

    changes: tuple[Change, ...]
    not_compared: str = ""

    @property
    def better(self) -> tuple[Change, ...]:
        """The figures that got better, which ``--update`` would record."""
        return tuple(c for c in self.changes if c.now < c.recorded)

    @property
    def worse(self) -> tuple[Change, ...]:
        """The figures that got worse: larger."""
        return tuple(c for c in self.changes if c.now > c.recorded)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "holds": not self.worse,
            "not_compared": self.not_compared,
            "changes": [asdict(c) for c in self.changes],
        }


def default_path() -> Path:
    """The checkout's own file; without a checkout, one under the current folder."""
    kept = resources.root() / "benchmarks" / "ratchet.json"
    return kept if kept.is_file() else Path("benchmarks") / "ratchet.json"


def read(path: Path) -> dict[str, dict[str, Entry]]:
    """Entries by model and board; empty when there is no file. Raises TinyRobustError naming the
    file when it is damaged."""
    try:
        return _File.model_validate(json.loads(path.read_text())).entries
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        raise TinyRobustError(
            f"{path} is damaged: {str(error).splitlines()[0]}", "restore it from the repository"
        ) from error


def compare(result: Bench, path: Path) -> Verdict:
    """``result`` against the file."""
    recorded = read(path).get(result.model, {}).get(result.board)
    if recorded is None:
        return Verdict((), f"nothing is recorded for {result.model} on {result.board}")
    if recorded.graph_sha256 != result.graph_sha256:
        return Verdict((), f"recorded for another Graph {recorded.graph_sha256[:12]}")
    now = _entry(result)
    changes = tuple(
        Change(name, getattr(recorded, name), getattr(now, name))
        for name in FIGURES if getattr(recorded, name) != getattr(now, name)
    )  # fmt: skip
    if recorded.compiler != result.compiler:
        return Verdict((), f"recorded with another compiler, {recorded.compiler}")
    return Verdict(changes)


def update(result: Bench, path: Path) -> None:
    """Record ``result`` in the file."""
    entries = {model: dict(boards) for model, boards in read(path).items()}
    entries.setdefault(result.model, {})[result.board] = _entry(result)
    write_json(path, {
        "schema": SCHEMA,
        "entries": {
            model: {board: entry.model_dump() for board, entry in sorted(boards.items())}
            for model, boards in sorted(entries.items())
        },
    })  # fmt: skip


def our_int8(result: Bench, path: Path) -> Reference | None:
    """Our own int8 kernels on a network of the same shape, as recorded for the same board."""
    if result.network is None or result.family == "tflite":
        return None
    entry = read(path).get(f"random-{result.network}-int8", {}).get(result.board)
    if entry is None:
        return None
    return Reference(
        "tinyrobust int8", f"random weights, this board, recorded in {path.name}",
        entry.instructions, entry.m4_cycles,
    )  # fmt: skip


def _entry(result: Bench) -> Entry:
    return Entry(
        graph_sha256=result.graph_sha256,
        compiler=result.compiler,
        instructions=result.instructions,
        m4_cycles=result.m4_cycles,
        flash_bytes=result.flash_bytes,
        ram_bytes=result.ram_bytes,
    )
