"""``python -m tests.evaluate.killed_evaluate FOLDER STRIDE``: an evaluation killed at its writes,
then run again to its end, must give the report of an unbroken one. Prints how many kills."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.evaluation import GRAPH, MEMORY, FakeSession, config, samples
from tests.killed import NEVER, killed_at
from tinyrobust import report
from tinyrobust.device import Batch, MemoryMarks
from tinyrobust.evaluate import evaluate, journal, summarise

# What says when, and how long: all else is equal. (``per_s`` is images per second.)
TIMES = {"started", "finished", "device_s", "craft_s", "s", "per_s", "seconds"}


class Starting(FakeSession):
    """A board whose kernels write their code in the first inference, and whose marks rise."""

    def infer_many(self, images: Any) -> Batch:
        first = self.shown == 0
        made = super().infer_many(images)
        if first and len(images):
            cycles = made.cycles.copy()
            cycles[0] += 64_652
            return replace(made, cycles=cycles)
        return made

    def layer_cycles(self) -> list[tuple[str, int]]:
        extra = 64_652 if self.shown == 1 else 0
        return [("conv1", 400_000 + extra), ("dense", 80_000)]

    def memory(self) -> MemoryMarks:
        return MemoryMarks(8192, 512 + 8 * min(self.shown, 30), 2048, 1024, 4096)


def without_times(document: Any) -> Any:
    if isinstance(document, dict):
        return {k: without_times(v) for k, v in document.items() if k not in TIMES}
    if isinstance(document, list):
        return [without_times(item) for item in document]
    return document


def run(out: Path) -> None:
    images, labels = samples(GRAPH)
    made = evaluate(
        config(GRAPH), GRAPH, images, labels, Starting(GRAPH), out, memory=MEMORY,
        header={"command": "x", "versions": {"numpy": "1"}, "about": {}},
    )  # fmt: skip
    report.write(summarise(made.records), out)


def document(out: Path) -> Any:
    return without_times(json.loads((out / "report.json").read_text()))


def main(folder: Path, stride: int) -> None:
    assert not killed_at(NEVER, lambda: run(folder / "whole"))
    wanted = document(folder / "whole")
    assert wanted["complete"] and wanted["cost"]["max"] == 480_000
    assert [layer["cycles"] for layer in wanted["cost"]["layers"]] == [400_000, 80_000]
    assert wanted["memory"]["marks"]["stack_used_bytes"] == 528
    names = sorted(p.name for p in (folder / "whole").iterdir())
    point, kills = 1, 0
    while True:
        out = folder / str(point)
        if not killed_at(point, lambda: run(out)):  # noqa: B023  (called at once)
            break
        assert not killed_at(NEVER, lambda: run(out))  # noqa: B023
        assert document(out) == wanted, f"killed at write {point}"
        records = journal.read(out)
        assert sum(r["type"] == "batch" for r in records) == 12  # none twice
        assert sorted(p.name for p in out.iterdir()) == names, f"left by a kill at {point}"
        kills += 1
        point += stride
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
