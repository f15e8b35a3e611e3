"""Models x attacks: every model of a suite evaluated, resumable, with the records of ``run``.

In: a Suite, a folder. Out: ``<out>/<model>/<samples>-images/records.jsonl`` (``journal.py``) for
every model and group of attacks, from which ``comparison_figures`` makes the tables. A killed
comparison goes on at the batch (of a model, an attack and a size) that it was in. What attacks ask,
and what judges an image, is the engine (``tinyrobust.native``), or, without a compiler, the
interpreter; each answer that judges is compared with the interpreter's integers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinyrobust import attacks, tasks
from tinyrobust.artefact import sha256
from tinyrobust.attacks import InterpreterOracle, NativeOracle, Oracle
from tinyrobust.compare.suite import Entry, Group, Suite, locate
from tinyrobust.convert.models import load_model
from tinyrobust.errors import GraphError, TinyRobustError
from tinyrobust.evaluate import journal
from tinyrobust.evaluate.adversarial import UInt8
from tinyrobust.evaluate.config import Config, Series, generator, versions
from tinyrobust.evaluate.oracles import fastest
from tinyrobust.evaluate.prepare import check_task
from tinyrobust.evaluate.run import Counter, evaluate
from tinyrobust.graph.model import Model
from tinyrobust.graph.nodes import Graph

BOARD = "host"  # what stands in the records for the board
# Images at a time, what a kill may lose: a tenth of a group's, between these.
_LEAST_IMAGES, _MOST_IMAGES = 10, 50


@dataclass(frozen=True)
class Contender:
    """An entry of the suite with its model; ``model`` is None where there is none, and ``why``
    says so. ``folder`` is the name of its folder in the comparison's."""

    entry: Entry
    folder: str
    model: Model | None
    why: str = ""

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.entry.title or (self.model.name if self.model else self.entry.model)


@dataclass(frozen=True)
class Job:
    """One model under one group of attacks."""

    contender: Contender
    group: Group
    config: Config
    folder: Path


@dataclass(frozen=True)
class Data:
    """The task's first test images, as many as the largest group takes."""

    images: UInt8
    labels: Any


Progress = Callable[[Job, Series, float], None]  # images done of a series of a job


class OracleDevice:
    """A Device that is an Oracle on this computer; see ``run.Device`` for the methods."""

    def __init__(self, graph: Graph, oracle: Oracle) -> None:
        self.hello = SimpleNamespace(
            board=BOARD, model=graph.name, graph_sha256=graph.sha256, clock_hz=0, is_virtual=True
        )
        self._image = graph.sha256
        self._oracle = oracle

    def infer_many(self, images: UInt8) -> Any:
        """Scores, labels; no cycles are counted."""
        scores = self._oracle(images)
        labels = scores.argmax(axis=1).astype(np.int64)
        return SimpleNamespace(scores=scores, labels=labels, cycles=np.zeros(len(labels), int))

    def layer_cycles(self) -> list[tuple[str, int]]:
        """None are counted."""
        return []

    def steps(self) -> list[Any]:
        """There are none."""
        return []

    def memory(self) -> Any:
        """It has no marks."""
        return SimpleNamespace()

    def image_hash(self) -> str:
        """The Graph's: there is no image."""
        return self._image


def contenders(suite: Suite, folder: Path, *, allow_missing: bool = False) -> list[Contender]:
    """The suite's models, each checked against its task.

    ``folder`` is that of the suite's file. Raises GraphError naming all models that are missing,
    unless ``allow_missing``; ConvertError and TaskError for models that do not fit.
    """
    found = []
    for entry in suite.models:
        name = locate(entry, folder)
        try:
            model = load_model(name)
        except GraphError as error:
            if error.message != f"no model '{name}'":  # it is there, and broken
                raise
            found.append(Contender(entry, _slug(entry.model), None, error.message))
            continue
        check_task(suite.task, model.graph)
        found.append(Contender(entry, _slug(model.name), model))
    missing = [c.entry.model for c in found if c.model is None]
    if missing and not (allow_missing and len(missing) < len(found)):
        raise GraphError(
            f"suite '{suite.name}': no model {', '.join(missing)}",
            "train and convert it, leave it out, or --allow-missing for rows 'not measured'",
        )
    folders = [c.folder for c in found]
    twice = next((name for name in folders if folders.count(name) > 1), None)
    if twice is not None:
        raise TinyRobustError(
            f"suite '{suite.name}': two models are called '{twice}'", "rename one's file"
        )
    return found


def load_data(suite: Suite) -> Data:
    """The images; raises TaskError. Fewer than a group wants is what the test split has."""
    images, labels = tasks.get(suite.task).load("test")
    most = max(group.samples for group in suite.groups)
    most = max(most, suite.corruptions.samples if suite.corruptions else 0)
    return Data(images[:most], np.asarray(labels[:most], np.int64))


