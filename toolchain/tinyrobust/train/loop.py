"""The training loop.

Comes in: a recipe and a folder. Goes out: the folder as ``train/trained.py`` describes it; while
training runs, also ``checkpoint.npz``, from which it can be resumed after any interruption.
"""

from __future__ import annotations

import math
import platform
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

import tinyrobust
from tinyrobust import artefact, tasks
from tinyrobust.errors import TinyRobustError
from tinyrobust.recipes import Recipe
from tinyrobust.tasks import Images, Labels
from tinyrobust.train import checkpoint, curve, data, is_finished, is_resumable, trained
from tinyrobust.train.checkpoint import Checkpoint
from tinyrobust.train.inference import Predictor, estimate_batch_norm
from tinyrobust.train.jacobian import directions, projected_norm
from tinyrobust.train.layers import build_model, input_values, keras
from tinyrobust.train.quantizers import Draw

_VALIDATION_NORM_IMAGES = 2048


class Listener(Protocol):
    """Told how the training goes."""

    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        """``done`` of the epoch's ``steps`` are over; the epoch's mean loss so far."""

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """An epoch is over, its checkpoint written."""


class Trainer:
    """A model in training: variables, optimiser, and the compiled step."""

    def __init__(self, recipe: Recipe) -> None:
        training = recipe.training
        keras.utils.set_random_seed(training.seed)
        self.recipe = recipe
        self.draw = Draw(training.seed)
        self.model = build_model(recipe, self.draw)
        self.optimizer = _optimizer(recipe)
        self.optimizer.build(self.model.trainable_variables)
        self.classes = int(self.model.output_shape[-1])
        self.part = 0
        if recipe.jacobian.strength > 0:
            self.part = round(training.batch_size * recipe.jacobian.batch_fraction)
        self._strength = tf.Variable(0.0, trainable=False, name="jacobian_strength")
        self._step = tf.function(self._loss_and_update)

    @property
    def variables(self) -> list[Any]:
        """All that the next step depends on."""
        return [*self.model.variables, *self.optimizer.variables, self.draw.counter]

    def step(self, images: Images, labels: Labels, progress: float) -> Any:
        """One update, ``progress`` epochs into the training, from uint8 images and labels.

        Returns cross-entropy, squared Jacobian norm and accuracy as a tensor [3].
        """
        jacobian = self.recipe.jacobian
        warmth = min(1.0, progress / jacobian.warmup_epochs) if jacobian.warmup_epochs else 1.0
        self.optimizer.learning_rate.assign(learning_rate(self.recipe, progress))
        self.draw.progress.assign(progress / self.recipe.training.epochs)
        self._strength.assign(jacobian.strength * warmth)
        return self._step(input_values(images), labels)

    def _forward(self, x: Any) -> Any:
        self.draw.advance()
        return self.model(x, training=True)

    def _logits(self, x: Any) -> tuple[Any, Any]:
        if not self.part:
            return self._forward(x), tf.constant(0.0)
        shape = (self.recipe.jacobian.projections, self.part, self.classes)
        seed = tf.stack([tf.constant(-1 - self.recipe.training.seed, tf.int32), self.draw.counter])
        unit = directions(tf.random.stateless_normal(shape, seed))
        logits, norms = projected_norm(self._forward, x[: self.part], unit)
        if self.part < x.shape[0]:
            logits = tf.concat([logits, self._forward(x[self.part :])], axis=0)
        return logits, tf.reduce_mean(norms)

    def _loss_and_update(self, x: Any, labels: Any) -> Any:
        smoothing = self.recipe.training.label_smoothing
        with tf.GradientTape() as tape:
            logits, norm = self._logits(x)
            target = tf.one_hot(labels, self.classes) * (1 - smoothing) + smoothing / self.classes
            entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
            loss = entropy + self._strength / 2 * norm
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        right = tf.argmax(logits, axis=1) == labels
        return tf.stack([entropy, norm, tf.reduce_mean(tf.cast(right, tf.float32))])


