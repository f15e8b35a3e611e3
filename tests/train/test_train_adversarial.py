"""Adversarial training: attacks in integers, TRADES by definition, the guard, averages."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tinyrobust import recipes
from tinyrobust.errors import RecipeError
from tinyrobust.recipes import Recipe

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train import attack, data, loop, train, trained
    from tinyrobust.train import trainer as trainer_module
    from tinyrobust.train.layers import build_model, input_values
    from tinyrobust.train.quantizers import Draw
    from tinyrobust.train.robustness import PgdCheck, guard_trips
    from tinyrobust.train.trainer import Trainer, learning_rate

pytestmark = pytest.mark.train

TINY = {
    "name": "tiny",
    "task": "shapes",
    "network": {
        "weights": {"quantizer": "ternary"},
        "blocks": [{"kind": "conv", "filters": 4, "stride": 2}],
    },
    "training": {
        "epochs": 3,
        "batch_size": 16,
        "train_images": 64,
        "validation_images": 32,
        "batch_norm_images": 64,
        "average": 0.9,
        "optimizer": {"warmup_epochs": 0, "schedule": "one_cycle"},
    },
    "adversarial": {"method": "single_step", "eps_255": 8, "guard": {"images": 32}},
}


class Silent:
    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        pass

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        pass


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.model_validate(TINY)


@pytest.fixture(scope="module")
def trainer(recipe: Recipe) -> Trainer:
    return Trainer(recipe)


@pytest.fixture(scope="module")
def batch(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    return next(data.load(recipe).batches(0))


def integers(seed: int = 0) -> tf.Tensor:
    values = np.random.default_rng(seed).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)
    values[0, 0, 0] = [0, 1, 255]
    return tf.constant(values)


def test_the_networks_input_is_that_of_the_device() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    got = attack.network_input(tf.cast(every, tf.float32)).numpy()
    assert np.array_equal(got, input_values(every))


@pytest.mark.parametrize("eps", [1.0, 8.0, 255.0])
def test_the_random_start_is_uniform_integers_within_the_ball(eps: float) -> None:
    x = tf.fill((1, 100, 100, 3), 100.0)
    start = attack.random_start(x, tf.constant(eps), tf.constant([1, 2])).numpy()
    change = start - x.numpy()
    assert np.array_equal(change, np.rint(change)) and np.abs(change).max() <= eps
    assert start.min() >= 0 and start.max() <= 255
    if eps == 8:
        assert np.bincount((change + 8).astype(int).ravel()).std() < 60  # 1765 each, sd 42
    again = attack.random_start(x, tf.constant(eps), tf.constant([1, 2])).numpy()
    assert np.array_equal(again, start)


@pytest.mark.parametrize("steps", [1, 5])
def test_ascent_stays_in_ball_and_range_and_on_integers(steps: int) -> None:
    x = integers()
    weights = tf.random.stateless_normal((8, 8, 3), [3, 4])
    eps = tf.constant(6.0)
    start = attack.random_start(x, eps, tf.constant([0, 0]))
    found = attack.ascend(
        lambda v: tf.reduce_sum(v * weights), x, start, eps, tf.constant(2.5), steps
    ).numpy()
    change = found - x.numpy()
    assert np.array_equal(found, np.rint(found)) and np.abs(change).max() <= 6
    assert found.min() >= 0 and found.max() <= 255
    wanted = start.numpy()
    for _ in range(steps):  # the loss is linear, so its gradient's sign is that of the weights
        wanted = wanted + 2 * np.sign(weights.numpy())
        wanted = np.clip(wanted, x.numpy() - 6, x.numpy() + 6).clip(0, 255)
    assert np.array_equal(found, wanted)


def test_enough_steps_reach_the_corner_of_the_ball() -> None:
    x = tf.fill((1, 4, 4, 3), 128.0)
    sign = tf.sign(tf.random.stateless_normal((4, 4, 3), [5, 6]))
    found = attack.ascend(
        lambda v: tf.reduce_sum(v * sign), x, x, tf.constant(8.0), tf.constant(2.0), 7
    )
    assert np.array_equal(found.numpy()[0], 128 + 8 * sign.numpy())


def test_divergence_and_trades_loss_are_their_definitions() -> None:
    """KL(p || q) = sum p log(p / q); TRADES = mean cross-entropy + beta mean KL."""
    random = np.random.default_rng(0)
    clean, other = random.normal(0, 3, (2, 5, 10))
    labels = np.arange(5)
    p, q = (np.exp(v) / np.exp(v).sum(axis=1, keepdims=True) for v in (clean, other))
    kl = (p * np.log(p / q)).sum(axis=1)
    assert np.allclose(attack.divergence(clean, other).numpy(), kl)
    assert np.allclose(attack.divergence(clean, clean).numpy(), 0)
    wanted = -np.log(p[np.arange(5), labels]).mean() + 6 * kl.mean()
    got = attack.trades(attack.mean_cross_entropy(clean, labels, 0.0), 6.0, clean, other)[0]
    assert np.allclose(got.numpy(), wanted)


def test_label_smoothing_is_its_definition() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (4, 10))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full((4, 10), 0.01) + 0.9 * np.eye(10)[:4]
    got = attack.mean_cross_entropy(logits, np.arange(4), 0.1).numpy()
    assert np.allclose(got, -(target * log_p).sum(axis=1).mean())


@pytest.mark.parametrize(("method", "steps"), [("pgd", 2), ("trades", 2)])
def test_methods_train_and_attack(
    recipe: Recipe, batch: tuple[np.ndarray, np.ndarray], method: str, steps: int
) -> None:
    """The attack raises the loss (TRADES: the divergence) beyond that of its random start."""
    other = recipes.override(
        recipe, [f"adversarial.method={method}", f"adversarial.steps={steps}",
                 "training.optimizer.learning_rate=0"],
    )  # fmt: skip
    trainer = Trainer(other)
    trainer.step(*batch, 1.0)  # QKeras clips the initial kernels here
    found = dict(zip(trainer.metrics, trainer.step(*batch, 1.0).numpy(), strict=True))
    x = tf.cast(batch[0], tf.float32)
    logits = trainer.model(attack.network_input(x), training=True)
    clean = float(attack.mean_cross_entropy(logits, batch[1], 0.0))
    if method == "trades":
        assert found["cross_entropy"] == pytest.approx(clean, rel=1e-4)
        assert found["divergence"] > 0
    else:
        assert found["cross_entropy"] > clean + 0.01 and found["divergence"] == 0


def test_a_noisy_step_is_noise_of_twice_eps_and_a_step_of_eps_unprojected(
    recipe: Recipe, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    """N-FGSM: x + u + eps sign(g), u uniform in -2 eps..2 eps, within 0..255 only."""
    trainer = Trainer(recipes.override(recipe, ["adversarial.method=noisy_step"]))
    trainer.step(*batch, 1.0)
    x, labels = tf.cast(batch[0], tf.float32), tf.constant(batch[1])
    noisy = attack.random_start(x, tf.constant(16.0), trainer._seed(trainer_module._START_STREAM))
    seen = attack.network_input(noisy)
    with tf.GradientTape() as tape:
        tape.watch(seen)
        loss = attack.cross_entropy(trainer.model(seen, training=True), labels)
    step = 8.0 * np.sign(tape.gradient(loss, seen).numpy())
    wanted = np.clip(noisy.numpy() + step, 0, 255)
    found = trainer._attacked(x, labels, None).numpy()
    assert np.array_equal(found, wanted)
    assert 16 < np.abs(found - x.numpy()).max() <= 24


def test_the_attack_leaves_no_gradient_of_its_own(
    trainer: Trainer, recipe: Recipe, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    """An update equals plain cross-entropy's on the attacked images."""
    x, labels = tf.cast(batch[0], tf.float32), tf.constant(batch[1])
    trainer._eps.assign(8.0)
    trainer._step_size.assign(10.0)
    variables = trainer.model.trainable_variables
    with tf.GradientTape() as tape:
        loss, _ = trainer._loss(x, labels, tape)
    found = tape.gradient(loss, variables)
    attacked = trainer._attacked(x, labels, None)
    with tf.GradientTape() as tape:
        logits = trainer.model(attack.network_input(attacked), training=True)
        plain = attack.mean_cross_entropy(logits, labels, 0.0)
    for got, want in zip(found, tape.gradient(plain, variables), strict=True):
        assert np.allclose(got.numpy(), want.numpy(), atol=1e-6)


