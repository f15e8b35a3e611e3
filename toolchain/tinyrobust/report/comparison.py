"""A comparison in words: one table, as text cells, and what must be said beside it.

In: the figures of ``evaluate.comparison_figures``. Out: table rows; sentences; Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyrobust import escaping
from tinyrobust.units import count, kib, percent

Figures = Mapping[str, Any]
NOT_MEASURED = "not measured"
NOTHING = "measures nothing here"


@dataclass(frozen=True)
class Row:
    """One figure of all models; ``cells`` and ``signs`` (of gradient masking) in their order."""

    section: str
    name: str
    cells: tuple[str, ...]
    signs: tuple[bool, ...] = ()
    note: str = ""


def table(figures: Figures) -> list[Row]:
    """The one table: a column for each model, a row for each figure."""
    models = figures["models"]
    rows = [Row("accuracy", "clean", tuple(_accuracy(m["clean"]) for m in models))]
    for column in figures["columns"]:
        cells = [m["cells"][column["key"]] for m in models]
        rows.append(Row(
            f"{column['kind']}, {column['samples']:,} images",
            _series(column),
            tuple(_accuracy(cell) for cell in cells),
            tuple(bool(cell and cell["signs"]) for cell in cells),
            _note(column),
        ))  # fmt: skip
    for norm, eps in _sizes(figures):
        found = [_at(m["worst"], norm, eps) for m in models]
        name = _series({"title": "any attack", "norm": norm, "eps_255": eps})
        rows.append(Row("worst of the suite, per image", name, tuple(map(_accuracy, found))))
    rows.append(Row("gradient masking", "signs (listed below)", tuple(map(_sign_count, models))))
    rows += _queries(figures)
    rows += _black_box(figures)
    rows += _costs(models, figures)
    if figures["baseline"]:
        rows += _advantages(figures)
        for kind in ("white-box", "black-box"):
            rows.append(Row(
                f"average advantage over {figures['baseline']}, points", kind,
                tuple(_advantage(m, kind, figures["baseline"]) for m in models),
            ))  # fmt: skip
    rows += _corruptions(models)
    rows.append(Row("time", "attacking and judging", tuple(
        duration(m["seconds"]) if m["seconds"] else NOT_MEASURED for m in models)))  # fmt: skip
    return rows


def _accuracy(cell: Figures | None) -> str:
    if cell is None:
        return NOT_MEASURED
    text = f"{percent(cell['accuracy'])} ({100 * cell['low']:.1f}-{100 * cell['high']:.1f})"
    return text if cell.get("complete", True) else f"{text}, {cell['samples']:,} images so far"


def _note(column: Figures) -> str:
    notes = [f"the best {column['best']} only"] if column["best"] else []
    return "; ".join([*notes, *([NOTHING] if column.get("measures") is False else [])])


def _series(column: Figures) -> str:
    norm = " (L2)" if column["norm"] == "l2" else ""
    return f"{column['title']} at {column['eps_255']:g}/255{norm}"


def _sizes(figures: Figures) -> list[tuple[str, float]]:
    found = {(column["norm"], column["eps_255"]) for column in figures["columns"]}
    return sorted(found, key=lambda size: (size[0] != "linf", size[1]))


def _at(rows: Sequence[Figures], norm: str, eps: float) -> Figures | None:
    return next((r for r in rows if (r["norm"], r["eps_255"]) == (norm, eps)), None)


def _sign_count(model: Figures) -> str:
    if model["clean"] is None:
        return NOT_MEASURED
    return str(len(model["signs"]) + sum(len(c["signs"]) for c in model["cells"].values() if c))


def _queries(figures: Figures) -> list[Row]:
    """Mean queries per attacked image of each black-box attack."""
    rows = []
    for column in figures["columns"]:
        if column["kind"] == "black-box":
            cells = [m["cells"][column["key"]] for m in figures["models"]]
            rows.append(Row(
                "queries per attacked image", _series(column),
                tuple(NOT_MEASURED if cell is None or cell["queries_per_image"] is None
                      else f"{cell['queries_per_image']:,.0f}" for cell in cells),
            ))  # fmt: skip
    return rows


def _black_box(figures: Figures) -> list[Row]:
    """What black-box attacks break of correctly classified images, and how near a search for the
    nearest image has come after some queries."""
    rows: list[Row] = []
    searches: dict[tuple[str, str], tuple[Figures, list[Figures | None]]] = {}
    for column in figures["columns"]:
        if column["kind"] != "black-box":
            continue
        cells = [m["cells"][column["key"]] for m in figures["models"]]
        rows.append(Row(
            "share of correctly classified images broken", _series(column),
            tuple(NOT_MEASURED if cell is None or cell["broken"] is None
                  else percent(cell["broken"]) for cell in cells), note=_note(column),
        ))  # fmt: skip
        searches.setdefault((column["attack"], column["norm"]), (column, cells))
    for column, cells in searches.values():
        counts = {count for cell in cells if cell for count in cell["after"]}
        for queries in sorted(counts, key=int):
            rows.append(Row(
                f"median distance, {'L2' if column['norm'] == 'l2' else 'Linf'}, of 255",
                f"{column['title']} after {int(queries):,} queries",
                tuple(_far(cell, queries) for cell in cells),
            ))  # fmt: skip
    return rows


def _corruptions(models: Sequence[Figures]) -> list[Row]:
    """Accuracy under each corruption, mean over the strengths, and the mean of all kinds."""
    found = [m.get("corruptions") for m in models]
    kinds = {k: row["title"] for f in found if f for k, row in f["kinds"].items()}
    if not kinds:
        return []
    samples = max(f["samples"] for f in found if f)
    section = f"corruptions, {samples:,} images, mean of the strengths"
    rows = [
        Row(section, title, tuple(_accuracy((f or {"kinds": {}})["kinds"].get(kind))
                                  for f in found))
        for kind, title in kinds.items()
    ]  # fmt: skip
    means = tuple(percent(f["mean"]) if f else NOT_MEASURED for f in found)
    return [*rows, Row(section, "mean of all kinds", means)]


def _far(cell: Figures | None, queries: str) -> str:
    if cell is None or queries not in cell["after"]:
        return NOT_MEASURED
    found = cell["after"][queries]
    return "no success" if found is None else f"{found:.0f}"


def _advantages(figures: Figures) -> list[Row]:
    """The advantage under each attack by itself."""
    section = f"advantage over {figures['baseline']}, points"
    rows = []
    for column in figures["columns"]:
        if column["kind"] in ("white-box", "black-box"):
            cells = [
                "baseline" if m["title"] == figures["baseline"]
                else NOTHING if column["measures"] is False
                else _points((m["cells"][column["key"]] or {}).get("advantage"))
                for m in figures["models"]
            ]  # fmt: skip
            rows.append(Row(section, _series(column), tuple(cells)))
    return rows


def _costs(models: Sequence[Figures], figures: Figures) -> list[Row]:
    weights = tuple(_size(m["weight_bytes"]) for m in models)
    per_kib = tuple(
        NOT_MEASURED if m["robust_per_kib"] is None else f"{m['robust_per_kib']:.2f}"
        for m in models
    )
    sizes = _sizes(figures)
    largest = max(eps for norm, eps in sizes if norm == sizes[0][0])
    rows = [
        Row("cost", "weights", weights),
        Row("cost", f"worst-of-suite accuracy at {largest:g}/255 per KiB, points", per_kib),
    ]
    hows = {m["costs"]["how"] for m in models if m["costs"]}
    if not hows:
        return rows
    section = f"cost on {figures['board']}: {' or '.join(sorted(hows))}"
    for key, name, form in (
        ("flash_bytes", "flash, all of it", kib), ("ram_bytes", "RAM, with the stack", kib),
        ("instructions", "instructions per inference", count),
    ):  # fmt: skip
        cells = tuple(_cost(m["costs"], key, form) for m in models)
        rows.append(Row(section, name, cells))
    return rows


def _size(n_bytes: int | None) -> str:
    return NOT_MEASURED if n_bytes is None else kib(n_bytes)


def _cost(costs: Figures | None, key: str, form: Any) -> str:
    if costs is None:
        return NOT_MEASURED
    return "does not fit" if costs[key] is None else str(form(costs[key]))


def _advantage(model: Figures, kind: str, baseline: str) -> str:
    if model["title"] == baseline:
        return "baseline"
    return _points(model["advantage"].get(kind))


def _points(found: Figures | None) -> str:
    if found is None:
        return NOT_MEASURED
    return f"{found['points']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f})"


def duration(seconds: float) -> str:
    """``"42 s"``, ``"3 min"`` or ``"2 h 5 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def statements(figures: Figures) -> list[str]:
    """What was done, what was not, and how to read it."""
    lines = [
        "Every image was judged on exact integers: the Graph's arithmetic compiled for this "
        "computer (the interpreter without a compiler), compared with the "
        "interpreter's scores in every integer. Attacks ask the same integers; a size is the "
        "largest change of a value of the uint8 input, of 255 (L2: the length of the whole "
        "change).",
        "Accuracies have 95 % intervals (Wilson). '!' marks a sign of gradient masking: the figure "
        "may be the attack's weakness, not the model's strength; the signs are listed below.",
        "Worst of the suite: an image counts as right when it is right clean and under every "
        "attack of that size that it saw. Attacks of fewer images saw the first ones only, and a "
        "model that an attack was not run on was spared it.",
        "Queries are images shown to the model, forward or with gradient, per image that was "
        "attacked (misclassified ones are not).",
        "'not measured' means that nothing was run; nothing is taken from a paper.",
    ]
    if figures["baseline"]:
        lines.append(
            f"The advantage is accuracy minus that of {figures['baseline']} on the same images, "
            "with a 95 % interval of the paired differences; the average one is the mean over all "
            "attacks and sizes of a kind that measure something."
        )
        nothing = [_series(c) for c in figures["columns"] if c.get("measures") is False]
        if nothing:
            lines.append(
                f"'{NOTHING}': {', '.join(nothing)} broke at most one in 20 of the images that the "
                "undefended baseline classifies correctly, so their figures tell no defence from "
                "none, and no mean has them."
            )
    if figures["papers"]:
        lines.append("Beside it, what the papers report: " + "; ".join(
            f"{p['points']:.1f} points {p['kind']} {p['about']}" for p in figures["papers"]
        ) + ".")  # fmt: skip
    absent = [m["title"] for m in figures["models"] if not m["present"]]
    if absent:
        lines.append(f"Not there, so not measured: {', '.join(absent)}.")
    broken = [f"{m['title']}: {m['costs']['problem']}" for m in figures["models"]
              if m["costs"] and m["costs"]["problem"]]  # fmt: skip
    lines += [f"Does not fit: {text}." for text in broken]
    different = sum(m["score_differences"] for m in figures["models"])
    if different:
        lines.append(f"{different:,} scores of the judge differ from the interpreter's: do not "
                     "trust the figures.")  # fmt: skip
    if not figures["complete"]:
        lines.append("The comparison is not finished: the figures cover what is recorded so far.")
    lines.append(
        f"It took {duration(figures['seconds'])} in all of attacking and judging, over all runs "
        f"of the command; the last run {duration(figures['repeat']['wall_s'])}."
    )
    return lines


