"""Further terms of the loss, a teacher, and recordings changed in training."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyrobust import recipes, tasks
from tinyrobust.errors import RecipeError, TinyRobustError
from tinyrobust.recipes import Recipe

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train import attack, data, terms, train, trained
    from tinyrobust.train import teacher as teachers
    from tinyrobust.train.layers import build_model
    from tinyrobust.train.terms.distillation import distilled
    from tinyrobust.train.trainer import Trainer

pytestmark = pytest.mark.train

TINY = {
    "name": "tiny",
    "task": "shapes",
    "network": {"blocks": [{"kind": "conv", "filters": 4, "stride": 2}]},
    "training": {
        "epochs": 1, "batch_size": 16, "train_images": 32, "validation_images": 16,
        "batch_norm_images": 32,
    },
}  # fmt: skip


class Silent:
    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        pass

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        pass


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.model_validate(TINY)


@pytest.fixture(scope="module")
def teacher(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float network of all 8 input bits; nobody taught it anything."""
    folder = tmp_path_factory.mktemp("teacher")
    tf.keras.utils.set_random_seed(1)
    own = recipes.override(
        recipe, ["network.input_bits=8", "network.weights.quantizer=float",
                 "network.head.normalise=false"],
    )  # fmt: skip
    trained.save(folder, own, trained.frozen(own, build_model(own)), {})
    return folder


def test_a_recipe_without_wishes_has_no_terms(recipe: Recipe) -> None:
    assert terms.build(recipe, build_model(recipe)) == {}