def train(recipe: Recipe, folder: Path, *, resume: bool = False, listener: Listener) -> Path:
    """Train ``recipe`` into ``folder``; with ``resume`` go on from the folder's checkpoint.

    A resumed run gives the history that an unbroken one gives. Raises TaskError, RecipeError,
    and TinyRobustError when the folder is in use or the disk is full; the last checkpoint stays.
    """
    if is_finished(folder):
        if resume:
            return folder
        raise TinyRobustError(f"{folder} holds a finished training", "choose another --out")
    if not resume and is_resumable(folder):
        raise TinyRobustError(
            f"{folder} holds an unfinished training", "add --resume, or choose another --out"
        )
    tf.config.experimental.enable_op_determinism()
    sets = data.load(recipe)
    trainer = Trainer(recipe)
    history: list[dict[str, float]] = []
    seconds: list[float] = []
    if resume:
        state = checkpoint.load(folder, recipe)
        checkpoint.restore(trainer.variables, state)
        history, seconds = state.history, state.seconds
    checker = _Checker(recipe, sets)
    for epoch in range(len(history), recipe.training.epochs):
        started = time.monotonic()
        row = _epoch(trainer, sets, epoch, listener)
        row["validation_accuracy"] = checker.accuracy(trainer.model)
        history.append(row)
        seconds.append(round(time.monotonic() - started, 3))
        values = [variable.numpy() for variable in trainer.variables]
        checkpoint.save(folder, recipe, Checkpoint(values, history, seconds))
        listener.epoch(row, seconds[-1])
    _finish(recipe, folder, trainer, sets, history, seconds)
    return folder


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Learning rate at ``progress`` epochs: linear warm-up, then a cosine to zero."""
    optimizer, epochs = recipe.training.optimizer, recipe.training.epochs
    warmup = min(optimizer.warmup_epochs, epochs / 2)
    if progress < warmup:
        return optimizer.learning_rate * progress / warmup
    done = (progress - warmup) / (epochs - warmup)
    return optimizer.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _epoch(trainer: Trainer, sets: data.Data, epoch: int, listener: Listener) -> dict[str, float]:
    recipe, steps = trainer.recipe, sets.steps
    total = np.zeros(3)
    for done, (images, labels) in enumerate(sets.batches(epoch), start=1):
        total += trainer.step(images, labels, epoch + (done - 0.5) / steps).numpy()
        if not np.isfinite(total).all():
            raise TinyRobustError(
                f"recipe {recipe.name}: the loss is no longer finite in epoch {epoch + 1}",
                "lower training.optimizer.learning_rate or jacobian.strength",
            )
        listener.step(epoch + 1, done, steps, total[0] / done)
    entropy, norm, accuracy = (total / steps).tolist()
    return {
        "epoch": epoch + 1,
        "learning_rate": learning_rate(recipe, epoch + 0.5),
        "cross_entropy": entropy,
        "jacobian": norm,
        "accuracy": accuracy,
    }


class _Checker:
    """Validation accuracy with deterministic weights and batch norms that fit them."""

    def __init__(self, recipe: Recipe, sets: data.Data) -> None:
        self.model = build_model(recipe)
        self.predictor = Predictor(self.model)
        self.sets = sets

    def accuracy(self, latent: Any) -> float:
        self.model.set_weights(latent.get_weights())
        estimate_batch_norm(self.model, self.sets.images[:_VALIDATION_NORM_IMAGES])
        return self.predictor.accuracy(self.sets.validation_images, self.sets.validation_labels)


def _finish(
    recipe: Recipe,
    folder: Path,
    trainer: Trainer,
    sets: data.Data,
    history: list[dict[str, float]],
    seconds: list[float],
) -> None:
    """Freeze, re-estimate batch norms, test, and write the folder."""
    images, labels = tasks.get(recipe.task).load("test")
    model = trained.frozen(recipe, trainer.model)
    predictor = Predictor(model)
    before = predictor.accuracy(images, labels)
    estimate_batch_norm(model, sets.images[: recipe.training.batch_norm_images])
    after = predictor.accuracy(images, labels)
    artefact.write_bytes(folder / "curve.png", curve.draw(recipe.name, history))
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
            "seconds": round(sum(seconds), 1),
            "epoch_seconds": seconds,
            "history": history,
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


def _optimizer(recipe: Recipe) -> Any:
    training = recipe.training
    common: dict[str, Any] = {
        "learning_rate": training.optimizer.learning_rate,
        "weight_decay": training.weight_decay or None,
        "jit_compile": False,
    }
    if training.optimizer.kind == "sgd":
        optimizer = keras.optimizers.SGD(
            momentum=training.optimizer.momentum, nesterov=True, **common
        )
    else:
        optimizer = keras.optimizers.Adam(**common)
    if training.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])
    return optimizer
