"""Corruptions in a comparison: every model on the same corrupted images, resumable.

In: a Suite, its Contenders, its images, a folder. Out: ``<out>/<model>/corruptions.json``: how many
images of each kind and strength are classified correctly; a finished kind is not done again. What
the records depend on is in their ``depends``: when that changes they are made anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust import corruptions
from tinyrobust.artefact import canonical_json, sha256, write_json
from tinyrobust.attacks import Oracle
from tinyrobust.compare.comparison import Contender, Data, judge
from tinyrobust.compare.suite import Corrupted, Suite
from tinyrobust.statistics import wilson

SCHEMA = "tinyrobust.corruptions/1"
NAME = "corruptions.json"

Progress = Callable[[str, int, int], None]  # a kind, how many kinds are over, of how many


def run(
    suite: Suite, found: Sequence[Contender], data: Data, out: Path, *,
    fresh: bool = False, progress: Progress = lambda kind, done, total: None,
) -> None:  # fmt: skip
    """Judge what is not recorded yet; nothing to do without corruptions in the suite."""
    wanted = suite.corruptions
    if wanted is None:
        return
    here = [c for c in found if c.model is not None]
    records = {c.folder: {} if fresh else _read(suite, c, data, out) for c in here}
    oracles: dict[str, Oracle] = {}
    images, labels = data.images[: wanted.samples], data.labels[: wanted.samples]
    for done, kind in enumerate(wanted.kinds):
        progress(kind, done, len(wanted.kinds))
        todo = [c for c in here if kind not in records[c.folder]]
        if not todo:
            continue
        right: dict[str, dict[str, int]] = {c.folder: {} for c in todo}
        for strength in wanted.strengths:
            shown = corruptions.corrupt(kind, images, strength, seed=suite.seed)
            for c in todo:
                if c.folder not in oracles and c.model is not None:
                    oracles[c.folder] = judge(c.model.graph)
                same = oracles[c.folder](shown).argmax(axis=1) == labels
                right[c.folder][str(strength)] = int(np.count_nonzero(same))
        for c in todo:
            records[c.folder][kind] = right[c.folder]
            write_json(out / c.folder / NAME, {
                "schema": SCHEMA, "depends": _depends(suite, c, data),
                "samples": len(images), "right": records[c.folder],
            })  # fmt: skip
    progress("", len(wanted.kinds), len(wanted.kinds))


def figures(suite: Suite, contender: Contender, data: Data, out: Path) -> dict[str, Any] | None:
    """By kind the accuracy by strength and its mean, and the mean of all kinds; None where nothing
    is recorded. Intervals are of the kinds' means, as if all strengths were images of their own."""
    wanted = suite.corruptions
    found = _read(suite, contender, data, out) if wanted and contender.model else {}
    if wanted is None or not found:
        return None
    samples = min(wanted.samples, len(data.images))
    kinds: dict[str, Any] = {}
    for kind in (k for k in wanted.kinds if k in found):
        each = {strength: count / samples for strength, count in found[kind].items()}
        kinds[kind] = _share(sum(found[kind].values()), samples * len(each)) | {
            "title": corruptions.get(kind).title, "group": corruptions.get(kind).group,
            "strengths": each,
        }  # fmt: skip
    mean = float(np.mean([row["accuracy"] for row in kinds.values()]))
    return {"samples": samples, "kinds": kinds, "mean": mean,
            "complete": len(kinds) == len(wanted.kinds)}  # fmt: skip


def _share(right: int, count: int) -> dict[str, Any]:
    low, high = wilson(right, count)
    return {"accuracy": right / count, "low": low, "high": high}


def _read(suite: Suite, contender: Contender, data: Data, out: Path) -> dict[str, dict[str, int]]:
    try:
        record: Mapping[str, Any] = json.loads((out / contender.folder / NAME).read_text())
        fits = record["schema"] == SCHEMA and record["depends"] == _depends(suite, contender, data)
        return dict(record["right"]) if fits else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _depends(suite: Suite, contender: Contender, data: Data) -> str:
    wanted = suite.corruptions or Corrupted(samples=1)
    images, labels = data.images[: wanted.samples], data.labels[: wanted.samples]
    model = contender.model
    return sha256(canonical_json({
        "graph": model.graph.sha256 if model else None, "seed": suite.seed,
        "strengths": list(wanted.strengths), "data": sha256(images.tobytes() + labels.tobytes()),
    }).encode())  # fmt: skip
