"""`tinyrobust search`: spaces, predictions, halving, workers that die, the Pareto front."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tinyrobust import boards, memory, recipes
from tinyrobust.bench.random_recipe import family, random_recipe
from tinyrobust.errors import RecipeError, TaskError, TinyRobustError
from tinyrobust.graph.model import load_model, zoo
from tinyrobust.graph.verify import verify
from tinyrobust.recipes import Recipe
from tinyrobust.search import space
from tinyrobust.search.budget import Budget, Prediction, parse, predict

if find_spec("optuna") is not None:  # without it, conftest.py skips these tests
    from optuna.trial import TrialState

    from tinyrobust.search import results, study, worker, workers

needs_optuna = pytest.mark.search
BOARD = "nucleo-h743"
SPACE = {
    "name": "tiny",
    "eps_255": 16,
    "set": ["training.train_images=64", "training.validation_images=32", "training.batch_size=32",
            "training.batch_norm_images=64"],
    "parameters": {
        "width": {"low": 0.5, "high": 3.0, "step": 0.5},
        "network.blocks.*.weights": {
            "choices": [{"quantizer": "ternary"}, {"quantizer": "stochastic_ternary"}]
        },
        "jacobian.strength": {"low": 1e-4, "high": 0.1, "log": True},
    },
}  # fmt: skip


def tiny_space(**changes: Any) -> space.Space:
    return space.Space.model_validate(SPACE | changes)


def settings(**changes: Any) -> Any:
    values = {
        "recipe": recipes.load("shapes-small"), "space": tiny_space(), "board": BOARD,
        "budget": parse("flash=24K,instructions=200k"), "epochs": 4, "seed": 1,
    }  # fmt: skip
    return study.Settings(**(values | changes))


# -- spaces ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", space.names())
@pytest.mark.parametrize("recipe_name", recipes.names())
def test_a_space_that_comes_with_us_fits_every_recipe(name: str, recipe_name: str) -> None:
    """Each parameter's every end, one after another."""
    found, recipe = space.load(name), recipes.load(recipe_name)
    assert found.name == name
    for key, values in space.parameters(found, recipe).items():
        ends = values.choices if isinstance(values, space.Choice) else (values.low, values.high)
        for value in ends:
            made = space.design(recipe, found, {key: value}, epochs=3, name="x")
            assert made.training.epochs == 3 and made.training.check_eps_255 == found.eps_255


def test_a_star_stands_for_every_element_that_has_the_rest() -> None:
    recipe = recipes.load("digits-dscnn-ternary")
    blocks = recipe.network.blocks
    wide = tiny_space(parameters={"network.blocks.*.filters": {"low": 8, "high": 64}})
    plain = [i for i, block in enumerate(blocks) if block.kind != "depthwise"]
    assert list(space.parameters(wide, recipe)) == [f"network.blocks.{i}.filters" for i in plain]
    both = {"training.augmentation.flip": {"choices": [True, False]},
            "network.blocks.*.weights.quantizer": {"choices": ["ternary", "binary"]}}  # fmt: skip
    expanded = list(space.parameters(tiny_space(parameters=both), recipe))
    assert expanded[0] == "training.augmentation.flip" and len(expanded) == 1 + len(blocks)
    made = space.design(recipe, tiny_space(), {expanded[2]: "binary"}, epochs=1, name="x")
    assert made.network.blocks[1].weights is not None
    assert made.network.blocks[1].weights.quantizer == "binary"


@pytest.mark.parametrize("key", ["jacobian.strenght", "network.*.x", "network.blocks.*.x", "a.*"])
def test_a_key_that_the_recipe_lacks_is_refused(key: str) -> None:
    made = tiny_space(parameters={key: {"choices": [1, 2]}})
    with pytest.raises(RecipeError, match="has no"):
        space.parameters(made, recipes.load("shapes-small"))


