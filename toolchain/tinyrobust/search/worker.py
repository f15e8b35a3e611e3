"""One worker: takes trials until there are none left, trains, reports, prunes.

In: a Folder and how many trials are wanted. Out: nothing but what the study and the trials' folders
then hold. A trial is maximised by its last epoch's accuracy under PGD, validation images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import optuna
from optuna.trial import TrialState

from tinyrobust import artefact, boards, recipes, train
from tinyrobust.boards import Board
from tinyrobust.errors import RecipeError, TaskError, TinyRobustError
from tinyrobust.recipes import Recipe
from tinyrobust.search import space
from tinyrobust.search.budget import predict
from tinyrobust.search.study import Folder

MODEL = "model"  # the training's folder inside a trial's
RECIPE = "recipe.yaml"


class Watcher(Protocol):
    """Told how the search goes."""

    def begin(self, number: int, recipe: Recipe) -> None:
        """A design is trained from now on."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """``done`` of an epoch's ``steps`` are over."""

    def end(self, number: int, text: str) -> None:
        """A trial is over, and how."""


def work(folder: Folder, wanted: int, watcher: Watcher) -> None:
    """Do trials until ``wanted`` are trained or under way; refused designs do not count.

    Raises what training raises, but for faults of one design, which fail its trial only.
    """
    train.require()
    board = boards.load(folder.settings.board)
    while True:
        with folder.claim(wanted) as trial:
            if trial is None:
                return
            watcher.end(trial.number, _one(folder, trial, board, watcher))


def _one(folder: Folder, trial: optuna.Trial, board: Board, watcher: Watcher) -> str:
    study, settings = folder.study, folder.settings
    values = space.suggest(trial, space.parameters(settings.space, settings.recipe))
    where = folder.trial_folder(trial.number)
    try:
        recipe = space.design(
            settings.recipe, settings.space, values, epochs=settings.epochs,
            name=f"{settings.recipe.name[:55]}-{trial.number:04d}",
        )  # fmt: skip
    except RecipeError as error:
        return _refuse(study, trial, error.message)
    prediction = predict(recipe, board, settings.budget)
    trial.set_user_attr("predicted", prediction.as_json())
    if prediction.problem:
        return _refuse(study, trial, prediction.problem)
    artefact.write_text(where / RECIPE, recipes.dump(recipe))
    watcher.begin(trial.number, recipe)
    try:
        return _train(study, trial, recipe, where / MODEL, watcher)
    except KeyboardInterrupt:
        trial.set_user_attr("attempts", 1)  # the user stopped it, it killed nobody
        raise
    except TaskError:
        raise  # the data is missing: no other design will fare better
    except TinyRobustError as error:
        trial.set_user_attr("failed", error.message)
        study.tell(trial, state=TrialState.FAIL)
        return f"failed: {error.message}"


def _refuse(study: optuna.Study, trial: optuna.Trial, why: str) -> str:
    trial.set_user_attr("refused", why)
    study.tell(trial, state=TrialState.PRUNED)
    return f"refused: {why}"


def _train(
    study: optuna.Study, trial: optuna.Trial, recipe: Recipe, where: Path, watcher: Watcher
) -> str:
    try:
        if not train.is_finished(where):
            train.train(recipe, where, resume=train.is_resumable(where),
                        listener=_Reporter(trial, watcher))  # fmt: skip
    except optuna.TrialPruned:
        (where / "checkpoint.npz").unlink(missing_ok=True)
        epoch = max(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        study.tell(trial, state=TrialState.PRUNED)
        return f"pruned after epoch {epoch}"
    finally:
        _forget()
    last = json.loads((where / "training.json").read_text())["history"][-1]
    trial.set_user_attr("clean", last["validation_accuracy"])
    study.tell(trial, robust(last))
    return f"{robust(last):.1%} under attack, {last['validation_accuracy']:.1%} clean"


def robust(row: Mapping[str, float]) -> float:
    """Accuracy under attack of an epoch's row: of the averaged weights, where there are some."""
    return float(row.get("validation_average_robust", row["validation_robust"]))


def _forget() -> None:
    """What TensorFlow keeps of a model that is no longer needed."""
    import tensorflow as tf

    tf.keras.backend.clear_session()


class _Reporter:
    """The training's Listener that reports every epoch to the study and stops when told to."""

    def __init__(self, trial: optuna.Trial, watcher: Watcher) -> None:
        self._trial = trial
        self._watcher = watcher

    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        """See ``train.loop.Listener``."""
        self._watcher.step(epoch, done, steps)

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """See ``train.loop.Listener``; raises TrialPruned. An epoch that was reported before a kill
        is the same again."""
        step = int(row["epoch"])
        frozen = self._trial.study.get_trials(deepcopy=False)[self._trial.number]
        if step not in frozen.intermediate_values:
            self._trial.report(robust(row), step)
        if self._trial.should_prune():
            raise optuna.TrialPruned
