"""Records -> figures, as plain data under schema ``tinyrobust.evaluate/1``.

In: the records of ``journal.read``. Out: one JSON-ready dict, the only thing that ``report`` and
the command line show. ``complete`` is false when batches are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinyrobust import attacks
from tinyrobust.errors import TinyRobustError
from tinyrobust.evaluate import effort, masking
from tinyrobust.evaluate.config import Series
from tinyrobust.registry import discover
from tinyrobust.statistics import wilson

SCHEMA = "tinyrobust.evaluate/1"

Record = Mapping[str, Any]


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Figures of an evaluation; raises TinyRobustError when not even one batch is recorded."""
    header = records[0]
    config = header["config"]
    newest = {r["type"]: r for r in records if r["type"] != "batch"}
    batches: dict[str, dict[int, Record]] = {}
    for record in records:
        if record["type"] == "batch":
            batches.setdefault(record["series"], {})[record["first"]] = record
    if "clean" not in batches or "device" not in newest:
        raise TinyRobustError("no batch is recorded yet", "run `tinyrobust evaluate` first")
    device = newest["device"]
    clean = _series(Series(), batches["clean"], config)
    attacked = [
        _series(Series.parse(key), batches[key], config)
        for key in config["attacks"]
        if key in batches
    ]
    complete = len(attacked) == len(config["attacks"]) and all(
        s["samples"] == config["samples"] for s in [clean, *attacked]
    )
    probed = newest.get("masking", {}).get("probe")
    whole = [s for s in attacked if s["samples"] == clean["samples"]]
    survivors = masking.survivors_of(whole, {
        key: _joined(batches[key]) for key in (s["key"] for s in whole)
    }, _joined(batches["clean"]))  # fmt: skip
    judged = masking.checks(whole, probed, survivors)
    return {
        "schema": SCHEMA,
        "complete": complete,
        "board": config["board"],
        "model": config["model"],
        "task": config["task"],
        "about": header.get("about", {}),
        "is_virtual": device["is_virtual"],
        "clean": clean,
        "attacks": attacked,
        "worst": _worst(batches, config),
        "not_run": _not_run({s["attack"] for s in attacked}),
        "score_differences": sum(s["score_differences"] for s in [clean, *attacked]),
        "cost": _cost(batches, device, newest.get("layers", {}).get("layers", [])),
        "memory": {k: newest["memory"][k] for k in ("image", "marks")}
        if "memory" in newest else {},
        "masking": [check.as_json() for check in judged],
        "probe": probed,
        "survivors": survivors,
        "warnings": [text for c in judged if c.status == masking.SIGN for text in c.texts],
        "seconds": _seconds(batches),
        "repeat": {
            "command": header.get("command", ""), "started": header.get("started"),
            "finished": newest.get("done", {}).get("finished"), "seed": config["seed"],
            "config_sha256": header["config_sha256"], "graph_sha256": config["graph_sha256"],
            "image_sha256": config["image_sha256"], "data_sha256": config["data_sha256"],
            "adversarial_sha256": config["adversarial_sha256"],
            "versions": header.get("versions", {}), "config": config,
        },
    }  # fmt: skip