def test_width_multiplies_filters_in_fours() -> None:
    recipe = recipes.load("digits-dscnn-ternary")
    made = space.design(recipe, tiny_space(), {"width": 0.4}, epochs=1, name="x")
    sizes = [getattr(block, "filters", None) for block in made.network.blocks]
    assert sizes == [24, None, 24, None, 24, None, 24, None, 24]  # 25.6 to the nearest four
    tiny = space.design(
        recipes.load("shapes-small"), tiny_space(), {"width": 0.1}, epochs=1, name="x"
    )
    assert tiny.network.blocks[0].filters == 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": 2, "high": 1}, "not below"),
        ({"low": 0, "high": 1, "log": True}, "starts above 0"),
        ({"choices": [1]}, "at least 2"),
        ({"low": 1}, "missing"),
    ],
)
def test_a_space_at_fault_names_its_line(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(json.dumps({**SPACE, "parameters": {"width": values}}))
    with pytest.raises(RecipeError, match=r"x\.yaml:"):
        space.load(str(path))
    with pytest.raises(RecipeError) as caught:
        space.load(str(path))
    assert message in str(caught.value) or "more" in str(caught.value)


# -- budget and prediction -------------------------------------------------------------------


def test_a_budget_is_read() -> None:
    assert parse("flash=64K, ram=1.5M,instructions=3M") == Budget(65536, 1572864, 3_000_000)
    assert parse("ram=65536") == Budget(None, 65536, None) and parse("") == Budget()


@pytest.mark.parametrize("text", ["flsh=1", "flash", "flash=x", "ram=-1K", "ram=1,ram=2", "ram=1G"])
def test_a_budget_at_fault_is_named(text: str) -> None:
    with pytest.raises(TinyRobustError, match="--budget"):
        parse(text)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_network_before_it_is_trained(name: str) -> None:
    recipe = recipes.load(name)
    graph = random_recipe(recipe)
    verify(graph)
    assert graph.family == family(recipe)
    assert graph.task == recipe.task
    if name in zoo():  # the very layers that conversion gave it
        trained = load_model(name).graph
        wanted = Counter(
            (n.op, trained.tensor[n.output].shape, trained.macs(n)) for n in trained.nodes
        )
        assert (
            Counter((n.op, graph.tensor[n.output].shape, graph.macs(n)) for n in graph.nodes)
            == wanted
        )


@pytest.mark.parametrize("name", ["shapes-small", "cifar10-resnet8-ternary"])
def test_the_prediction_is_that_of_the_trained_network(name: str) -> None:
    """Weights are random: what depends on their patterns differs."""
    board = boards.load(BOARD)
    budget = parse("flash=80K,ram=128K,instructions=10M")
    found = predict(recipes.load(name), board, budget)
    aim = memory.Aim("speed", budget.flash_bytes, budget.ram_bytes)
    plan = memory.plan(load_model(name).graph, board, aim=aim)
    assert found.instructions == pytest.approx(plan.instructions, rel=0.15)
    assert found.flash_bytes is not None and found.ram_bytes is not None
    assert 0 < found.flash_bytes <= 80 << 10 and 0 < found.ram_bytes <= 128 << 10


def test_narrow_activations_are_predicted_narrow() -> None:
    recipe = recipes.override(recipes.load("shapes-small"), ["network.activation.bits=4"])
    graph = random_recipe(recipe)
    verify(graph)
    assert {t.hi for t in graph.tensors if t.name.endswith("_quant_q")} == {15}


@pytest.mark.parametrize(
    ("budget", "words"),
    [("instructions=10k", "takes"), ("flash=12K", "of flash"), ("ram=14K", "of RAM")],
)
def test_what_is_over_the_budget_is_refused(budget: str, words: str) -> None:
    found = predict(recipes.load("shapes-small"), boards.load(BOARD), parse(budget))
    assert words in found.problem


# -- halving, front --------------------------------------------------------------------------


@needs_optuna
@pytest.mark.parametrize(
    ("epochs", "reduction", "wanted"),
    [(9, 3, (1, 3)), (10, 3, (1, 2, 4)), (2, 3, (1,)), (1, 3, ()), (8, 2, (1, 2, 4))],
)
def test_rungs(epochs: int, reduction: int, wanted: tuple[int, ...]) -> None:
    assert study.rungs(epochs, reduction) == wanted


class Reported:
    def __init__(self, number: int, **values: float) -> None:
        self.number = number
        self.intermediate_values = {int(k[1:]): v for k, v in values.items()}
        self.last_step = max(self.intermediate_values, default=None)


@needs_optuna
def test_halving_keeps_the_best_third_of_the_trials_so_far() -> None:
    class Study:
        def get_trials(self, deepcopy: bool) -> list[Reported]:
            return trials

    trials = [Reported(i, e1=v) for i, v in enumerate((0.5, 0.1, 0.6, 0.5, 0.55, 0.57, 0.9))]
    pruned = [study.Halving(9, 3).prune(Study(), t) for t in trials]  # type: ignore[arg-type]
    # of 1..2 and 3..5 trials one is kept, of 6 and 7 two; later trials change nothing
    assert pruned == [False, True, False, True, True, False, False]
    again = Reported(7, e1=0.6, e2=0.0)
    assert not study.Halving(9, 3).prune(Study(), again)  # type: ignore[arg-type]  # no rung
    ties = [Reported(i, e1=0.0) for i in range(4)]
    trials[:] = ties
    assert not any(study.Halving(9, 3).prune(Study(), t) for t in ties)  # type: ignore[arg-type]


@needs_optuna
def test_the_front_holds_what_nothing_beats() -> None:
    def trained(
        number: int, robust: float, flash: int, ram: int, instructions: int
    ) -> dict[str, Any]:
        costs = dict(zip(results.COSTS, (flash, ram, instructions), strict=True))
        return {"number": number, "robust": robust, "predicted": costs}

    rows = [
        trained(0, 0.5, 10, 10, 10), trained(1, 0.4, 10, 10, 10), trained(2, 0.4, 9, 10, 10),
        trained(3, 0.6, 20, 20, 20), trained(4, 0.6, 20, 20, 21), trained(5, 0.1, 5, 5, 5),
    ]  # fmt: skip
    assert [t["number"] for t in results.front(rows)] == [5, 0, 2, 3]


# -- trials ----------------------------------------------------------------------------------


class Killed(BaseException):
    """What a dying process cannot catch."""


def filters(recipe: Recipe) -> int:
    block = recipe.network.blocks[0]
    assert block.kind == "conv"
    return block.filters


def cheap_prediction(recipe: Recipe, board: Any, budget: Any) -> Prediction:
    """Stands for the planner, where a test is about something else."""
    size = 1000 * filters(recipe)
    return Prediction("fixed", size, size, size, "too wide" if filters(recipe) > 16 else "")


class FakeTraining:
    """Stands for ``train.train``: rows from the recipe alone, resumed from a note of the epochs."""

    def __init__(self, die_at: int | None = None) -> None:
        self.events, self.die_at = 0, die_at

    def event(self) -> None:
        self.events += 1
        if self.events == self.die_at:
            raise Killed

    def __call__(self, recipe: Recipe, folder: Path, *, resume: bool, listener: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "checkpoint.npz"
        done = json.loads(note.read_text()) if resume else []
        while len(done) < recipe.training.epochs:
            epoch = len(done) + 1
            self.event()
            quality = (recipe.jacobian.strength * 1e4 % 1 + filters(recipe)) / 30
            row = {"epoch": epoch, "validation_robust": min(quality * epoch / 4, 1.0),
                   "validation_accuracy": 0.9}  # fmt: skip
            listener.epoch(row, 0.1)
            self.event()
            done.append(row)
            note.write_text(json.dumps(done))
            self.event()
        (folder / "training.json").write_text(json.dumps({"history": done}))
        self.event()


class Silent:
    def begin(self, number: int, recipe: Recipe) -> None: ...
    def step(self, epoch: int, done: int, steps: int) -> None: ...
    def end(self, number: int, text: str) -> None: ...


def run(path: Path, monkeypatch: pytest.MonkeyPatch, wanted: int = 6, **options: Any) -> int:
    """Search with a fake training; how many events it had."""
    fake = FakeTraining(options.pop("die_at", None))
    monkeypatch.setitem(vars(worker.train), "train", fake)  # setattr would import TensorFlow
    if not options.pop("plan", False):
        monkeypatch.setattr(worker, "predict", cheap_prediction)
    monkeypatch.setattr(worker.train, "require", lambda: None)
    monkeypatch.setattr(worker, "_forget", lambda: None)
    resume = (path / "settings.json").exists()
    worker.work(study.Folder.create(path, settings(**options), resume=resume), wanted, Silent())
    return fake.events


def found(path: Path) -> list[dict[str, Any]]:
    return list(results.figures(study.Folder(path, study.read_settings(path)))["trials"])


@needs_optuna
def test_a_search_refuses_prunes_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, monkeypatch, plan=True)
    made = results.write(study.Folder(tmp_path, settings()))
    states = made["states"]
    assert states["trained"] + states["pruned"] == 6 and states["trained"] >= 1
    assert states["refused"] >= 1 and states["pruned"] >= 1  # of this seed
    for trial in made["trials"]:
        if trial["state"] == "refused":
            assert trial["why"] and not trial["reports"]
            continue
        predicted = trial["predicted"]
        assert predicted["flash_bytes"] <= 24 << 10 and predicted["instructions"] <= 200_000
    best = max((t for t in made["trials"] if t["state"] == "trained"), key=lambda t: t["robust"])
    saved = recipes.load(tmp_path / "best.yaml")
    assert made["best"] == best["number"] in made["front"]
    assert saved.jacobian.strength == pytest.approx(best["values"]["jacobian.strength"])
    assert sorted(p.stem for p in (tmp_path / "front").iterdir()) == [
        f"{n:04d}" for n in sorted(made["front"])
    ]
    assert "Pareto" in (tmp_path / "search.md").read_text()
    assert (tmp_path / "search.svg").read_text().startswith("<svg")


@needs_optuna
def test_more_trials_are_added_and_differ_with_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "a", monkeypatch, wanted=2)
    run(tmp_path / "a", monkeypatch, wanted=4)
    run(tmp_path / "b", monkeypatch, wanted=4)
    assert found(tmp_path / "a") == found(tmp_path / "b")
    run(tmp_path / "c", monkeypatch, wanted=4, seed=2)
    assert [t["values"] for t in found(tmp_path / "c")] != [
        t["values"] for t in found(tmp_path / "b")
    ]


