"""The training loop: truly stochastic, deterministic after, exact to resume and to rebuild."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tinyrobust import recipes, tasks
from tinyrobust.errors import RecipeError, TinyRobustError
from tinyrobust.recipes import Recipe

if find_spec("tensorflow") is not None:  # without it, conftest.py skips these tests
    import tensorflow as tf

    from tinyrobust.train import checkpoint, data, loop, rebuild, train, trained
    from tinyrobust.train.inference import Predictor, estimate_batch_norm
    from tinyrobust.train.layers import build_model, input_values, kernel_layers
    from tinyrobust.train.loop import Trainer, learning_rate

pytestmark = pytest.mark.train

TINY = """\
name: tiny
task: shapes
network:
  blocks:
    - {kind: conv, filters: 4, stride: 2}
    - {kind: residual, filters: 6, stride: 2, activation: {bits: 4, integer: 2}}
training:
  epochs: 6
  batch_size: 32
  train_images: 512
  validation_images: 100
  batch_norm_images: 512
  augmentation: {flip: true, shift: 1}
jacobian: {strength: 0.001, batch_fraction: 0.25, warmup_epochs: 1}
"""


class Silent:
    def step(self, epoch: int, done: int, steps: int, loss: float) -> None:
        pass

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        pass


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def recipe(recipe_file: Path) -> Recipe:
    return recipes.load(recipe_file)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted."""
    return train(recipe, tmp_path_factory.mktemp("whole") / "out", listener=Silent())


