"""A comparison's records -> figures, as plain data under schema ``tinyrobust.compare/1``.

In: a Suite, its Contenders and Jobs, costs. Out: one JSON-ready dict, the only thing that
``report`` and the command line show. What was not run is None ("not measured"), never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinyrobust import attacks
from tinyrobust.compare.comparison import Contender, Job, right, worst
from tinyrobust.compare.model_costs import Costs, weight_bytes
from tinyrobust.compare.suite import Suite
from tinyrobust.errors import TinyRobustError
from tinyrobust.evaluate import journal, masking
from tinyrobust.evaluate.summary import summarise
from tinyrobust.statistics import Z_95, wilson

SCHEMA = "tinyrobust.compare/1"
KINDS = ("white-box", "black-box")
MEASURES = 0.05  # an attack must break more of an undefended network for its figures to speak

Figures = dict[str, Any]


def figures(
    suite: Suite, found: Sequence[Contender], todo: Sequence[Job], costs: Mapping[str, Costs],
    *, repeat: Mapping[str, Any], corrupted: Mapping[str, Figures | None] | None = None,
) -> Figures:  # fmt: skip
    """All figures recorded so far; ``costs``, and what ``corrupted.figures`` gave, by
    ``Contender.folder``."""
    columns = _columns(suite)
    runs = {c.folder: _Run(c, [job for job in todo if job.contender is c]) for c in found}
    base = next((runs[c.folder] for c in found if c.entry.model == suite.baseline), None)
    for column in columns:
        column |= _of_the_baseline(base, column)
    rows = [_model(runs[c.folder], columns, costs.get(c.folder), base) for c in found]
    for row, c in zip(rows, found, strict=True):
        row["corruptions"] = (corrupted or {}).get(c.folder)
    return {
        "schema": SCHEMA,
        "suite": suite.name,
        "description": suite.description,
        "task": suite.task,
        "board": suite.board,
        "baseline": base.contender.title if base else None,
        "complete": all(row["complete"] for row in rows if row["present"]),
        "columns": columns,
        "models": rows,
        "papers": [paper.model_dump() for paper in suite.papers],
        "seconds": sum(row["seconds"] for row in rows),
        "repeat": {**repeat, "seed": suite.seed, "suite": suite.model_dump(mode="json")},
    }


def _columns(suite: Suite) -> list[Figures]:
    """Every attack at every size, in the suite's order."""
    made = []
    for group in suite.groups:
        for series in group.series:
            attack = attacks.get(str(series.attack))
            made.append({
                "key": series.key, "attack": series.attack, "norm": series.norm,
                "eps_255": series.eps_255, "title": attack.title, "kind": attack.kind,
                "paper": attack.paper, "samples": group.samples, "best": group.best,
                "parameters": attack.describe(series.eps_255, group.settings),
            })  # fmt: skip
    return made


def _of_the_baseline(base: _Run | None, column: Figures) -> Figures:
    """``baseline_broken``: the share of the images that the baseline classifies correctly which the
    attack breaks; ``measures``: whether that is more than MEASURES, None when it was not run.

    The baseline has no defence: what an attack cannot break of it says nothing of defences.
    """
    found = base.series(column["key"]) if base else None
    if found is None:
        return {"baseline_broken": None, "measures": None}
    share = _broken(found[1], found[2])
    return {"baseline_broken": share, "measures": share is not None and share > MEASURES}


def _broken(under: Any, clean: Any) -> float | None:
    """Of the images that are right when clean, the share that is not under attack."""
    clean = clean[: len(under)]
    return float((clean & ~under).sum() / clean.sum()) if clean.any() else None