@pytest.mark.slow
@needs_optuna
def test_killed_anywhere_it_makes_the_same_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More trials than the sampler's random start, so that it has learnt from those before."""
    monkeypatch.setattr(study, "_STARTUP", 3)
    events = run(tmp_path / "whole", monkeypatch)
    whole = found(tmp_path / "whole")
    assert len(whole) > 6
    for die_at in range(1, events + 1, 5):
        path = tmp_path / f"{die_at}"
        with pytest.raises(Killed):
            run(path, monkeypatch, die_at=die_at)
        run(path, monkeypatch)
        assert found(path) == whole, die_at


@needs_optuna
def test_a_trial_that_kills_its_workers_is_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(study.ATTEMPTS):
        with pytest.raises(Killed):
            run(tmp_path, monkeypatch, wanted=2, die_at=1)
    run(tmp_path, monkeypatch, wanted=2)
    states = [t["state"] for t in found(tmp_path) if t["state"] != "refused"]
    assert states == ["failed", "trained"]
    assert "killed 3 times" in next(t for t in found(tmp_path) if t["state"] == "failed")["why"]


@needs_optuna
def test_a_user_who_stops_it_often_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(FakeTraining, "__call__", stop)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, patch, wanted=1)
    run(tmp_path, monkeypatch, wanted=1)
    assert [t["state"] for t in found(tmp_path)][-1] == "trained"


