"""What a search found: trials, the best, the Pareto front; files for people and programs.

In: a Folder. Out: figures under schema ``tinyrobust.search/1``; ``search.json``, ``search.md``,
``search.svg``, ``best.yaml`` and ``front/<number>.yaml`` in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tinyrobust import escaping
from tinyrobust.artefact import write_json, write_text
from tinyrobust.report.plots import CLEAN, GRID, PALETTE, _figure, _svg
from tinyrobust.search.study import Folder, is_refused
from tinyrobust.search.worker import MODEL, RECIPE
from tinyrobust.units import count, kib, percent
from tinyrobust.writing import replacing

SCHEMA = "tinyrobust.search/1"
COSTS = ("flash_bytes", "ram_bytes", "instructions")

Figures = Mapping[str, Any]


def figures(folder: Folder) -> dict[str, Any]:
    """Every trial in the order of numbers, and which are best."""
    trials = [_trial(t) for t in folder.study.get_trials(deepcopy=False)]
    trained = [t for t in trials if t["state"] == "trained"]
    best = max(trained, key=lambda t: float(t["robust"]), default=None)
    return {
        "schema": SCHEMA,
        "settings": folder.settings.as_json(),
        "objective": f"accuracy under PGD-10 at {folder.settings.space.eps_255:g}/255, "
                     "validation images",
        "trials": trials,
        "best": best and best["number"],
        "front": [t["number"] for t in front(trained)],
        "states": {s: sum(t["state"] == s for t in trials)
                   for s in ("trained", "pruned", "refused", "failed", "running")},
    }  # fmt: skip


def state_of(trial: FrozenTrial) -> str:
    """``trained``, ``pruned``, ``refused``, ``failed`` or ``running``."""
    if is_refused(trial):
        return "refused"
    names = {TrialState.COMPLETE: "trained", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return names.get(trial.state, "running")


def sentence(trial: FrozenTrial) -> str:
    """How a trial ended."""
    state = state_of(trial)
    if state in ("refused", "failed"):
        return f"{state}: {trial.user_attrs.get(state, '')}"
    if state == "pruned":
        return f"pruned after epoch {trial.last_step}"
    if state == "trained":
        return f"{trial.value:.1%} under attack, {trial.user_attrs['clean']:.1%} clean"
    return state


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    state = state_of(trial)
    return {
        "number": trial.number,
        "state": state,
        "robust": trial.value if state == "trained" else None,
        "clean": trial.user_attrs.get("clean"),
        "values": {k: json.loads(v) if isinstance(v, str) else v for k, v in trial.params.items()},
        "reports": {str(k): v for k, v in sorted(trial.intermediate_values.items())},
        "predicted": trial.user_attrs.get("predicted"),
        "why": trial.user_attrs.get(state, ""),
    }


def front(trained: Sequence[Figures]) -> list[Figures]:
    """Trials that no other one is as good as in accuracy, flash, RAM and instructions, and better
    in one of them; in the order of instructions."""

    def key(t: Figures) -> tuple[float, ...]:
        return (-t["robust"], *(t["predicted"][cost] for cost in COSTS))

    def beats(a: Figures, b: Figures) -> bool:
        pairs = list(zip(key(a), key(b), strict=True))
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    kept = [t for t in trained if not any(beats(other, t) for other in trained)]
    return sorted(kept, key=lambda t: t["predicted"]["instructions"])


def write(folder: Folder) -> dict[str, Any]:
    """Write the files, each atomically; the figures. Without a trained design there is no best."""
    made = figures(folder)
    write_json(folder.path / "search.json", made)
    write_text(folder.path / "search.md", markdown(made, folder.path))
    write_text(folder.path / "search.svg", plot(made))
    with replacing(folder.path / "front") as front:
        for number in made["front"]:
            text = (folder.trial_folder(number) / RECIPE).read_text()
            write_text(front / f"{number:04d}.yaml", text)
            if number == made["best"]:
                write_text(folder.path / "best.yaml", text)
    return made


def rows(made: Figures) -> list[list[str]]:
    """Trained and pruned designs, best first: cells of a table."""
    shown = [t for t in made["trials"] if t["state"] in ("trained", "pruned")]
    shown.sort(key=lambda t: (t["robust"] is None, -(t["robust"] or 0.0), t["number"]))
    return [
        [f"{t['number']}{' *' if t['number'] in made['front'] else ''}",
         percent(t["robust"]) if t["robust"] is not None else
         f"pruned at {percent(list(t['reports'].values())[-1])}",
         percent(t["clean"]) if t["clean"] is not None else "not measured",
         kib(t["predicted"]["flash_bytes"]), kib(t["predicted"]["ram_bytes"]),
         count(t["predicted"]["instructions"]),
         ", ".join(f"{_part(k)} {_short(v)}" for k, v in t["values"].items())]
        for t in shown
    ]  # fmt: skip


HEAD = ("trial", "under attack", "clean", "flash", "RAM", "instructions", "design")


def _part(key: str) -> str:
    return key.removeprefix("network.").replace("blocks.", "block ")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(str(v) for v in value.values())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def markdown(made: Figures, path: Path) -> str:
    """The result for people."""
    made = escaping.every(made, escaping.markdown)
    settings, states = made["settings"], made["states"]
    parts = [
        f"{k.removesuffix('_bytes')} {v:,}{' B' if k.endswith('_bytes') else ''}"
        for k, v in settings["budget"].items() if v
    ]  # fmt: skip
    lines = [
        f"# Search over {settings['space']['name']} from {settings['recipe']['name']}", "",
        f"Maximised: {made['objective']}, after {settings['epochs']} epochs. Board "
        f"{settings['board']}; budget: {', '.join(parts) or 'that of the board'}.", "",
        ", ".join(f"{n} {state}" for state, n in states.items() if n) + ". `*`: on the Pareto "
        "front of accuracy, flash, RAM and instructions. Costs are predicted by the planner, "
        "before training; accuracies are a quick look in QKeras, on few images: train the best "
        "for longer, convert it, and `tinyrobust compare` it.", "",
        "| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD),
        *("| " + " | ".join(row) + " |" for row in rows(made)), "",
        "![accuracy against instructions](search.svg)", "",
    ]  # fmt: skip
    if made["best"] is not None:
        number = made["best"]
        lines += [
            f"Best: trial {number}, `best.yaml`; trained as far as the search went in "
            f"`trials/{number:04d}/{MODEL}`, which `tinyrobust convert` takes.", "",
        ]  # fmt: skip
    return "\n".join(lines)


def plot(made: Figures) -> str:
    """Accuracy under attack against predicted instructions, the front joined; SVG."""
    trained = [t for t in made["trials"] if t["state"] == "trained"]
    what = f"{made['objective'].partition(',')[0]} (%)"
    with _figure(6.6, 4.1) as (figure, axes):
        axes.grid(color=GRID)
        points = [(t["predicted"]["instructions"], 100 * t["robust"]) for t in trained]
        if points:
            line = axes.scatter(
                *zip(*points, strict=True), s=34, zorder=3, cmap="viridis",
                c=[t["predicted"]["flash_bytes"] / 1024 for t in trained],
            )  # fmt: skip
            figure.colorbar(line, ax=axes, label="flash (KiB)")
        best = [t for t in trained if t["number"] in made["front"]]
        best.sort(key=lambda t: t["predicted"]["instructions"])
        axes.plot(
            [t["predicted"]["instructions"] for t in best], [100 * t["robust"] for t in best],
            color=CLEAN, linewidth=1.2, label="Pareto front",
        )  # fmt: skip
        limit = made["settings"]["budget"]["instructions"]
        if limit:
            axes.axvline(limit, color=PALETTE[0], linestyle="--", linewidth=1, label="budget")
        axes.xaxis.set_major_formatter(lambda value, _: count(value))
        axes.set(xlabel="predicted instructions of one inference", ylabel=what)
        axes.legend(frameon=False, loc="lower right")
        return _svg(figure)
