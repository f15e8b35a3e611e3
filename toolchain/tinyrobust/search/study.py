"""The study: Optuna's storage on disk, and who works on which trial.

In: a folder and Settings. Out: trials to work on, one at a time and to one process each. A process
holds a lock on its trial, which the system releases when the process dies, however it dies; its
trial is then taken up again under its number and with its values, where its training's checkpoint
is. So one worker that is killed and started again makes the trials of one that was not: what is
drawn depends on seed, number, parameter and the trials before, and what is pruned on their reports.

``<folder>/settings.json``: what the trials depend on; ``study.db``: SQLite; ``study.lock``;
``trials/<number>/``: its lock, its training.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tinyrobust import boards
from tinyrobust.artefact import canonical_json, sha256, try_lock, write_json
from tinyrobust.errors import TinyRobustError
from tinyrobust.reading import MAX_JSON_BYTES, bounded, document, typed
from tinyrobust.recipes import Recipe
from tinyrobust.search.budget import Budget
from tinyrobust.search.space import Space

SCHEMA = "tinyrobust.search-settings/1"
ATTEMPTS = 3  # of a trial whose worker was killed, without one more epoch, before it is failed
MOST_REFUSED = 200  # designs in a row that the budget refuses, before the search gives up
_BUSY_S = 60.0  # how long a worker waits for another that writes
_STARTUP = 10  # random trials before the sampler learns from them


@dataclass(frozen=True)
class Settings:
    """What the trials depend on. ``reduction``: one of so many goes on after each rung."""

    recipe: Recipe
    space: Space
    board: str
    budget: Budget
    epochs: int
    seed: int = 0
    reduction: int = 3

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "recipe": self.recipe.model_dump(mode="json", by_alias=True),
            "space": self.space.model_dump(mode="json", by_alias=True),
            "board": self.board, "board_sha256": sha256(
                canonical_json(boards.load(self.board).model_dump(mode="json")).encode()),
            "budget": vars(self.budget), "epochs": self.epochs, "seed": self.seed,
            "reduction": self.reduction,
        }  # fmt: skip


def read_settings(path: Path) -> Settings:
    """The settings of the search in folder ``path``; raises TinyRobustError when it is none."""
    file = path / "settings.json"
    try:
        found = document(bounded(file, MAX_JSON_BYTES), file)
        return Settings(
            Recipe.model_validate(found["recipe"]), Space.model_validate(found["space"]),
            found["board"], Budget(**found["budget"]), found["epochs"], found["seed"],
            found["reduction"],
        )  # fmt: skip
    except (TinyRobustError, ValueError, LookupError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise TinyRobustError(
            f"{path} holds no search: {said:.300}", "start one: tinyrobust search"
        ) from error


class NumberedSampler(optuna.samplers.BaseSampler):
    """TPE (J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011; Optuna's),
    seeded anew for every parameter of every trial, so that it has no state to lose."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def infer_relative_search_space(self, study: Any, trial: FrozenTrial) -> dict[str, Any]:
        """Parameters are drawn one by one."""
        return {}

    def sample_relative(
        self, study: Any, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_independent(
        self, study: Any, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One value."""
        about = canonical_json([self._seed, trial.number, param_name])
        tpe = optuna.samplers.TPESampler(
            seed=zlib.crc32(about.encode()), n_startup_trials=_STARTUP, multivariate=False
        )
        return tpe.sample_independent(study, trial, param_name, param_distribution)


class Halving(optuna.pruners.BasePruner):
    """Asynchronous successive halving (L. Li et al., "A System for Massively Parallel
    Hyperparameter Tuning", 2020, arXiv:1810.05934): at each rung the best ``1/reduction`` of the
    trials so far go on, one at least.

    Optuna's own notes in the trial that a rung was passed; after a kill between the note and the
    end of the trial it would decide otherwise. This one looks at reports only.
    """

    def __init__(self, epochs: int, reduction: int) -> None:
        self._reduction = reduction
        self.rungs = rungs(epochs, reduction)

    def prune(self, study: Any, trial: FrozenTrial) -> bool:
        """Whether ``trial`` ends at the epoch that it reported last."""
        step = trial.last_step
        if step not in self.rungs:
            return False
        own = trial.intermediate_values[step]
        others = [
            t.intermediate_values[step] for t in study.get_trials(deepcopy=False)
            if t.number < trial.number and step in t.intermediate_values
        ]  # fmt: skip
        kept = max(1, (len(others) + 1) // self._reduction)
        return sum(value > own for value in others) >= kept  # ties go on: early on many are 0


def rungs(epochs: int, reduction: int) -> tuple[int, ...]:
    """Epochs after which trials are compared: epochs / reduction^k, rounded up."""
    found, at = [], epochs
    while (at := -(-at // reduction)) < epochs and at not in found:
        found.append(at)
        if at == 1:
            break
    return tuple(sorted(found))


class Folder:
    """A search's folder, open."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings = settings

    @classmethod
    def create(cls, path: Path, settings: Settings, *, resume: bool) -> Folder:
        """Start a search in ``path``, or go on with the one that is there.

        Raises TinyRobustError when there is one and ``resume`` is not wanted, none and it is, or
        one with other settings.
        """
        file = path / "settings.json"
        wanted = json.loads(json.dumps(settings.as_json()))
        with locked(path / "study.lock"):
            if not file.exists():
                if resume:
                    raise TinyRobustError(f"{path} holds no search", "start one, without --resume")
                made = cls(path, settings)
                _ = made.study
                write_json(file, wanted)
                return made
        if not resume:
            raise TinyRobustError(f"{path} holds a search", "add --resume, or choose another --out")
        hint = "choose another --out"
        found = typed(dict[str, Any], document(bounded(file, MAX_JSON_BYTES), file, hint=hint),
                      file, hint=hint)  # fmt: skip
        differing = [key for key in wanted if found.get(key) != wanted[key]]
        if differing:
            raise TinyRobustError(
                f"{path} holds a search with another {' and '.join(differing)}",
                "give the same options, or choose another --out",
            )
        return cls(path, settings)

    @cached_property
    def study(self) -> optuna.Study:
        """Optuna's study, made if it is not there."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / "study.db"
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{file}", engine_kwargs={"creator": lambda: _connect(file)}
        )
        return optuna.create_study(
            storage=storage, study_name="search", direction="maximize", load_if_exists=True,
            sampler=NumberedSampler(self.settings.seed),
            pruner=Halving(self.settings.epochs, self.settings.reduction),
        )  # fmt: skip

    def trial_folder(self, number: int) -> Path:
        """Where a trial's lock and training are."""
        return self.path / "trials" / f"{number:04d}"

    @contextmanager
    def claim(self, wanted: int) -> Iterator[optuna.Trial | None]:
        """A trial for this process alone: one whose worker died, else a new one; None when
        ``wanted`` trials are trained or under way.

        Raises TinyRobustError when the budget refuses one design after another.
        """
        with locked(self.path / "study.lock"):
            trial, lock = self._next(wanted)
        try:
            yield trial
        finally:
            if lock is not None:
                os.close(lock)

    def _next(self, wanted: int) -> tuple[optuna.Trial | None, int | None]:
        trials = self.study.get_trials(deepcopy=False)
        for old in trials:
            if old.state == TrialState.RUNNING:
                lock = try_lock(self.trial_folder(old.number) / "lock")
                if lock is None:
                    continue  # its worker lives
                taken = optuna.Trial(self.study, old._trial_id)
                if self._may_try(old, taken):
                    return taken, lock
                self.study.tell(taken, state=TrialState.FAIL)
                os.close(lock)
        if sum(not is_refused(t) for t in self.study.get_trials(deepcopy=False)) >= wanted:
            return None, None
        self._check_hope(trials)
        trial = self.study.ask()
        return trial, try_lock(self.trial_folder(trial.number) / "lock")

    def _may_try(self, old: FrozenTrial, taken: optuna.Trial) -> bool:
        """Whether a trial whose worker died is tried again: not when it killed ATTEMPTS workers
        without one more epoch."""
        epochs, attempts = len(old.intermediate_values), int(old.user_attrs.get("attempts", 1))
        attempts = attempts + 1 if old.user_attrs.get("attempted_at", 0) == epochs else 2
        taken.set_user_attr("attempted_at", epochs)
        taken.set_user_attr("attempts", attempts)
        if attempts > ATTEMPTS:
            taken.set_user_attr("failed", f"its worker was killed {ATTEMPTS} times")
        return attempts <= ATTEMPTS

    def _check_hope(self, trials: list[FrozenTrial]) -> None:
        last = trials[-MOST_REFUSED:]
        if len(last) == MOST_REFUSED and all(map(is_refused, last)):
            raise TinyRobustError(
                f"the budget refused the last {MOST_REFUSED} designs; the last: "
                f"{last[-1].user_attrs['refused']}",
                "raise --budget, or let the space have smaller networks",
            )


def _connect(file: Path) -> sqlite3.Connection:
    """SQLite with a write-ahead log, which a killed process cannot leave half-written, and which
    waits for the disk now and then only."""
    connection = sqlite3.connect(file, timeout=_BUSY_S, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def is_refused(trial: FrozenTrial) -> bool:
    """Whether the budget refused the design before it was trained."""
    return "refused" in trial.user_attrs


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