@needs_optuna
def test_a_fault_of_one_design_fails_its_trial_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = FakeTraining.__call__, []

    def sometimes(self: Any, recipe: Recipe, folder: Path, **options: Any) -> None:
        calls.append(recipe.name)
        if len(calls) == 1:
            raise TinyRobustError("the loss is no longer finite")
        real(self, recipe, folder, **options)

    monkeypatch.setattr(FakeTraining, "__call__", sometimes)
    run(tmp_path, monkeypatch, wanted=2)
    states = Counter(t["state"] for t in found(tmp_path))
    assert states["failed"] == 1 and states["trained"] == 1

    def no_data(*args: Any, **options: Any) -> None:
        raise TaskError("no data")

    monkeypatch.setattr(FakeTraining, "__call__", no_data)
    with pytest.raises(TaskError):
        run(tmp_path / "other", monkeypatch)


@needs_optuna
def test_a_budget_that_nothing_fits_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "MOST_REFUSED", 5)
    with pytest.raises(TinyRobustError, match="refused the last 5 designs"):
        run(tmp_path, monkeypatch, budget=parse("instructions=1k"), plan=True)


@needs_optuna
def test_one_trial_has_one_worker_until_it_dies(tmp_path: Path) -> None:
    folder = study.Folder.create(tmp_path, settings(), resume=False)
    with folder.claim(9) as first, study.Folder(tmp_path, settings()).claim(9) as second:
        assert first is not None and second is not None
        assert (first.number, second.number) == (0, 1)
        value = first.suggest_float("x", 0, 1)
        with folder.claim(2) as third:
            assert third is None  # both are under way
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tinyrobust.search.study import Folder, read_settings\n"
        "path = Path(sys.argv[1])\n"
        "with Folder(path, read_settings(path)).claim(9) as trial:\n"
        "    print(trial.number, flush=True); time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline().strip() == b"0"
    with folder.claim(9) as other:
        assert other is not None and other.number == 1  # the child has the first one
    child.send_signal(signal.SIGKILL)
    child.wait()
    with folder.claim(9) as again:
        assert again is not None and again.number == 0
        assert again.suggest_float("x", 0, 1) == value
    states = {t.state for t in folder.study.get_trials()}
    assert states == {TrialState.RUNNING}