def signs(figures: Figures) -> list[str]:
    """Every sign of gradient masking, with its model."""
    return [
        f"{m['title']}: {text}"
        for m in figures["models"]
        for texts in (m["signs"], *(cell["signs"] for cell in m["cells"].values() if cell))
        for text in texts
    ]


def markdown(figures: Figures) -> str:
    """The Markdown report."""
    repeat = figures["repeat"]
    figures = escaping.every(figures, escaping.markdown)
    parts = [f"# {figures['suite']}: models under attack", "", figures["description"], ""]
    heads = ["", *(m["title"] for m in figures["models"])]
    section = None
    body: list[list[str]] = []
    for row in table(figures):
        if row.section != section:
            section = row.section
            body.append([f"**{section}**", *([""] * (len(heads) - 1))])
        marks = row.signs or (False,) * len(row.cells)
        name = f"{row.name} ({row.note})" if row.note else row.name
        body.append([name, *(f"{cell} !" if mark else cell
                             for cell, mark in zip(row.cells, marks, strict=True))])  # fmt: skip
    parts += _lines(heads, body)
    parts += ["", "![accuracy against the size of the attack](compare.svg)", ""]
    found = signs(figures)
    parts += ["## Signs of gradient masking", ""]
    parts += [f"- {text}" for text in found] or ["None."]
    parts += ["", "## How to read it", "", *(f"- {text}" for text in statements(figures)), ""]
    parts += ["## Attacks", ""]
    for title, paper, settings in attack_lines(figures):
        parts.append(f"- {title}: {settings}. {paper}.")
    parts += ["", "## To repeat it", "", *escaping.markdown_block(repeat["command"]), ""]
    parts += [
        "Versions: "
        + escaping.markdown(", ".join(f"{k} {v or '-'}" for k, v in repeat["versions"].items()))
    ]
    return "\n".join(parts) + "\n"


def attack_lines(figures: Figures) -> list[tuple[str, str, str]]:
    """Title, paper and settings of each attack at its largest size."""
    last = {(column["attack"], column["norm"]): column for column in figures["columns"]}
    return [
        (_series(c), c["paper"],
         ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in c["parameters"].items()))
        for c in last.values()
    ]  # fmt: skip


def _lines(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(str, head)) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in body]
