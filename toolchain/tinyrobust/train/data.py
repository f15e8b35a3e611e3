"""Batches for training.

Comes in: a recipe and its task. Goes out: per epoch, shuffled and augmented batches that depend
on seed and epoch only, so that a resumed run sees what an unbroken one saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyrobust import tasks
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Augmentation, Recipe
from tinyrobust.tasks import Images, Labels


@dataclass(frozen=True)
class Data:
    """Training and validation images; the test split is never seen here."""

    recipe: Recipe
    images: Images
    labels: Labels
    validation_images: Images
    validation_labels: Labels

    @property
    def steps(self) -> int:
        """Batches in an epoch; a last incomplete one is left out."""
        return len(self.images) // self.recipe.training.batch_size

    def batches(self, epoch: int) -> Iterator[tuple[Images, Labels]]:
        """The epoch's batches of uint8 images and labels."""
        training = self.recipe.training
        random = np.random.default_rng([training.seed, epoch])
        order = random.permutation(len(self.images))
        for step in range(self.steps):
            chosen = order[step * training.batch_size : (step + 1) * training.batch_size]
            images = self._perturbed(chosen, random)
            yield augment(images, training.augmentation, random), self.labels[chosen]

    def _perturbed(self, chosen: Labels, random: np.random.Generator) -> Images:
        how = self.recipe.training.augmentation
        if not how.shift_ms and not how.noise:
            return self.images[chosen]
        task = tasks.get(self.recipe.task)
        if not isinstance(task, tasks.Perturbing):
            raise RecipeError(
                f"recipe {self.recipe.name}: task {task.name} has no recordings to shift or to add "
                "noise to",
                "set training.augmentation.shift_ms and noise to 0",
            )
        return task.perturbed(chosen, tasks.Perturbation(how.shift_ms, how.noise), random)


def load(recipe: Recipe) -> Data:
    """The recipe's data: the train split, its end set aside for validation.

    Raises TaskError when data is missing, RecipeError when the recipe wants more than there is.
    """
    training = recipe.training
    images, labels = tasks.get(recipe.task).load("train")
    rest = len(images) - training.validation_images
    count = training.train_images or rest
    if count > rest or count < training.batch_size:
        raise RecipeError(
            f"recipe {recipe.name}: {count:,} training and {training.validation_images:,} "
            f"validation images with batches of {training.batch_size} do not fit the "
            f"{len(images):,} images of task {recipe.task}",
            "lower training.train_images, training.validation_images or training.batch_size",
        )
    return Data(recipe, images[:count], labels[:count], images[rest:], labels[rest:])


def augment(images: Images, how: Augmentation, random: np.random.Generator) -> Images:
    """Mirrored, shifted and cut-out copies of uint8 images [N,H,W,C]; new pixels are zero."""
    count, height, width, _ = images.shape
    if how.flip:
        mirrored = random.integers(0, 2, count).astype(bool)
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    if how.shift:
        s = how.shift
        padded = np.pad(images, ((0, 0), (s, s), (s, s), (0, 0)))
        offsets = random.integers(0, 2 * s + 1, (count, 2))
        images = np.stack(
            [p[y : y + height, x : x + width] for p, (y, x) in zip(padded, offsets, strict=True)]
        )
    if how.cutout:
        images = _cut_out(images, how.cutout, random)
    return images


def _cut_out(images: Images, side: int, random: np.random.Generator) -> Images:
    """Copies with a square of zeros each, its centre anywhere in the image."""
    count, height, width, _ = images.shape
    top = random.integers(0, height, count)[:, None] - side // 2
    left = random.integers(0, width, count)[:, None] - side // 2
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    hidden = in_rows[:, :, None] & in_columns[:, None, :]
    return np.where(hidden[..., None], np.uint8(0), images)