def check_attacks(suite: Suite) -> None:
    """Raise TinyRobustError for an unknown attack or one that lacks a package, before any work."""
    for group in suite.groups:
        for name in group.attacks:
            attacks.get(name).check_available(group.settings)


def jobs(suite: Suite, found: Sequence[Contender], data: Data, out: Path) -> list[Job]:
    """What there is to do, group by group so that all models are seen early; those of ``best``
    groups for every model (``run`` leaves some out)."""
    folders = _group_folders(suite)
    return [
        Job(c, group, _config(suite, group, c.model, data), out / c.folder / name)
        for group, name in zip(suite.groups, folders, strict=True)
        for c in found
        if c.model is not None
    ]


def run(
    suite: Suite, todo: Sequence[Job], data: Data, *, command: str = "", fresh: bool = False,
    progress: Progress = lambda job, series, done: None,
    notice: Callable[[str], None] = lambda text: None,
    finished: Callable[[Job], None] = lambda job: None,
) -> None:  # fmt: skip
    """Do every job, ``finished`` after each.

    Raises what ``run.evaluate`` raises; what was recorded stays, and the same call goes on.
    """
    oracles: dict[str, Oracle] = {}
    for group in suite.groups:
        mine = [job for job in todo if job.group is group]
        for job in best(mine, todo, group) if group.best else mine:
            _one(job, data, command, fresh, progress, notice, oracles)
            finished(job)


def best(mine: Sequence[Job], todo: Sequence[Job], group: Group) -> list[Job]:
    """The jobs of the ``group.best`` models that did best under the groups before: by the worst of
    the suite at the largest size, in the group's norm, up to its own (or the least above it)."""
    earlier = todo[: next(i for i, job in enumerate(todo) if job.group is group)]
    sizes = {eps for job in earlier for eps in job.group.eps if job.group.norm == group.norm}
    own = max(group.eps)
    size = max((s for s in sizes if s <= own), default=min(sizes, default=own))

    def rank(job: Job) -> float:
        seen = [right(j.folder) for j in earlier if j.contender is job.contender]
        return worst_accuracy(seen, (group.norm, size))

    return sorted(mine, key=rank, reverse=True)[: group.best]


def right(folder: Path) -> dict[str, Any]:
    """Which images were classified correctly, bool (n,) by ``Series.key``, from the records in
    ``folder``: those recorded from the first one on without a gap. Empty without records."""
    try:
        records = journal.read(folder)
    except TinyRobustError:
        return {}
    batches: dict[str, dict[int, Any]] = {}
    for record in records:
        if record["type"] == "batch":
            same = np.asarray(record["labels"]) == np.asarray(record["predicted"])
            batches.setdefault(record["series"], {})[record["first"]] = same
    return {key: _joined(parts) for key, parts in batches.items()}


def _joined(parts: Mapping[int, Any]) -> Any:
    whole: list[Any] = []
    for first in sorted(parts):
        if first != sum(map(len, whole)):
            break
        whole.append(parts[first])
    return np.concatenate(whole) if whole else np.zeros(0, bool)


Size = tuple[str, float]  # norm and eps_255


def worst(found: Sequence[Mapping[str, Any]], size: Size) -> Any:
    """Per image whether it is right when clean and under every attack of ``size`` that it saw:
    bool (n,), n the most images that any such attack saw. Empty when none was run."""
    seen = []
    for group in found:
        for key, value in group.items():
            series = Series.parse(key)
            if series.attack and (series.norm, series.eps_255) == size and "clean" in group:
                seen.append((group["clean"], value))
    count = max((len(value) for _, value in seen), default=0)
    result = np.ones(count, bool)
    for pair in seen:
        for value in pair:
            result[: len(value)] &= value[:count]
    return result


def worst_accuracy(found: Sequence[Mapping[str, Any]], size: Size) -> float:
    """The fraction that ``worst`` leaves; 0 when nothing was run."""
    left = worst(found, size)
    return float(left.mean()) if len(left) else 0.0


