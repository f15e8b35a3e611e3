"""The figures in words, the same ones in every form of the report and on the screen.

In: the evaluation's figures. Out: sentences and table rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.units import count, kib, percent

Figures = Mapping[str, Any]


def rows(figures: Figures) -> list[dict[str, str]]:
    """Accuracy table: one row for clean, each attack and the worst of them, as text."""
    table = [_row("clean", "-", figures["clean"], "")]
    for series in figures["attacks"]:
        note = series["kind"] + (", replayed" if series["replayed"] else "")
        table.append(_row(series["title"], size(series), series, note))
    for worst in figures["worst"]:
        if len(worst["of"]) > 1:
            queries = worst.get("queries")
            asked = "" if queries is None else f", {queries:,} queries"
            note = f"worst per image of {len(worst['of'])} attacks{asked}"
            table.append(_row("any attack", size(worst), worst, note))
    return table


def size(series: Figures) -> str:
    """``"8/255"``, or ``"128/255 (L2)"``."""
    return f"{series['eps_255']:g}/255" + (" (L2)" if series.get("norm") == "l2" else "")


def effort_rows(figures: Figures) -> list[dict[str, str]]:
    """What each attack spent and reached, as text; what was not measured says so."""
    return [
        {
            "name": series["title"], "eps": size(series), "queries": _queries(series),
            "oracle": _oracle(series), "norms": _norms(series), "notes": "; ".join(_notes(series)),
        }
        for series in figures["attacks"]
    ]  # fmt: skip


_UNKNOWN = "not measured"


def _queries(series: Figures) -> str:
    if series["queries_mean"] is None:
        return _UNKNOWN
    return f"{series['queries_mean']:,.0f} (at most {series['queries_max']:,})"


def _oracle(series: Figures) -> str:
    oracle = series["oracle"]
    if oracle is None or not oracle["asked"]:
        return "" if oracle else _UNKNOWN
    rate = "" if oracle["per_s"] is None else f", {oracle['per_s']:,.0f}/s"
    return f"{oracle['name']}: {oracle['asked']:,}{rate}"


def _norms(series: Figures) -> str:
    """Distances that a minimum-norm attack needed; others go to the size that they may."""
    if not series["minimum"]:
        return ""
    if series["norms"] is None:
        return _UNKNOWN
    found = series["norms"]["l2"]["found"]
    medians = [
        f"{word} {'-' if value is None else format(value, '.1f')}"
        for word, value in (("Linf", series["norms"]["linf"]["median"]),
                            ("L2", series["norms"]["l2"]["median"]))
    ]  # fmt: skip
    return f"median {', '.join(medians)}; found {found:,} of {series['attacked']:,}"


def _notes(series: Figures) -> list[str]:
    notes = []
    if series["did_not_move"]:
        notes.append(f"did not move {series['did_not_move']:,} of {series['attacked']:,} images")
    if series["reached"] is not None:
        notes.append(f"reached its target for {series['reached']:,} of {series['attacked']:,}")
    if series["oracle"] and series["oracle"]["retried"]:
        notes.append(f"the board was lost and asked again {series['oracle']['retried']:,} times")
    heat = [e for e in series["log"] if "temperature" in e]
    if heat:
        tried = (f"{e['broken']:,} of {e['tried']:,} at {e['temperature']:g}" for e in heat)
        notes.append(f"temperatures: broke {', '.join(tried)}")
    parts = [f"{e['part']} {e['broken']:,} of {e['tried']:,}" for e in series["log"] if "part" in e]
    return notes + ([f"parts: {', '.join(parts)}"] if parts else [])


def masking_rows(figures: Figures) -> list[dict[str, str]]:
    """The checks for gradient masking: name, status and what was seen."""
    return [
        {"name": check["name"], "status": check["status"], "text": "; ".join(check["texts"])}
        for check in figures["masking"]
    ]


def _row(name: str, eps: str, series: Figures, note: str) -> dict[str, str]:
    host = series.get("interpreter_correct")
    differ = series.get("score_differences")
    return {
        "name": name,
        "eps": eps,
        "accuracy": percent(series["accuracy"]),
        "interval": interval(series),
        "correct": f"{series['correct']:,} of {series['samples']:,}",
        "interpreter": "" if host is None else percent(host / series["samples"]),
        "differ": "" if differ is None else f"{differ:,}",
        "note": note,
    }


def interval(series: Figures) -> str:
    """``"60.1-66.2 %"``."""
    return f"{100 * series['low']:.1f}-{100 * series['high']:.1f} %"


def cost(figures: Figures) -> str:
    """Cost of an inference in the only unit that was measured."""
    spent = figures["cost"]
    if spent["unit"] is None:
        return "not counted on this board"
    text = f"{count(spent['mean'])} {spent['unit']}"
    if spent["mean_ms"] is not None:
        text += f" ({spent['mean_ms']:.2f} ms at {spent['clock_hz'] / 1e6:g} MHz)"
    return text


def statements(figures: Figures) -> list[str]:
    """What was done and what was not, in plain words."""
    board = figures["about"].get("board_title") or figures["board"]
    lines = []
    if figures["is_virtual"]:
        lines.append(
            f"A virtual board was used: a program that imitates the {board} ran the very firmware "
            "image that would be flashed. Instructions were counted exactly, but no time was "
            "measured: cycles and milliseconds come from real hardware only."
        )
    else:
        lines.append(
            f"A real board was used: {board}. Cycles were counted by the board's own counter; "
            "milliseconds are cycles divided by the clock that the board reports."
        )
    lines.append(
        "Every image, clean and adversarial, was classified by the board itself over its serial "
        "port. Adversarial images were crafted on the host, on the same integers, and differ from "
        "the clean uint8 image by at most the stated size in every value (Linf, of 255), or, where "
        "the size says L2, as a whole."
    )
    lines += _about_oracles(figures)
    different = figures["score_differences"]
    lines.append(
        "The board's scores equal the numpy interpreter's in every integer of every image."
        if different == 0
        else f"The board's scores differ from the numpy interpreter's in {different:,} integers: "
        "the board does not compute the network that was checked. Do not trust the figures."
    )
    if any(series["replayed"] for series in figures["attacks"]):
        lines.append(
            "The adversarial images were replayed from a file that was crafted on this very "
            "network, not crafted in this run."
        )
    if figures["not_run"]:
        lines.append(f"Not run, so not measured: {', '.join(figures['not_run'])}.")
    if not figures["complete"]:
        lines.append("The evaluation is not finished: the figures cover what is recorded so far.")
    return lines


def _about_oracles(figures: Figures) -> list[str]:
    names = {
        s["oracle"]["name"] for s in figures["attacks"] if s["oracle"] and s["oracle"]["asked"]
    }
    words = {
        "device": "The board itself answered what the attacks asked, over its serial port.",
        "host": "The firmware's C++, compiled for the host, answered what the attacks asked: the "
        "same integers as the board's.",
        "native": "The Graph's arithmetic, compiled for this computer's processor, answered what "
        "the attacks asked: the same integers as the board's.",
        "interpreter": "The numpy interpreter answered what the attacks asked: the same integers "
        "as the board's.",
        "qkeras": "The attacks saw the QKeras model, whose floats are not the board's integers: a "
        "transfer, weaker than an attack on the integers.",
    }
    return [words[name] for name in sorted(names) if name in words]


def memory_rows(figures: Figures) -> list[dict[str, Any]]:
    """Flash, RAM and stack against their budgets; empty when no build report is recorded."""
    image = figures["memory"].get("image") if figures["memory"] else None
    if not image:
        return []
    table = [
        {"name": name, "used": image[key]["used_bytes"], "budget": image[key]["budget_bytes"],
         "parts": image[key]["parts"]}
        for name, key in (("Flash", "flash"), ("RAM", "ram"))
    ]  # fmt: skip
    bound = image["stack"]["bound_bytes"]
    if bound is not None and image["stack"]["reserved_bytes"]:
        table.append({
            "name": "Stack (worst case)", "used": bound,
            "budget": image["stack"]["reserved_bytes"], "parts": [],
        })  # fmt: skip
    for row in table:
        row["text"] = f"{kib(row['used'])} of {kib(row['budget'])}"
        row["share"] = row["used"] / row["budget"] if row["budget"] else 0.0
    return table


def layer_rows(figures: Figures) -> list[dict[str, Any]]:
    """Per layer: name, kernel, MACs, cycles, share of all cycles, bytes of weights and tables."""
    spent = figures["cost"]
    image = figures["memory"].get("image", {}) if figures["memory"] else {}
    sizes = {la["name"]: la["weights_bytes"] + la["tables_bytes"] for la in image.get("layers", [])}
    total = sum(layer["cycles"] for layer in spent["layers"]) or 1
    return [
        dict(layer) | {"share": layer["cycles"] / total, "bytes": sizes.get(layer["name"])}
        for layer in spent["layers"]
    ]