@needs_optuna
def test_a_folder_of_another_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TinyRobustError, match="holds no search"):
        study.Folder.create(tmp_path, settings(), resume=True)
    study.Folder.create(tmp_path, settings(), resume=False)
    with pytest.raises(TinyRobustError, match="holds a search"):
        study.Folder.create(tmp_path, settings(), resume=False)
    with pytest.raises(TinyRobustError, match="another epochs and seed"):
        study.Folder.create(tmp_path, settings(epochs=5, seed=3), resume=True)
    assert study.read_settings(tmp_path) == settings()


@needs_optuna
def test_a_worker_that_gives_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study.Folder.create(tmp_path, settings(), resume=False)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(TinyRobustError, match=r"a worker gave up: .*holds no search"):
        workers.run(folder, 2, 2, Silent())


# -- for real --------------------------------------------------------------------------------


TRIALS = 2


def command(path: Path, *options: str) -> list[str]:
    file = path.parent / "space.yaml"
    file.write_text(json.dumps(SPACE))
    return [sys.executable, "-m", "tinyrobust", "search", "shapes-small", "--space", str(file),
            "--board", BOARD, "--budget", "flash=24K,instructions=200k", "--trials", str(TRIALS),
            "--epochs", "2", "--out", str(path), *options]  # fmt: skip


def kill_when(arguments: list[str], ready: Any) -> None:
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 900
    try:
        while not ready() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and ready()


@pytest.mark.slow
@pytest.mark.train
@needs_optuna
@pytest.mark.timeout(2400)
def test_a_killed_search_makes_the_trials_of_an_unbroken_one(tmp_path: Path) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run(
        command(tmp_path / "whole"), check=True, env=environment, stdout=subprocess.DEVNULL
    )
    whole = found(tmp_path / "whole")
    trained = [t["number"] for t in whole if t["state"] != "refused"]
    assert len(trained) == TRIALS
    path = tmp_path / "killed"
    first, last = (path / "trials" / f"{n:04d}" for n in (trained[0], trained[-1]))
    # in the middle of the first training, between two epochs; then in the last trial
    kill_when(command(path), (first / "model" / "checkpoint.npz").exists)
    kill_when(command(path, "--resume"), (last / "recipe.yaml").exists)
    assert found(path)[-1]["state"] == "running"
    subprocess.run(
        command(path, "--resume"), check=True, env=environment, stdout=subprocess.DEVNULL
    )
    assert found(path) == whole
    front = json.loads((path / "search.json").read_text())["front"]
    assert front == json.loads((tmp_path / "whole" / "search.json").read_text())["front"]


@pytest.mark.slow
@pytest.mark.train
@needs_optuna
@pytest.mark.timeout(2400)
def test_a_search_outlives_one_of_its_workers(tmp_path: Path) -> None:
    path = tmp_path / "search"
    parent = subprocess.Popen(
        command(path, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 900
    children: list[int] = []
    while time.monotonic() < deadline and not (
        len(children) == 2 and list(path.glob("trials/*/model"))
    ):
        task = Path(f"/proc/{parent.pid}/task")
        children = [int(c) for f in task.glob("*/children") for c in f.read_text().split()]
        time.sleep(0.05)
    os.kill(children[0], signal.SIGKILL)
    assert parent.wait(timeout=1200) == 0
    states = Counter(t["state"] for t in found(path))
    assert (
        states["trained"] + states["pruned"] == TRIALS and not states["failed"] + states["running"]
    )


@needs_optuna
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shapes-small"], "Missing option '--board'"),
        (["shapes-small", "--board", BOARD, "--budget", "flsh=1"], "unknown 'flsh'"),
    ],
)
def test_a_command_at_fault(arguments: list[str], message: str) -> None:
    from tinyrobust.cli.search import command as cli

    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2 and message in done.output  # main() makes it exit code 1