def batch(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    return next(data.load(recipe).batches(0))


def history(folder: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = json.loads((folder / "training.json").read_text())["history"]
    return rows


@pytest.fixture(scope="module")
def traced(recipe: Recipe) -> Trainer:
    return Trainer(recipe)


@pytest.fixture
def trainer(traced: Trainer) -> Iterator[Trainer]:
    """A Trainer as it was when it was made: making one anew takes seconds."""
    fresh = [variable.numpy() for variable in traced.variables]
    yield traced
    for variable, value in zip(traced.variables, fresh, strict=True):
        variable.assign(value)


def losses_without_learning(trainer: Trainer, recipe: Recipe) -> list[float]:
    """Cross-entropy of three steps on one batch at learning rate 0 (the warm-up's start)."""
    images, labels = batch(recipe)
    trainer.step(images, labels, 0.0)  # QKeras clips the initial kernels to -1..1 here
    before = [variable.numpy() for variable in trainer.model.trainable_variables]
    losses = [float(trainer.step(images, labels, 0.0)[0]) for _ in range(3)]
    for old, new in zip(before, trainer.model.trainable_variables, strict=True):
        assert np.array_equal(old, new.numpy())
    return losses


def test_two_steps_that_change_nothing_still_differ(trainer: Trainer, recipe: Recipe) -> None:
    """Only newly sampled trits can make the loss differ."""
    assert tf.keras.backend.learning_phase() == 0
    assert len(set(losses_without_learning(trainer, recipe))) == 3


def test_two_steps_with_plain_ternary_do_not_differ(recipe: Recipe) -> None:
    """The control of the test above: without sampling the same step gives the same loss."""
    still = recipes.override(recipe, ["network.weights.quantizer=ternary", "jacobian.strength=0"])
    assert len(set(losses_without_learning(Trainer(still), still))) == 1


def test_the_jacobian_term_lowers_the_norm_and_warms_up(recipe: Recipe) -> None:
    strong = recipes.override(
        recipe, ["jacobian.strength=10", "jacobian.warmup_epochs=2", "jacobian.batch_fraction=1",
                 "training.optimizer.learning_rate=0.01"],
    )  # fmt: skip
    images, labels = batch(strong)
    trainer = Trainer(strong)
    fresh = [variable.numpy() for variable in trainer.variables]

    def norm_after_steps(warmth: float) -> float:
        for variable, value in zip(trainer.variables, fresh, strict=True):
            variable.assign(value)
        for _ in range(15):
            trainer.step(images, labels, 1.0 + warmth)
        return float(np.mean([trainer.step(images, labels, 1.0)[1] for _ in range(5)]))

    weak = recipes.override(strong, ["jacobian.strength=0.00001"])
    with_term = norm_after_steps(1.0)
    trainer.recipe = weak
    assert with_term < 0.5 * norm_after_steps(1.0)


def test_inference_is_deterministic(whole: Path) -> None:
    images, _ = tasks.get("shapes").load("test", 50)
    predictor = Predictor(rebuild(whole))
    assert np.array_equal(predictor.logits(images), predictor.logits(images))


def test_the_deterministic_model_sees_none_of_the_sampling(
    trainer: Trainer, recipe: Recipe
) -> None:
    images, labels = batch(recipe)
    trainer.step(images, labels, 0.0)
    model = trained.frozen(recipe, trainer.model)
    first = Predictor(model).logits(images)
    trainer.draw.advance()
    assert np.array_equal(Predictor(model).logits(images), first)
    latent = build_model(recipe)
    latent.set_weights(trainer.model.get_weights())
    assert np.allclose(Predictor(latent).logits(images), first, atol=1e-2)


def test_rebuilding_gives_the_same_logits_bit_for_bit(
    trainer: Trainer, recipe: Recipe, tmp_path: Path
) -> None:
    images, labels = batch(recipe)
    for _ in range(3):
        trainer.step(images, labels, 1.0)
    model = trained.frozen(recipe, trainer.model)
    estimate_batch_norm(model, images)
    trained.save(tmp_path, recipe, model, {})
    again = rebuild(tmp_path)
    assert np.array_equal(Predictor(again).logits(images), Predictor(model).logits(images))
    for old, new in zip(kernel_layers(model), kernel_layers(again), strict=True):
        assert np.array_equal(old.kernel.numpy(), new.kernel.numpy())
        assert type(new.kernel_quantizer_internal).__name__ == "ternary"


def test_the_folder_holds_trits_scales_and_batch_norms(whole: Path, recipe: Recipe) -> None:
    assert recipes.load(whole / "recipe.yaml") == recipe
    assert (whole / "curve.png").read_bytes().startswith(b"\x89PNG")
    _, weights = trained.read(whole)
    names = {key.split("/")[0] for key in weights if key.endswith("/trits")}
    assert names == {"conv1", "res2_conv1", "res2_conv2", "res2_shortcut", "dense"}
    for name in names:
        trits, alpha = weights[f"{name}/trits"], weights[f"{name}/alpha"]
        assert trits.dtype == np.int8 and set(np.unique(trits)) <= {-1, 0, 1}
        assert alpha.shape == trits.shape[-1:] and alpha.min() > 0
        for key in ("gamma", "beta", "mean", "variance"):
            assert weights[f"{name}_bn/{key}"].shape == alpha.shape
        assert weights[f"{name}_bn/epsilon"] == np.float32(1e-3)
    assert not (whole / checkpoint.NAME).exists()


def test_training_json_tells_seeds_versions_and_both_accuracies(whole: Path) -> None:
    told = json.loads((whole / "training.json").read_text())
    assert len(told["history"]) == len(told["epoch_seconds"]) == 6
    assert {"tensorflow", "qkeras", "numpy", "python"} <= told["versions"].keys()
    images, labels = tasks.get("shapes").load("test")
    assert Predictor(rebuild(whole)).accuracy(images, labels) == told["test_accuracy"]
    assert told["test_accuracy_before_batch_norm"] != told["test_accuracy"]
    assert told["history"][-1]["cross_entropy"] < told["history"][0]["cross_entropy"]


def test_batch_norms_fit_the_deterministic_weights(whole: Path) -> None:
    """After re-estimation the first layer's statistics are those of its own outputs."""
    model = rebuild(whole)
    images, _ = tasks.get("shapes").load("train", 512)
    estimate_batch_norm(model, images)
    inner = tf.keras.Model(model.input, model.get_layer("conv1").output)
    values = inner(input_values(images)).numpy()
    layer = model.get_layer("conv1_bn")
    assert np.allclose(layer.moving_mean.numpy(), values.mean(axis=(0, 1, 2)), atol=1e-4)
    assert np.allclose(layer.moving_variance.numpy(), values.var(axis=(0, 1, 2)), rtol=1e-2)
    assert layer.momentum == 0.9


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("conv1/trits", None, "'conv1/trits' is missing"),
        ("conv1/trits", np.zeros((3, 3, 3, 4), np.float32), "must be int8"),
        ("conv1/trits", np.zeros((3, 3, 3, 4), np.int8), "channel of zeros"),
        ("dense/alpha", np.ones(9, np.float32), "has shape"),
        ("conv1_bn/epsilon", np.array(0.1, np.float32), "epsilon"),
    ],
)
def test_damaged_weights_are_refused(
    whole: Path, key: str, value: np.ndarray | None, message: str
) -> None:
    recipe, weights = trained.read(whole)
    if value is None:
        del weights[key]
    else:
        weights[key] = value
    with pytest.raises(TinyRobustError, match=message):
        trained.assemble(recipe, weights)


def test_a_cut_weights_file_is_refused(whole: Path, tmp_path: Path) -> None:
    for name in ("recipe.yaml", "weights.npz"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    (tmp_path / "weights.npz").write_bytes((whole / "weights.npz").read_bytes()[:500])
    with pytest.raises(TinyRobustError, match="not a weights file"):
        rebuild(tmp_path)
    (tmp_path / "weights.npz").unlink()
    with pytest.raises(TinyRobustError, match="no weights"):
        rebuild(tmp_path)


def test_a_folder_in_use_is_not_overwritten(whole: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TinyRobustError, match="finished"):
        train(recipe, whole, listener=Silent())
    (tmp_path / checkpoint.NAME).write_bytes(b"")
    with pytest.raises(TinyRobustError, match="--resume"):
        train(recipe, tmp_path, listener=Silent())
    with pytest.raises(TinyRobustError, match="is not a checkpoint"):
        train(recipe, tmp_path, resume=True, listener=Silent())
    with pytest.raises(TinyRobustError, match="no checkpoint"):
        train(recipe, tmp_path / "none", resume=True, listener=Silent())


def test_a_checkpoint_of_another_recipe_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, recipe, checkpoint.Checkpoint([], [], []))
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipes.override(recipe, ["training.epochs=9"]), tmp_path, resume=True,
              listener=Silent())  # fmt: skip