def test_averages_follow_their_formula(
    recipe: Recipe, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    trainer = Trainer(recipe)
    wanted = [v.numpy() for v in trainer.model.trainable_variables]
    for step in range(1, 4):
        trainer.step(*batch, 0.5)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = [
            decay * old + (1 - decay) * v.numpy()
            for old, v in zip(wanted, trainer.model.trainable_variables, strict=True)
        ]
    for got, want in zip(trainer.averages, wanted, strict=True):
        assert np.allclose(got.numpy(), want, atol=1e-6)
    model = build_model(recipe)
    model.set_weights(trainer.weights())
    assert np.allclose(model.get_layer("conv1").kernel.numpy(), wanted[0], atol=1e-6)
    moving = trainer.model.get_layer("conv1_bn").moving_mean.numpy()
    assert np.array_equal(model.get_layer("conv1_bn").moving_mean.numpy(), moving)


def test_pgd_check_is_at_most_clean_accuracy_and_repeats(recipe: Recipe) -> None:
    draw = Draw(0)
    model = build_model(recipe, draw, sample=False)
    sets = data.load(recipe)
    images, labels = sets.validation_images, model(
        input_values(sets.validation_images), training=False
    ).numpy().argmax(axis=1)  # fmt: skip
    check = PgdCheck(model, draw, 16.0)
    found = check.accuracy(images, labels)
    assert found < 1.0 and check.accuracy(images, labels) == found
    assert PgdCheck(model, draw, 0.4).accuracy(images, labels) == 1.0  # no integer is that near


def test_guard_trips_on_a_loss_of_its_fraction() -> None:
    assert guard_trips(0.4, 0.19, 0.5)
    assert not guard_trips(0.4, 0.21, 0.5)
    assert not guard_trips(0.0, 0.0, 0.5)


def test_the_guard_throws_an_epoch_away_and_adds_a_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Robust accuracy 40 %, then 5 %: the second epoch is done again with two attack steps."""
    figures = iter([0.4, 0.4, 0.9, 0.05, 0.41, 0.41, 0.42, 0.42])  # averaged, then as they are
    steps: list[int] = []

    def accuracy(self: PgdCheck, images: object, labels: object) -> float:
        return next(figures)

    class Watch(Silent):
        def step(self, epoch: int, done: int, of: int, loss: float) -> None:
            steps.append(epoch)

    monkeypatch.setattr(PgdCheck, "accuracy", accuracy)
    train(recipe, tmp_path / "out", listener=Watch())
    assert steps == [1] * 4 + [2] * 8 + [3] * 4
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert told["attack_steps"] == 2
    assert [row["validation_robust"] for row in told["history"]] == [0.4, 0.41, 0.42]
    assert [row["validation_average_robust"] for row in told["history"]] == [0.4, 0.41, 0.42]


def test_a_recipe_without_an_attack_may_be_checked_under_one(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the size that it says; no fall of that figure throws an epoch away."""
    plain = recipes.override(recipe, ["adversarial.method=none", "training.average=0"])
    assert loop._Checker(plain, data.load(plain)).pgd is None
    checked = recipes.override(plain, ["training.check_eps_255=3"])
    checker = loop._Checker(checked, data.load(checked))
    assert checker.pgd is not None and checker.pgd.eps_255 == 3
    both = recipes.override(recipe, ["training.check_eps_255=3"])
    found = loop._Checker(both, data.load(both)).pgd
    assert found is not None and found.eps_255 == 3
    figures = iter([0.4, 0.05, 0.3])
    monkeypatch.setattr(PgdCheck, "accuracy", lambda *args: next(figures))
    train(checked, tmp_path / "out", listener=Silent())
    told = json.loads((tmp_path / "out" / "training.json").read_text())
    assert [row["validation_robust"] for row in told["history"]] == [0.4, 0.05, 0.3]


def test_resume_of_a_finished_folder_compares_recipes(recipe: Recipe, tmp_path: Path) -> None:
    model = trained.frozen(recipe, build_model(recipe))
    trained.save(tmp_path, recipe, model, {})
    assert train(recipe, tmp_path, resume=True, listener=Silent()) == tmp_path
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipes.override(recipe, ["training.seed=5"]), tmp_path, resume=True,
              listener=Silent())  # fmt: skip