@dataclass
class Estimate:
    """How long a comparison will take, from how long its attacks took so far.

    ``seconds`` per image by attack ("clean" too), mean over models. An attack that was not timed
    yet counts as the mean of the others, and ``left`` says how many those are. A minimum-norm
    attack searches at its first size; the others cost nothing.
    """

    todo: Sequence[Job]
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)
    _done: dict[tuple[str, str], int] = field(default_factory=dict)
    _at: tuple[str, str] | None = None
    _mark: tuple[float, float] = (0.0, 0.0)
    _jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._jobs = [
            job for i, job in enumerate(self.todo)
            if not job.group.best
            or sum(other.group is job.group for other in self.todo[:i]) < job.group.best
        ]  # fmt: skip

    def update(self, job: Job, series: Series, done: float, now: float | None = None) -> None:
        """``done`` images of a series of a job are over."""
        now = time.monotonic() if now is None else now
        self._expect(job)
        key, name = (str(job.folder), series.key), series.attack or "clean"
        if self._at == key and done > self._mark[1] and not _is_free(job, series):
            seconds, images = self._spent.get(name, (0.0, 0.0))
            gained = done - self._mark[1]
            # Recorded batches pass by in no time: they tell nothing about the attack.
            if now - self._mark[0] > 1e-3 * gained:
                self._spent[name] = (seconds + now - self._mark[0], images + gained)
        self._at, self._mark = key, (now, done)
        self._done[key] = int(done)

    def _expect(self, job: Job) -> None:
        """Put ``job`` of a group for the best models in the place of one that was only a guess."""
        if all(other is not job for other in self._jobs):
            begun = {folder for folder, _ in self._done}
            guesses = [j for j in self._jobs if j.group is job.group and str(j.folder) not in begun]
            self._jobs = [j for j in self._jobs if not guesses or j is not guesses[-1]] + [job]

    @property
    def total(self) -> int:
        """Images of all series of all jobs."""
        return sum(job.config.samples for job in self._jobs for _ in job.config.series)

    @property
    def done(self) -> int:
        """Images that are over."""
        return sum(self._done.values())

    def left(self) -> tuple[float | None, int]:
        """Seconds that remain, None while nothing was timed; and how many attacks are untimed."""
        rates = {name: s / n for name, (s, n) in self._spent.items() if n}
        if not rates:
            return None, 0
        mean = sum(rates.values()) / len(rates)
        seconds, untimed = 0.0, set()
        for job in self._jobs:
            for series in job.config.series:
                if _is_free(job, series):
                    continue
                rest = job.config.samples - self._done.get((str(job.folder), series.key), 0)
                name = series.attack or "clean"
                if rest and name not in rates:
                    untimed.add(name)
                seconds += rest * rates.get(name, mean)
        return seconds, len(untimed)


def _is_free(job: Job, series: Series) -> bool:
    """Whether the search was done at a smaller size already."""
    if series.attack is None or not attacks.get(series.attack).minimum:
        return False
    return next(s for s in job.config.attacks if s.search == series.search) != series


def _config(suite: Suite, group: Group, model: Model | None, data: Data) -> Config:
    if model is None:
        raise ValueError("a missing model has no configuration")
    images, labels = data.images[: group.samples], data.labels[: group.samples]
    at_once = min(max(group.samples // 10, _LEAST_IMAGES), _MOST_IMAGES)
    return Config(
        board=BOARD, model=model.name, task=suite.task, split="test", samples=len(images),
        seed=suite.seed, attacks=group.series, graph_sha256=model.graph.sha256,
        image_sha256=model.graph.sha256,
        parameters={
            s.key: attacks.get(str(s.attack)).describe(s.eps_255, group.settings)
            for s in group.series
        },
        data_sha256=sha256(images.tobytes() + labels.tobytes()), batch_images=at_once,
        generator=generator(), oracle=fastest(), steps=group.steps, queries=group.queries,
        surrogate=group.surrogate,
    )  # fmt: skip


def judge(graph: Graph) -> Oracle:
    """Who judges images of ``graph`` here: the engine, or the interpreter without a compiler."""
    return _oracle(fastest(), graph)


def _oracle(name: str, graph: Graph) -> Oracle:
    return NativeOracle(graph) if name == "native" else InterpreterOracle(graph)


def _one(
    job: Job, data: Data, command: str, fresh: bool, progress: Progress,
    notice: Callable[[str], None], oracles: dict[str, Oracle],
) -> None:  # fmt: skip
    model = job.contender.model
    if model is None:
        return
    if not fresh and _is_done(job):
        for series in job.config.series:
            progress(job, series, 0)
            progress(job, series, job.config.samples)
        return
    count = job.config.samples
    if job.contender.folder not in oracles:
        oracles[job.contender.folder] = _oracle(job.config.oracle, model.graph)
    oracle = oracles[job.contender.folder]
    evaluate(
        job.config, model.graph, data.images[:count], data.labels[:count],
        OracleDevice(model.graph, oracle), job.folder, counter=Counter(None, 1),
        victim=attacks.GraphVictim(model.graph, oracle), fresh=fresh,
        progress=lambda series, done: progress(job, series, done),
        notice=lambda text: notice(f"{job.contender.title}: {text}"),
        header={
            "command": command, "versions": versions(),
            "about": {"judge": job.config.oracle, "input_shape": list(model.graph.input.shape)},
        },
    )  # fmt: skip


def _is_done(job: Job) -> bool:
    """Whether the job's records are whole."""
    try:
        records = journal.read(job.folder)
    except TinyRobustError:
        return False
    return records[0]["config_sha256"] == job.config.sha256 and records[-1]["type"] == "done"


def _group_folders(suite: Suite) -> list[str]:
    """A name for each group; the second of the same number of images gets a 2."""
    made: list[str] = []
    for group in suite.groups:
        base, number = f"{group.samples}-images", 1
        while (name := base if number == 1 else f"{base}-{number}") in made:
            number += 1
        made.append(name)
    return made


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).name) or "model"