class _Run:
    """One model's records: per job the figures of ``summarise`` and which images were right."""

    def __init__(self, contender: Contender, jobs: Sequence[Job]) -> None:
        self.contender = contender
        self.jobs = jobs
        self.right = [right(job.folder) if _belongs(job) else {} for job in jobs]
        self.sums = [_summary(job) if found else None
                     for job, found in zip(jobs, self.right, strict=True)]  # fmt: skip

    def series(self, key: str) -> tuple[Figures, Any, Any] | None:
        """Figures of a series, which images were right under it, and which when clean."""
        for total, found in zip(self.sums, self.right, strict=True):
            row = next((s for s in (total or {}).get("attacks", []) if s["key"] == key), None)
            if row is not None and len(found[key]):
                return row, found[key], found["clean"]
        return None


def _belongs(job: Job) -> bool:
    """Whether the records in the job's folder are of its very configuration."""
    try:
        return bool(journal.read(job.folder)[0]["config_sha256"] == job.config.sha256)
    except TinyRobustError:
        return False


def _summary(job: Job) -> Figures | None:
    try:
        return summarise(journal.read(job.folder))
    except TinyRobustError:  # no batch yet
        return None


def _model(
    run: _Run, columns: Sequence[Figures], costs: Costs | None, base: _Run | None
) -> Figures:
    model = run.contender.model
    cells = {column["key"]: _cell(run, column) for column in columns}
    for key, texts in _signs(run, columns).items():
        cell = cells[key]
        if cell is not None:
            cell["signs"] = texts
    worsts = [row for row in (_worst(run, size, columns) for size in sizes(columns)) if row]
    last = [row for row in worsts if row["norm"] == worsts[0]["norm"]]
    if base is not None and base is not run:
        for column in columns:
            cell = cells[column["key"]]
            if cell is not None:
                cell["advantage"] = _advantage(run, base, [column], column["kind"])
    weights = weight_bytes(model.graph) if model else None
    return {
        "title": run.contender.title,
        "model": run.contender.entry.model,
        "present": model is not None,
        "why": run.contender.why,
        "family": model.graph.family if model else None,
        "graph_sha256": model.graph.sha256 if model else None,
        "complete": all(total and total["complete"] for job, total in zip(
            run.jobs, run.sums, strict=True) if not job.group.best),
        "clean": _clean(run),
        "cells": cells,
        "worst": worsts,
        "weight_bytes": weights,
        "signs": _probe_signs(run) + masking.warnings([], None, _survivors(run, columns)),
        "survivors": _survivors(run, columns),
        "robust_per_kib": (100 * last[-1]["accuracy"] / (weights / 1024)
                           if last and weights else None),
        "costs": costs.as_json() if costs else None,
        "advantage": {kind: _advantage(run, base, columns, kind) for kind in KINDS}
        if base is not None and base is not run else {},
        "score_differences": sum(total["score_differences"] for total in run.sums if total),
        "seconds": sum(sum(total["seconds"].values()) for total in run.sums if total),
    }  # fmt: skip


def _clean(run: _Run) -> Figures | None:
    """Over the most images that any group has."""
    sums = [total["clean"] for total in run.sums if total]
    most = max(sums, key=lambda s: int(s["samples"]), default=None)
    kept = ("accuracy", "low", "high", "correct", "samples")
    return None if most is None else {key: most[key] for key in kept}


def _cell(run: _Run, column: Figures) -> Figures | None:
    """Accuracy of one model under one attack of one size; None when not one image was."""
    found = run.series(column["key"])
    if found is None:
        return None
    row, under, clean = found
    low, high = wilson(int(under.sum()), len(under))
    return {
        "accuracy": float(under.mean()), "low": low, "high": high,
        "correct": int(under.sum()), "samples": len(under),
        "complete": len(under) == len(clean),
        "queries_per_image": row["queries_mean"], "craft_s": row["craft_s"], "signs": [],
        "broken": _broken(under, clean), "after": row["after"] if row["minimum"] else {},
        "advantage": None,
    }  # fmt: skip


def sizes(columns: Sequence[Figures]) -> list[tuple[str, float]]:
    """Norms and sizes of the attacks: Linf first, the smallest first."""
    return sorted(
        {(c["norm"], c["eps_255"]) for c in columns}, key=lambda s: (s[0] != "linf", s[1])
    )