def test_a_checkpoint_that_knows_fewer_keys_still_fits(recipe: Recipe) -> None:
    """A key that came later has its default in an older checkpoint."""
    from tinyrobust.train import checkpoint

    older = recipe.model_dump(mode="json", by_alias=True)
    del older["training"]["augmentation"]
    assert checkpoint._same(older, recipe)
    older["training"]["seed"] = 9
    assert not checkpoint._same(older, recipe)


def test_one_cycle_rises_and_falls_along_lines(recipe: Recipe) -> None:
    long = recipes.override(
        recipe, ["training.epochs=10", "training.optimizer.warmup_epochs=4",
                 "training.optimizer.learning_rate=1"],
    )  # fmt: skip
    at = {0.0: 0.0, 2.0: 0.5, 4.0: 1.0, 7.0: 0.5, 10.0: 0.0}
    assert {p: pytest.approx(learning_rate(long, p)) for p in at} == at
    constant = recipes.override(long, ["training.optimizer.schedule=constant"])
    assert learning_rate(constant, 9.9) == 1.0


def test_cutout_hides_one_square_per_image() -> None:
    images = np.full((200, 12, 12, 3), 7, np.uint8)
    how = recipes.Augmentation(cutout=4)
    cut = data.augment(images, how, np.random.default_rng(0))
    hidden = (cut == 0).all(axis=3)
    assert ((cut == 0).any(axis=3) == hidden).all()
    assert hidden.sum(axis=(1, 2)).max() == 16 and hidden.sum(axis=(1, 2)).min() >= 4
    for image in hidden:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert image.sum() == len(rows) * len(columns)
        assert rows[-1] - rows[0] < 4 and columns[-1] - columns[0] < 4
    assert hidden.any(axis=0).all()  # every place is hidden sometimes


def test_the_loop_validates_under_attack(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "out", listener=Silent())
    rows = json.loads((tmp_path / "out" / "training.json").read_text())["history"]
    for row in rows:
        assert 0 <= row["validation_robust"] <= 1
        assert row["validation_average_robust"] <= row["validation_accuracy"] + 0.2
    assert loop.is_finished(tmp_path / "out")