def _series(series: Series, batches: Mapping[int, Record], config: Record) -> dict[str, Any]:
    correct = sum(int(_correct(b).sum()) for b in batches.values())
    samples = sum(len(b["labels"]) for b in batches.values())
    low, high = wilson(correct, samples)
    figures: dict[str, Any] = {
        "key": series.key, "samples": samples, "correct": correct,
        "accuracy": correct / samples, "low": low, "high": high,
        "interpreter_correct": sum(
            int((np.asarray(b["labels"]) == np.asarray(b["expected"])).sum())
            for b in batches.values()
        ),
        "score_differences": sum(b["score_differences"] for b in batches.values()),
        "device_s": sum(b["device_s"] for b in batches.values()),
    }  # fmt: skip
    if series.attack is None:
        return figures
    known = discover("tinyrobust.attacks", "attack").get(series.attack)
    attack = known if isinstance(known, attacks.Attack) else None
    queries = [b["queries"] for b in batches.values()]
    seconds = [b["craft_s"] for b in batches.values()]
    replayed = None in queries
    return (
        figures
        | {
            "attack": series.attack,
            "eps_255": series.eps_255,
            "norm": series.norm,
            "targeted": series.targeted,
            "title": (attack.title if attack else series.attack)
            + (", targeted" if series.targeted else ""),
            "kind": attack.kind if attack else "unknown",
            "strong": attack.strong if attack else False,
            "verifies": attack.verifies if attack else False,
            "iterative": attack.iterative if attack else None,
            "minimum": attack.minimum if attack else False,
            "paper": attack.paper if attack else "",
            "parameters": config["parameters"].get(series.key, {}),
            "replayed": replayed,
            "distance_255": max(b["distance_255"] for b in batches.values()),
            "distance_l2": max(b.get("distance_l2") or 0.0 for b in batches.values()),
            "queries": None if replayed else sum(queries),
            "craft_s": None if replayed else sum(seconds),
        }
        | effort.figures([batches[first] for first in sorted(batches)])
    )


def _correct(batch: Record) -> Any:
    return np.asarray(batch["labels"]) == np.asarray(batch["predicted"])


def _joined(batches: Mapping[int, Record]) -> Any:
    return np.concatenate([_correct(batches[first]) for first in sorted(batches)])


def _worst(batches: Mapping[str, Mapping[int, Record]], config: Record) -> list[dict[str, Any]]:
    """Per size, images that are right when clean and under every attack of that size."""
    series = [Series.parse(key) for key in config["attacks"] if key in batches]
    rows = []
    for norm, eps in sorted({(s.norm, s.eps_255) for s in series}, key=_by_size):
        same = [s for s in series if (s.norm, s.eps_255) == (norm, eps)]
        keys = ["clean", *(s.key for s in same)]
        shared = set.intersection(*(set(batches[k]) for k in keys))
        if not shared:
            continue
        right = np.concatenate(
            [np.all([_correct(batches[k][i]) for k in keys], axis=0) for i in sorted(shared)]
        )
        low, high = wilson(int(right.sum()), len(right))
        spent = [batches[k][i]["queries"] for k in keys[1:] for i in shared]
        rows.append({
            "norm": norm, "eps_255": eps, "of": keys[1:], "samples": len(right),
            "correct": int(right.sum()), "accuracy": float(right.mean()), "low": low, "high": high,
            "queries": None if None in spent else sum(spent),
        })  # fmt: skip
    return rows


def _not_run(run: set[str]) -> list[str]:
    """Titles of the attacks that took no part."""
    known = discover("tinyrobust.attacks", "attack")
    return [a.title for name, a in sorted(known.items()) if name not in run]


def _by_size(row: tuple[str, float]) -> tuple[bool, float]:
    return row[0] != "linf", row[1]


def _cost(
    batches: Mapping[str, Mapping[int, Record]], device: Record, layers: Sequence[Record]
) -> dict[str, Any]:
    """Instructions (virtual) or cycles and milliseconds (hardware) per inference and layer."""
    spent = [b["cycles"] for s in batches.values() for b in s.values()]
    count = sum(len(b["labels"]) for s in batches.values() for b in s.values())
    unit, each = device["counter"]["unit"], device["counter"]["per_count"]
    if unit is None:
        each = 0
    mean = each * sum(c["sum"] for c in spent) / count
    hertz = device["clock_hz"]
    return {
        "unit": unit,
        "resolution": each,
        "mean": mean,
        "min": each * min(c["min"] for c in spent),
        "max": each * max(c["max"] for c in spent),
        "clock_hz": hertz,
        "mean_ms": 1e3 * mean / hertz if unit == "cycles" and hertz else None,
        "layers": [dict(layer) | {"cycles": each * layer["cycles"]} for layer in layers],
        "macs": sum(layer["macs"] for layer in layers),
    }


def _seconds(batches: Mapping[str, Mapping[int, Record]]) -> dict[str, float]:
    every = [b for s in batches.values() for b in s.values()]
    return {
        "device": sum(b["device_s"] for b in every),
        "crafting": sum(b.get("craft_s") or 0.0 for b in every),
    }