def _worst(run: _Run, size: tuple[str, float], columns: Sequence[Figures]) -> Figures | None:
    left = worst(run.right, size)
    if not len(left):
        return None
    low, high = wilson(int(left.sum()), len(left))
    of = [c["key"] for c in columns if (c["norm"], c["eps_255"]) == size and run.series(c["key"])]
    return {
        "norm": size[0], "eps_255": size[1], "accuracy": float(left.mean()), "low": low,
        "high": high, "correct": int(left.sum()), "samples": len(left), "of": of,
    }  # fmt: skip


def _signs(run: _Run, columns: Sequence[Figures]) -> dict[str, list[str]]:
    """Signs of gradient masking by series: of each by itself, and of each pair of series on the
    images that both saw."""
    known = [run.series(c["key"]) for c in columns]
    there = [(row, under) for row, under, _ in (found for found in known if found is not None)]
    made = {row["key"]: list(masking.warnings([row])) for row, _ in there}
    for i, (a, in_a) in enumerate(there):
        for b, in_b in there[i + 1 :]:
            count = min(len(in_a), len(in_b))
            pair = [
                dict(row) | {"correct": int(under[:count].sum()), "samples": count, "log": []}
                for row, under in ((a, in_a), (b, in_b))
            ]
            for text in masking.warnings(pair):
                owner = a if text.startswith(f"{a['title']} at {a['eps_255']:g}/255") else b
                made[owner["key"]].append(text)
    return made


def _survivors(run: _Run, columns: Sequence[Figures]) -> list[Figures]:
    """What slower attacks broke of what the strong ones left (``masking.survivors_of``)."""
    known = {c["key"]: run.series(c["key"]) for c in columns}
    there = {key: found for key, found in known.items() if found is not None}
    if not there:
        return []
    clean = max((found[2] for found in there.values()), key=len)
    right = {key: found[1] for key, found in there.items()}
    return masking.survivors_of([found[0] for found in there.values()], right, clean)


def _probe_signs(run: _Run) -> list[str]:
    """Signs that the probe saw (``probe.py``), of the group with the most images."""
    probed = [total for total in run.sums if total and total["probe"]]
    if not probed:
        return []
    most = max(probed, key=lambda total: int(total["clean"]["samples"]))
    return masking.warnings([], most["probe"])


def _advantage(
    run: _Run, base: _Run, columns: Sequence[Figures], kind: str
) -> Figures | None:  # fmt: skip
    """Mean over the series of ``kind`` of accuracy minus the baseline's, in percentage points,
    with a 95 % interval. A series that measures nothing (``_of_the_baseline``) is left out.

    Images are independent and paired: an image adds its weighted differences over the series that
    saw it. The variance is that of these sums, within the strata of images that saw equally many
    series; normal approximation. None when no series is measured on both.
    """
    pairs = []
    for column in columns:
        if column["kind"] == kind and column.get("measures") is not False:
            mine, other = run.series(column["key"]), base.series(column["key"])
            if mine is not None and other is not None:
                pairs.append((mine[1], other[1]))
    if not pairs:
        return None
    counts = [min(len(a), len(b)) for a, b in pairs]
    parts = np.zeros(max(counts))
    for (a, b), count in zip(pairs, counts, strict=True):
        difference = a[:count].astype(float) - b[:count]
        parts[:count] += difference / (count * len(pairs))
    ends = [0, *sorted(set(counts))]
    strata = [parts[i:j] for i, j in pairwise(ends)]
    variance = sum(len(part) * float(part.var(ddof=1)) for part in strata if len(part) > 1)
    points, reach = 100 * float(parts.sum()), 100 * Z_95 * float(np.sqrt(variance))
    return {
        "points": points, "low": points - reach, "high": points + reach, "series": len(pairs),
        "images": max(counts),
    }  # fmt: skip