def test_a_loss_that_is_not_finite_stops_the_training(trainer: Trainer, recipe: Recipe) -> None:
    trainer.model.get_layer("conv1_bn").gamma.assign([np.nan] * 4)
    with pytest.raises(TinyRobustError, match="no longer finite in epoch 3"):
        loop._epoch(trainer, data.load(recipe), 2, Silent())


def test_the_learning_rate_warms_up_and_falls_to_zero(recipe: Recipe) -> None:
    top = recipe.training.optimizer.learning_rate
    assert learning_rate(recipe, 0.0) == 0
    assert learning_rate(recipe, 0.5) == pytest.approx(top / 2)
    assert learning_rate(recipe, 1.0) == pytest.approx(top)
    assert learning_rate(recipe, 3.5) == pytest.approx(top / 2)
    assert learning_rate(recipe, 6.0) == pytest.approx(0, abs=1e-9)


def test_batches_depend_on_seed_and_epoch_only(recipe: Recipe) -> None:
    first, again = (next(data.load(recipe).batches(2))[0] for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next(data.load(recipe).batches(3))[0])
    other = recipes.override(recipe, ["training.seed=9"])
    assert not np.array_equal(first, next(data.load(other).batches(2))[0])


def test_augmentation_mirrors_and_shifts_whole_images(recipe: Recipe) -> None:
    images, _ = tasks.get("shapes").load("train", 64)
    random = np.random.default_rng(0)
    how = recipes.Augmentation(flip=True, shift=2)
    for before, after in zip(images, data.augment(images, how, random), strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        mirrored = np.pad(before[:, ::-1], ((2, 2), (2, 2), (0, 0)))
        places = [(y, x) for y in range(5) for x in range(5)]
        assert any(
            np.array_equal(source[y : y + 32, x : x + 32], after)
            for source in (padded, mirrored)
            for y, x in places
        )


def test_more_images_than_the_task_has_is_a_recipe_error(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="do not fit the 20,000 images"):
        data.load(recipes.override(recipe, ["training.train_images=20000"]))


def run_train(recipe_file: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    code = "import sys; from tinyrobust.cli.main import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", str(recipe_file), "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_new_checkpoint(process: subprocess.Popen[str], path: Path) -> None:
    before = path.stat().st_mtime_ns if path.exists() else 0
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists() or path.stat().st_mtime_ns == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_history_and_weights(
    recipe_file: Path, whole: Path, tmp_path: Path
) -> None:
    """Ctrl-C after an epoch, a kill after another one, then to the end."""
    out = tmp_path / "out"
    process = run_train(recipe_file, out)
    wait_for_a_new_checkpoint(process, out / checkpoint.NAME)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"tinyrobust train {recipe_file} --out {out} --resume" in errors
    assert not (out / "training.json").exists()

    process = run_train(recipe_file, out, "--resume")
    wait_for_a_new_checkpoint(process, out / checkpoint.NAME)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert [p.name for p in out.iterdir()] == [checkpoint.NAME]

    process = run_train(recipe_file, out, "--resume", "--json", str(tmp_path / "result.json"))
    printed, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "before batch norms were re-estimated" in " ".join(printed.split())
    assert history(out) == history(whole)
    assert json.loads((tmp_path / "result.json").read_text())["schema"] == "tinyrobust.train/1"
    _, ours = trained.read(out)
    _, theirs = trained.read(whole)
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert np.array_equal(ours[key], theirs[key]), key


def test_a_full_disk_leaves_the_last_checkpoint_whole(recipe: Recipe, tmp_path: Path) -> None:
    """A file-size limit stands for the full disk: the second, larger checkpoint fails."""
    code = f"""
import resource
from pathlib import Path
import numpy as np
from tinyrobust import recipes
from tinyrobust.errors import TinyRobustError
from tinyrobust.train.checkpoint import Checkpoint, load, save
recipe = recipes.load({str(tmp_path / "recipe.yaml")!r})
folder = Path({str(tmp_path / "out")!r})
save(folder, recipe, Checkpoint([np.arange(9)], [], []))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(folder, recipe, Checkpoint([np.zeros(100_000)], [], []))
except TinyRobustError as error:
    print(error)
print(load(folder, recipe).variables, [p.name for p in folder.iterdir()])
"""
    (tmp_path / "recipe.yaml").write_text(TINY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "cannot write" in first and "disk space" in first
    assert second == "[array([0, 1, 2, 3, 4, 5, 6, 7, 8])] ['checkpoint.npz']"