def test_a_term_is_added_to_the_loss_and_told(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A term that is the mean of the logits' squares, ten thousand times: it rules the loss."""
    seen: list[terms.Step] = []

    def term(step: terms.Step) -> Any:
        seen.append(step)
        return 1e4 * tf.reduce_mean(step.logits**2)

    monkeypatch.setattr(terms, "build", lambda recipe, model: {"quiet": term})
    fast = recipes.override(recipe, ["training.optimizer.learning_rate=0.1"])
    trainer = Trainer(fast)
    batch = next(data.load(recipe).batches(0))
    assert trainer.metrics[-1] == "quiet"
    told = [float(trainer.step(*batch, 0.5)[-1]) for _ in range(40)]
    assert told[-1] < 0.2 * told[0]
    assert seen[0].integers.shape == (16, 32, 32, 3) and seen[0].labels.shape == (16,)
    train(recipe, tmp_path / "out", listener=Silent())
    history = json.loads((tmp_path / "out" / "training.json").read_text())["history"]
    assert history[0]["quiet"] > 0


def test_the_student_learns_from_the_teacher(recipe: Recipe, teacher: Path) -> None:
    """With weight 1 the labels do not count, and the loss is the definition's."""
    taught = recipes.override(
        recipe, [f"distillation.teacher={teacher}", "distillation.weight=1",
                 "network.weights.quantizer=ternary", "training.optimizer.warmup_epochs=0",
                 "training.optimizer.learning_rate=0.02"],
    )  # fmt: skip
    trainer = Trainer(taught)
    images, labels = next(data.load(taught).batches(0))
    integers = tf.cast(images, tf.float32)
    logits = trainer.model(attack.network_input(integers), training=True)
    wanted = distilled(
        trained.rebuild(teacher)(attack.network_input(integers, 8), training=False), logits, 4.0
    )
    first = dict(zip(trainer.metrics, trainer.step(images, labels, 0.0).numpy(), strict=True))
    assert first["distillation"] == pytest.approx(float(wanted), rel=1e-3)
    other = Trainer(taught)
    other.step(images, (labels + 1) % 10, 0.0)
    pairs = zip(trainer.model.trainable_variables, other.model.trainable_variables, strict=True)
    for a, b in pairs:
        assert np.allclose(a.numpy(), b.numpy(), atol=1e-6)
    for _ in range(30):
        last = trainer.step(images, labels, 0.1)
    assert float(last[-1]) < 0.5 * first["distillation"]
    assert not any("teacher" in v.name for v in trainer.variables)


def test_a_teacher_may_be_a_model_of_the_zoo(recipe: Recipe) -> None:
    assert (teachers.folder("shapes-small") / "weights.npz").is_file()
    assert teachers.folder("some/folder") == Path("some/folder")


def test_a_teacher_of_another_task_or_none_is_refused(
    recipe: Recipe, teacher: Path, tmp_path: Path
) -> None:
    other = recipes.override(
        recipe, ["task=speech_commands:yes+no", f"distillation.teacher={teacher}"]
    )
    with pytest.raises(RecipeError, match=r"to 10 classes, tiny .* to 2"):
        teachers.load(other, build_model(other))
    missing = recipes.override(recipe, [f"distillation.teacher={tmp_path}"])
    with pytest.raises(TinyRobustError, match=r"recipe.yaml"):
        teachers.load(missing, build_model(missing))


def test_the_attack_follows_the_teacher(recipe: Recipe, teacher: Path) -> None:
    """It raises the divergence from the soft labels more than an attack on the labels does."""
    one_step = [
        f"distillation.teacher={teacher}", "distillation.weight=1", "adversarial.method=pgd",
        "adversarial.steps=4", "network.weights.quantizer=float",
    ]  # fmt: skip
    apart = {}
    for follows in ("labels", "teacher"):
        own = recipes.override(recipe, [*one_step, f"adversarial.follows={follows}"])
        trainer = Trainer(own)
        images, labels = next(data.load(own).batches(0))
        integers = tf.cast(images, tf.float32)
        assert trainer.teacher is not None
        taught = trainer.teacher(integers)
        trainer._eps.assign(8.0)
        trainer._step_size.assign(2.0)
        found = trainer._attacked(integers, labels, taught)
        assert float(tf.reduce_max(tf.abs(found - integers))) == 8.0
        logits = trainer.model(attack.network_input(found), training=True)
        apart[follows] = float(tf.reduce_sum(attack.divergence(taught, logits)))
        assert np.isfinite(trainer.step(images, labels, 0.5).numpy()).all()
    assert apart["teacher"] > apart["labels"]


def test_who_follows_a_teacher_must_have_one(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match=r"distillation.teacher names none"):
        recipes.override(recipe, ["adversarial.method=pgd", "adversarial.follows=teacher"])
    with pytest.raises(RecipeError, match=r"trades cannot follow a teacher"):
        recipes.override(
            recipe, ["distillation.teacher=shapes-small", "adversarial.method=trades",
                     "adversarial.follows=teacher"],
        )  # fmt: skip


def test_a_training_starts_from_another(recipe: Recipe, tmp_path: Path) -> None:
    ternary = recipes.override(recipe, ["network.weights.quantizer=ternary"])
    tf.keras.utils.set_random_seed(2)
    before = trained.frozen(ternary, build_model(ternary))
    trained.save(tmp_path / "first", ternary, before, {})
    again = recipes.override(
        ternary, ["training.optimizer.learning_rate=0", "training.average=0.9",
                  f"training.start={tmp_path / 'first'}"],
    )  # fmt: skip
    trainer = Trainer(again)
    weights = teachers.start(again, trainer.model)
    assert weights is not None
    trainer.start_from(weights)
    for wanted, average, found in zip(
        before.get_weights(), trainer.weights(), trainer.model.get_weights(), strict=True
    ):
        assert np.array_equal(wanted, found) and np.array_equal(wanted, average)
    after = trained.rebuild(train(again, tmp_path / "second", listener=Silent()))
    kernels = [model.get_layer("conv1").get_weights()[0] for model in (before, after)]
    assert np.allclose(*kernels)
    wider = recipes.override(again, ["network.blocks=[{kind: conv, filters: 5, stride: 2}]"])
    with pytest.raises(RecipeError, match="its layers have other shapes"):
        train(wider, tmp_path / "third", listener=Silent())


def test_recordings_are_changed_anew_every_time(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = recipes.override(
        recipe, ["training.augmentation.shift_ms=80", "training.augmentation.noise=0.5"]
    )
    with pytest.raises(RecipeError, match="shapes has no recordings"):
        next(data.load(noisy).batches(0))
    calls: list[tuple[np.ndarray, tasks.Perturbation]] = []

    class Spoken:
        name = "spoken"

        def load(self, split: str, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros((64, 4, 4, 1), np.uint8), np.arange(64)

        def perturbed(
            self, rows: np.ndarray, how: tasks.Perturbation, random: np.random.Generator
        ) -> np.ndarray:
            calls.append((rows, how))
            return random.integers(0, 256, (len(rows), 4, 4, 1), dtype=np.uint8)

    monkeypatch.setattr(tasks, "get", lambda name: Spoken())
    sets = data.load(noisy)
    first, labels = next(sets.batches(0))
    again, _ = next(sets.batches(0))
    later, _ = next(sets.batches(1))
    assert np.array_equal(first, again) and not np.array_equal(first, later)
    assert np.array_equal(calls[0][0], labels) and calls[0][1] == tasks.Perturbation(80, 0.5)
