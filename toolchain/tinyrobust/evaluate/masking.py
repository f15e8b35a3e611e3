"""Signs that an attack's failure is the attack's, not the model's strength.

In: the figures of each series. Out: warnings in plain words. Athalye, Carlini, Wagner,
"Obfuscated gradients give a false sense of security", ICML 2018, section 3.1: white-box attacks
should beat black-box ones, larger sizes should do more harm, and random search should not win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def warnings(attacked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Warnings about series, each with ``attack``, ``kind``, ``eps_255``, ``correct``, ``samples``.

    A difference counts when it is at least one image and one in 200.
    """
    found = []
    for a in attacked:
        margin = max(1, int(a["samples"]) // 200)
        for b in attacked:
            if _masked(a, b, margin):
                found.append(
                    f"{_name(a)} (white-box) leaves {_share(a)} correct, {_name(b)} (black-box) "
                    f"only {_share(b)}: the gradients may be masked"
                )
            if _below_floor(a, b, margin):
                found.append(
                    f"{_name(a)} leaves {_share(a)} correct, {_name(b)} of the same size only "
                    f"{_share(b)}: the attack is weaker than noise"
                )
            if _rises(a, b, margin):
                found.append(
                    f"{_name(b)} leaves {_share(b)} correct, {_name(a)} only {_share(a)}: "
                    "accuracy does not fall with the size"
                )
    return found


def _masked(a: Mapping[str, Any], b: Mapping[str, Any], margin: int) -> bool:
    same = a["eps_255"] == b["eps_255"]
    kinds = a["kind"] == "white-box" and b["kind"] == "black-box" and a["strong"]
    return bool(same and kinds and a["correct"] >= b["correct"] + margin)


def _below_floor(a: Mapping[str, Any], b: Mapping[str, Any], margin: int) -> bool:
    same = a["eps_255"] == b["eps_255"]
    return bool(
        same and a["kind"] != "floor" and b["kind"] == "floor"
        and a["correct"] >= b["correct"] + margin
    )  # fmt: skip


def _rises(a: Mapping[str, Any], b: Mapping[str, Any], margin: int) -> bool:
    larger = a["attack"] == b["attack"] and a["eps_255"] < b["eps_255"]
    return bool(larger and b["correct"] >= a["correct"] + margin)


def _name(series: Mapping[str, Any]) -> str:
    return f"{series['title']} at {series['eps_255']}/255"


def _share(series: Mapping[str, Any]) -> str:
    return f"{100 * int(series['correct']) / max(int(series['samples']), 1):.1f} %"
