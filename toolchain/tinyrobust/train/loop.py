"""The training loop.

Comes in: a recipe and a folder. Goes out: the folder as ``train/trained.py`` describes it; while
training runs, also ``checkpoint.npz``, from which it can be resumed after any interruption.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

import tinyrobust
from tinyrobust import artefact, recipes, tasks
from tinyrobust.errors import RecipeError, TinyRobustError
from tinyrobust.recipes import Guard, Recipe
from tinyrobust.train import (
    checkpoint,
    curve,
    data,
    quanos,
    teacher,
    trained,
)
from tinyrobust.train.checkpoint import Checkpoint
from tinyrobust.train.folder import is_finished, is_resumable
from tinyrobust.train.inference import Predictor, estimate_batch_norm
from tinyrobust.train.layers import build_model
from tinyrobust.train.quantizers import Draw
from tinyrobust.train.robustness import PgdCheck, guard_trips
from tinyrobust.train.trainer import Trainer, learning_rate

_VALIDATION_NORM_IMAGES = 2048


class Listener(Protocol):
    """Told how the training goes."""

    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        """``done`` of the epoch's ``steps`` are over; the epoch's mean loss so far."""

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """An epoch is over, its checkpoint written."""


def train(recipe: Recipe, folder: Path, *, resume: bool = False, listener: Listener) -> Path:
    """Train ``recipe`` into ``folder``; with ``resume`` go on from the folder's checkpoint.

    A resumed run gives the history that an unbroken one gives. Raises TaskError, RecipeError,
    and TinyRobustError when the folder is in use or the disk is full; the last checkpoint stays.
    """
    if is_finished(folder):
        if resume:
            _check_same_recipe(folder, recipe)
            return folder
        raise TinyRobustError(f"{folder} holds a finished training", "choose another --out")
    if not resume and is_resumable(folder):
        raise TinyRobustError(
            f"{folder} holds an unfinished training", "add --resume, or choose another --out"
        )
    tf.config.experimental.enable_op_determinism()
    sets, start = data.load(recipe), None
    if recipe.quanos is not None and not recipe.quanos.bits:
        recipe, start = quanos.prepare(recipe, recipe.quanos, folder, train, sets, listener)
    trainer = Trainer(recipe)
    if start is None:
        start = teacher.start(recipe, trainer.model)
    if start is not None:
        trainer.start_from(start)
    state = checkpoint.load(folder, recipe) if resume else _state(trainer, [], [])
    if resume:
        checkpoint.restore(trainer.variables, state)
        trainer.attack_steps = max(trainer.attack_steps, state.attack_steps)
    checker = _Checker(recipe, sets)
    while len(state.history) < recipe.training.epochs:
        started = time.monotonic()
        row = _epoch(trainer, sets, len(state.history), listener)
        row |= checker.check(trainer)
        seconds = [*state.seconds, round(time.monotonic() - started, 3)]
        if _overfits(recipe, state.history, row):
            checkpoint.restore(trainer.variables, state)
            trainer.attack_steps += 1
            state = _state(trainer, state.history, _longer(state.seconds, seconds[-1]))
        else:
            state = _state(trainer, [*state.history, row], seconds)
            listener.epoch(row, seconds[-1])
        checkpoint.save(folder, recipe, state)
    _finish(recipe, folder, trainer, sets, state)
    return folder


def _check_same_recipe(folder: Path, recipe: Recipe) -> None:
    finished = recipes.load(folder / "recipe.yaml")
    if recipe.quanos is not None and finished.quanos is not None:
        recipe = quanos.assign(recipe, finished.quanos.bits, finished.quanos.sensitivity)
    if finished != recipe:
        raise RecipeError(
            f"{folder} holds a finished training of another recipe than this one",
            "choose another --out, or give the same recipe and --set",
        )


def _state(trainer: Trainer, history: list[dict[str, float]], seconds: list[float]) -> Checkpoint:
    values = [variable.numpy() for variable in trainer.variables]
    return Checkpoint(values, history, seconds, trainer.attack_steps)


def _longer(seconds: list[float], lost: float) -> list[float]:
    """The seconds per epoch with those of a discarded epoch added to the last one."""
    return [*seconds[:-1], round(seconds[-1] + lost, 3)] if seconds else []


def _overfits(recipe: Recipe, history: list[dict[str, float]], row: dict[str, float]) -> bool:
    """Whether the epoch of ``row`` overfitted catastrophically."""
    guard = recipe.adversarial.guard
    if guard is None or recipe.adversarial.method == "none" or "validation_robust" not in row:
        return False
    best = max((old["validation_robust"] for old in history), default=0.0)
    return guard_trips(best, row["validation_robust"], guard.drop)


def _epoch(trainer: Trainer, sets: data.Data, epoch: int, listener: Listener) -> dict[str, float]:
    recipe, steps = trainer.recipe, sets.steps
    total = np.zeros(len(trainer.metrics))
    for done, (images, labels) in enumerate(sets.batches(epoch), start=1):
        total += trainer.step(images, labels, epoch + (done - 0.5) / steps).numpy()
        if not np.isfinite(total).all():
            raise TinyRobustError(
                f"recipe {recipe.name}: the loss is no longer finite in epoch {epoch + 1}",
                "lower training.optimizer.learning_rate or jacobian.strength",
            )
        listener.step(epoch + 1, done, steps, total[0] / done)
    row = dict(zip(trainer.metrics, (total / steps).tolist(), strict=True))
    return {"epoch": epoch + 1, "learning_rate": learning_rate(recipe, epoch + 0.5), **row}


class _Checker:
    """Validation with deterministic weights and batch norms that fit them."""

    def __init__(self, recipe: Recipe, sets: data.Data) -> None:
        draw = Draw(recipe.training.seed)
        self.model = build_model(recipe, draw, sample=False)
        self.predictor = Predictor(self.model)
        self.sets = sets
        self.pgd: PgdCheck | None = None
        trained = recipe.adversarial.eps_255 if recipe.adversarial.method != "none" else None
        if (eps := recipe.training.check_eps_255 or trained) is not None:
            self.pgd = PgdCheck(self.model, draw, eps)

    def check(self, trainer: Trainer) -> dict[str, float]:
        """Accuracy of the averaged weights, and under PGD that of the weights themselves.

        The guard looks at the weights as they are, since an average of many steps would show
        catastrophic overfitting too late; validation_average_robust is beside it.
        """
        sets, row = self.sets, {}
        self._take(trainer.weights())
        row["validation_accuracy"] = self.predictor.accuracy(
            sets.validation_images, sets.validation_labels
        )
        if self.pgd is None:
            return row
        row["validation_robust"] = self._robust(trainer.recipe, self.pgd)
        if trainer.averages:
            row["validation_average_robust"] = row["validation_robust"]
            self._take(trainer.model.get_weights())
            row["validation_robust"] = self._robust(trainer.recipe, self.pgd)
        return row

    def _take(self, weights: list[Any]) -> None:
        self.model.set_weights(weights)
        estimate_batch_norm(self.model, self.sets.images[:_VALIDATION_NORM_IMAGES])

    def _robust(self, recipe: Recipe, pgd: PgdCheck) -> float:
        guard = recipe.adversarial.guard or Guard()
        images = self.sets.validation_images[: guard.images]
        return pgd.accuracy(images, self.sets.validation_labels[: guard.images])


def _finish(
    recipe: Recipe,
    folder: Path,
    trainer: Trainer,
    sets: data.Data,
    state: Checkpoint,
) -> None:
    """Freeze, re-estimate batch norms, test, and write the folder."""
    images, labels = tasks.get(recipe.task).load("test")
    latent = build_model(recipe)
    latent.set_weights(trainer.weights())
    model = trained.frozen(recipe, latent)
    predictor = Predictor(model)
    before = predictor.accuracy(images, labels)
    estimate_batch_norm(model, sets.images[: recipe.training.batch_norm_images])
    after = predictor.accuracy(images, labels)
    artefact.write_bytes(folder / "curve.png", curve.draw(recipe.name, state.history))
    trained.save(
        folder,
        recipe,
        model,
        {
            "schema": 1,
            "recipe": recipe.name,
            "task": recipe.task,
            "seed": recipe.training.seed,
            "test_images": len(images),
            "test_accuracy_before_batch_norm": before,
            "test_accuracy": after,
            "seconds": round(sum(state.seconds), 1),
            "epoch_seconds": state.seconds,
            "history": state.history,
            "attack_steps": state.attack_steps,
            "versions": _versions(),
        },
    )
    (folder / checkpoint.NAME).unlink(missing_ok=True)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("keras", "qkeras", "numpy")
    return {
        "tinyrobust": tinyrobust.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        **{name: version(name) for name in names},
    }
