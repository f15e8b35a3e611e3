"""What crafting a series took and reached, from its batch records.

In: batch records (``journal.py``) in order. Out: figures for ``summary``: queries per attacked
image, norms, what did not move, targets reached, who was asked how fast, and the attacks' logs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Record = Mapping[str, Any]


def figures(batches: Sequence[Record]) -> dict[str, Any]:
    """Plain data; what was not recorded (a replayed set, an older file) is None."""
    if not all("queries_each" in b for b in batches):
        none = ("attacked", "queries_mean", "queries_max", "norms", "did_not_move", "reached",
                "oracle")  # fmt: skip
        return {**dict.fromkeys(none), "after": {}, "log": []}
    attacked = ~np.concatenate([np.asarray(b["skipped"], bool) for b in batches])
    queries = np.concatenate([np.asarray(b["queries_each"], np.int64) for b in batches])[attacked]
    moved = np.concatenate([np.asarray(b["moved"], bool) for b in batches])[attacked]
    return {
        "attacked": int(attacked.sum()),
        "queries_mean": float(queries.mean()) if queries.size else 0.0,
        "queries_max": int(queries.max(initial=0)),
        "norms": {norm: _norms(batches, norm, attacked) for norm in ("linf", "l2")},
        "after": _after(batches, attacked),
        "did_not_move": int((~moved).sum()),
        "reached": _reached(batches),
        "oracle": _oracle(batches),
        "log": _log(batches),
    }


def _norms(batches: Sequence[Record], norm: str, attacked: Any) -> dict[str, Any]:
    """Of attacked images: the median distance, an image without a success counting as infinite
    (None), and how many have one."""
    values = np.array(
        [np.inf if v is None else v for b in batches for v in b["norms"][norm]], np.float64
    )[attacked]
    middle = float(np.median(values)) if values.size else np.inf
    return {
        "median": middle if np.isfinite(middle) else None,
        "found": int(np.isfinite(values).sum()),
    }


def _after(batches: Sequence[Record], attacked: Any) -> dict[str, float | None]:
    """By numbers of queries the median distance of attacked images then, as ``_norms``; what not
    every batch with attacked images has told is left out."""
    told = [set(b.get("after", {})) for b in batches if not all(b["skipped"])]
    made: dict[str, float | None] = {}
    for count in sorted(set.intersection(*told) if told else (), key=int):
        values = np.array([
            np.inf if v is None else v
            for b in batches
            for v in b.get("after", {}).get(count, [None] * len(b["skipped"]))
        ], np.float64)[attacked]  # fmt: skip
        middle = float(np.median(values)) if values.size else np.inf
        made[count] = middle if np.isfinite(middle) else None
    return made


def _reached(batches: Sequence[Record]) -> int | None:
    """Images that are classified as their target, of those attacked; None when untargeted."""
    if any(b["targets"] is None for b in batches):
        return None
    return sum(
        int(((np.asarray(b["predicted"]) == np.asarray(b["targets"]))
             & ~np.asarray(b["skipped"], bool)).sum())
        for b in batches
    )  # fmt: skip


def _oracle(batches: Sequence[Record]) -> dict[str, Any]:
    asked = sum(b["oracle"]["asked"] for b in batches)
    seconds = sum(b["oracle"]["s"] for b in batches)
    return {
        "retried": sum(b["oracle"].get("retried", 0) for b in batches),
        "name": batches[0]["oracle"]["name"], "asked": asked, "s": seconds,
        "per_s": asked / seconds if seconds > 0 else None,
    }  # fmt: skip


def _log(batches: Sequence[Record]) -> list[dict[str, Any]]:
    """The batches' logs put together: counts of entries of the same place and kind added up.

    Temperatures are scaled batch by batch: the first stays, others are means.
    """
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    temperatures: dict[tuple[Any, ...], list[float]] = {}
    for batch in batches:
        places: dict[str, int] = {}
        for entry in batch["log"]:
            kind = "temperature" if "temperature" in entry else str(entry.get("part", "other"))
            place = (kind, places.setdefault(kind, 0))
            places[kind] += 1
            if place not in merged:
                merged[place] = dict(entry)
            else:
                for key, value in entry.items():
                    if isinstance(value, int) and not isinstance(value, bool):
                        merged[place][key] = merged[place].get(key, 0) + value
            if kind == "temperature":
                temperatures.setdefault(place, []).append(float(entry["temperature"]))
    for place, values in temperatures.items():
        merged[place]["temperature"] = float(f"{float(np.mean(values)):.3g}")
    return list(merged.values())
