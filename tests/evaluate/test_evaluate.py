"""Evaluation: records, resuming, replaying, comparing, summing up."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.evaluation import GRAPH, MEMORY, FakeSession, config, samples
from tests.graphs import tiny_graph
from tests.patience import PATIENCE_S
from tinyrobust.errors import LinkError, ProtocolError, TaskError, TinyRobustError
from tinyrobust.evaluate import (
    AdversarialSet,
    Config,
    Series,
    Wish,
    choose_model,
    crafted_set,
    evaluate,
    journal,
    masking,
    prepare,
    summarise,
    wilson,
)
from tinyrobust.graph.model import load_model


def run(out: Path, device: Any = None, **options: Any) -> journal.Journal:
    images, labels = samples(GRAPH)
    settings = options.pop("config", config(GRAPH))
    device = device or FakeSession(GRAPH)
    return evaluate(settings, GRAPH, images, labels, device, out, memory=MEMORY, **options)


def figures(out: Path) -> dict[str, Any]:
    """The summary without what a clock or a call says."""
    made = summarise(journal.read(out))
    made.pop("seconds")
    made["repeat"].pop("started")
    made["repeat"].pop("finished")
    for series in [made["clean"], *made["attacks"]]:
        series.pop("device_s")
        series.pop("craft_s", None)
        series.pop("oracle", None)
    return made


# -- intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_published_intervals(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60, deadline=None)
def test_wilson_equals_scipy(case: tuple[int, int]) -> None:
    expected = binomtest(*case).proportion_ci(0.95, method="wilson")
    assert wilson(*case) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= wilson(*case)[0] <= case[0] / case[1] <= wilson(*case)[1] <= 1


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


# -- a whole run -----------------------------------------------------------------------------


def test_the_figures_are_those_of_the_images(tmp_path: Path) -> None:
    from tinyrobust import attacks
    from tinyrobust.graph import interpreter

    images, labels = samples(GRAPH)
    run(tmp_path)
    made = figures(tmp_path)
    right = {"clean": interpreter.run(GRAPH, images).argmax(1) == labels}
    for eps in (2, 8):
        parts = [
            attacks.get("noise").run(
                attacks.GraphVictim(GRAPH), images[i : i + 5], labels[i : i + 5],
                eps_255=eps, seed=3, first=i,
            ).images
            for i in range(0, 20, 5)
        ]  # fmt: skip
        right[f"noise_eps{eps}"] = interpreter.run(GRAPH, np.concatenate(parts)).argmax(1) == labels
    assert made["complete"]
    assert made["clean"]["correct"] == right["clean"].sum() < 20
    assert [s["key"] for s in made["attacks"]] == ["noise_eps2", "noise_eps8"]
    assert [s["correct"] for s in made["attacks"]] == [
        right["noise_eps2"].sum(), right["noise_eps8"].sum(),
    ]  # fmt: skip
    assert [w["correct"] for w in made["worst"]] == [
        (right["clean"] & right["noise_eps2"]).sum(), (right["clean"] & right["noise_eps8"]).sum(),
    ]  # fmt: skip
    assert made["score_differences"] == 0
    assert made["cost"]["unit"] == "instructions"
    assert made["cost"]["mean"] == 480_000
    assert made["cost"]["mean_ms"] is None
    assert [la["cycles"] for la in made["cost"]["layers"]] == [400_000, 80_000]
    assert made["memory"]["marks"]["stack_used_bytes"] == 512


def test_milliseconds_are_for_real_boards_only(tmp_path: Path) -> None:
    run(tmp_path, FakeSession(GRAPH, is_virtual=False))
    cost = figures(tmp_path)["cost"]
    assert cost["unit"] == "cycles"
    assert cost["mean_ms"] == pytest.approx(1.0)


def test_a_wrong_integer_is_counted(tmp_path: Path) -> None:
    run(tmp_path, FakeSession(GRAPH, wrong=2))
    assert figures(tmp_path)["score_differences"] == 2 * 4 * 3  # batches of three series


def test_a_board_with_another_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="another image"):
        run(tmp_path, FakeSession(GRAPH, image_sha256="cd" * 32))
    other = tiny_graph(1)
    with pytest.raises(ProtocolError, match="another graph"):
        run(tmp_path, FakeSession(other))
    assert not (tmp_path / journal.FILE).exists()


# -- resuming --------------------------------------------------------------------------------


@pytest.mark.parametrize("dies_after", [0, 7, 20, 33, 59])
def test_a_run_that_loses_its_board_goes_on(tmp_path: Path, dies_after: int) -> None:
    run(tmp_path / "whole")
    with pytest.raises(LinkError):
        run(tmp_path / "cut", FakeSession(GRAPH, dies_after=dies_after))
    second = FakeSession(GRAPH)
    run(tmp_path / "cut", second)
    assert second.shown <= 62 - (dies_after - 2) // 5 * 5  # two images at the start of each session
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


_SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.evaluation import *
from tinyrobust.evaluate import evaluate

class Slow(FakeSession):
    def infer_many(self, images):
        time.sleep(0.05)
        return super().infer_many(images)

images, labels = samples(GRAPH)
evaluate(config(GRAPH), GRAPH, images, labels, Slow(GRAPH), Path(sys.argv[1]), memory=MEMORY)
"""


def test_a_killed_process_resumes_where_it_was(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    out = tmp_path / "killed"
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen([sys.executable, "-c", _SLOW, str(out), root])
    records = out / journal.FILE
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and (
        not records.exists() or records.read_bytes().count(b'"batch"') < 4
    ):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = sum(r["type"] == "batch" for r in journal.read(records))
    assert 4 <= before < 12
    second = FakeSession(GRAPH)
    run(out, second)
    assert second.shown <= 62 - 5 * before
    assert figures(out) == figures(tmp_path / "whole")


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Both would craft the same images, and write the same records twice."""

    class Nosy(FakeSession):
        refused = 0

        def infer_many(self, images: Any) -> Any:
            if not self.refused:
                self.refused += 1
                with pytest.raises(TinyRobustError, match="another run works in"):
                    run(tmp_path)
            return super().infer_many(images)

    session = Nosy(GRAPH)
    run(tmp_path, session)
    assert session.refused == 1
    run(tmp_path)  # the lock went with the run


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TinyRobustError, match=r"cannot write .*file"):
        run(tmp_path / "file" / "out")


def test_crafted_images_are_kept_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyrobust.attacks import noise

    with pytest.raises(LinkError):
        run(tmp_path, FakeSession(GRAPH, dies_after=22))  # has crafted, not yet classified
    crafted = 0
    real = type(noise.attack).craft

    def counting(self: Any, *args: Any) -> Any:
        nonlocal crafted
        crafted += 1
        return real(self, *args)

    monkeypatch.setattr(type(noise.attack), "craft", counting)
    run(tmp_path)
    assert crafted == 7  # eight batches, one was kept
    kept = sorted((tmp_path / "adversarial").glob("*.npz"))
    assert len(kept) == 8
    kept[0].write_bytes(kept[0].read_bytes()[:100])  # a damaged one is crafted again
    run(tmp_path, config=config(GRAPH), fresh=False)
    (tmp_path / journal.FILE).unlink()
    run(tmp_path)
    assert crafted == 8
    image = "cd" * 32  # new firmware: the records are others, the crafted images are the same
    run(tmp_path, FakeSession(GRAPH, image_sha256=image), config=config(GRAPH, image_sha256=image))
    assert crafted == 8
    run(tmp_path, config=config(GRAPH, seed=4))
    assert crafted == 16


def test_a_line_without_its_end_is_cut_off(tmp_path: Path) -> None:
    run(tmp_path)
    whole = figures(tmp_path)
    path = tmp_path / journal.FILE
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    cut = b"".join(lines[:6]) + lines[6][:-9]
    path.write_bytes(cut)
    assert len(journal.read(path)) == 6
    run(tmp_path)
    assert path.read_bytes().startswith(b"".join(lines[:6]))
    assert figures(tmp_path) == whole
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_records_of_another_configuration_are_put_aside(tmp_path: Path) -> None:
    run(tmp_path)
    first = (tmp_path / journal.FILE).read_bytes()
    said: list[str] = []
    run(tmp_path, config=config(GRAPH, seed=4), notice=said.append)
    aside = tmp_path / f"records-{config(GRAPH).sha256[:8]}.jsonl"
    assert aside.read_bytes() == first
    assert said == [f"records of another configuration were put aside as {aside}"]
    said.clear()
    run(tmp_path, config=config(GRAPH, seed=4), notice=said.append)
    assert said == [f"going on after 12 recorded batches in {tmp_path / journal.FILE}"]


def test_a_damaged_line_is_put_aside_and_named_when_read(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / journal.FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken\n" + b"".join(lines[2:]))
    with pytest.raises(TinyRobustError, match=r"records\.jsonl:2 is damaged"):
        journal.read(path)
    run(tmp_path)
    assert (tmp_path / "records-damaged.jsonl").exists()
    assert figures(tmp_path)["complete"]


def test_fresh_forgets_everything(tmp_path: Path) -> None:
    run(tmp_path)
    device = FakeSession(GRAPH)
    run(tmp_path, device, fresh=True)
    assert device.shown == 62
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_a_full_disk_leaves_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TinyRobustError, match="No space left on device") as caught:
            run(tmp_path)
    assert "free some disk space" in caught.value.hint
    assert (tmp_path / journal.FILE).read_bytes().endswith(b"\n")
    run(tmp_path)
    run(tmp_path / "whole")
    assert figures(tmp_path) == figures(tmp_path / "whole")


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    with pytest.raises(TinyRobustError, match="cannot read"):
        journal.read(tmp_path)
    with pytest.raises(LinkError):
        run(tmp_path, FakeSession(GRAPH, dies_after=0))
    with pytest.raises(TinyRobustError, match="no batch is recorded yet"):
        summarise(journal.read(tmp_path))


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(LinkError):
        run(tmp_path, FakeSession(GRAPH, dies_after=27))
    made = figures(tmp_path)
    assert not made["complete"]
    assert made["clean"]["samples"] == 20
    assert made["attacks"][0]["samples"] == 5
    assert made["worst"][0]["samples"] == 5


# -- the adversarial file --------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set")
    run(out)
    images, labels = samples(GRAPH)
    crafted_set(config(GRAPH), out, images, labels).save(out / "set.npz")
    return out / "set.npz"


def test_a_set_is_replayed_to_the_same_figures(saved: Path, tmp_path: Path) -> None:
    replay = AdversarialSet.load(saved)
    images, labels = samples(GRAPH)
    assert (replay.images == images).all()
    assert (replay.labels == labels).all()
    assert replay.header["graph_sha256"] == GRAPH.sha256
    run(tmp_path, replay=replay, config=config(GRAPH, adversarial_sha256="x"))
    again, first = figures(tmp_path), figures(saved.parent)
    assert [s["correct"] for s in again["attacks"]] == [s["correct"] for s in first["attacks"]]
    assert all(s["replayed"] and s["queries"] is None for s in again["attacks"])


def test_a_set_of_another_network_is_refused(saved: Path) -> None:
    with pytest.raises(TinyRobustError, match="was crafted on graph"):
        AdversarialSet.load(saved).check_graph(tiny_graph(1))


def test_a_set_outside_its_norm_is_refused(saved: Path, tmp_path: Path) -> None:
    whole = AdversarialSet.load(saved)
    far = {s: images.copy() for s, images in whole.crafted.items()}
    image = far[Series("noise", 2)]
    image[3, 1, 1, 0] = 0 if whole.images[3, 1, 1, 0] > 100 else 255
    AdversarialSet(whole.header, whole.images, whole.labels, far).save(tmp_path / "far.npz")
    with pytest.raises(TinyRobustError, match="'noise_eps2' is not within 2/255"):
        AdversarialSet.load(tmp_path / "far.npz")


def test_a_set_that_is_missing_or_no_set(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(TinyRobustError, match="cannot read"):
        AdversarialSet.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(TinyRobustError, match="damaged or truncated"):
        AdversarialSet.load(tmp_path / "other.npz")


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_set_is_one_error_or_the_same_set(saved: Path, data: st.DataObject) -> None:
    whole = saved.read_bytes()
    broken = bytearray(whole)
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        broken[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path = saved.with_name("broken.npz")
    path.write_bytes(broken)
    try:
        found = AdversarialSet.load(path)
    except TinyRobustError as error:
        assert "\n" not in error.message
        assert str(path) in error.message
        return
    reference = AdversarialSet.load(saved)
    assert (found.images == reference.images).all()
    assert all((found.crafted[s] == reference.crafted[s]).all() for s in reference.crafted)


# -- what the user asks for ------------------------------------------------------------------


def wish(**changes: Any) -> Wish:
    values: dict[str, Any] = {
        "task": None, "samples": 10, "attacks": ("noise",), "eps": (2, 8), "seed": 0,
        "adversarial": None,
    }  # fmt: skip
    return Wish(**(values | changes))


def test_a_wish_becomes_a_config() -> None:
    model = load_model("shapes-small")
    made = prepare(model, "host", "ab", wish())
    assert made.config.attacks == (Series("noise", 2), Series("noise", 8))
    assert made.config.samples == len(made.images) == 10
    assert made.config.parameters["noise_eps2"]
    other = prepare(model, "host", "ab", wish(seed=1))
    assert made.config.sha256 != other.config.sha256
    assert made.config.sha256 == prepare(model, "host", "ab", wish()).config.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ("noize",)}, "no attack 'noize'"),
        ({"eps": (0,)}, "eps 0 is not in"),
        ({"eps": (2, 300)}, "eps 300 is not in"),
        ({"task": "shape"}, "unknown task 'shape'"),
        ({"task": "cifar10"}, "the classes of task 'cifar10' .* are not those of model"),
        ({"samples": 10**6}, "4,000 test images"),
        ({"adversarial": Path("none.npz")}, "cannot read none.npz"),
    ],
)
def test_a_wrong_wish_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TinyRobustError, match=message):
        prepare(load_model("shapes-small"), "host", "ab", wish(**changes))


def test_a_model_is_found_by_its_task() -> None:
    assert choose_model(None, None).name == "shapes-small"
    assert choose_model(None, "shapes").graph.task == "shapes"
    with pytest.raises(TaskError, match="no model for task 'shipes'"):
        choose_model(None, "shipes")


@pytest.mark.parametrize(
    ("key", "series"),
    [
        ("clean", Series()), ("pgd_eps2", Series("pgd", 2)),
        ("my_attack_eps255", Series("my_attack", 255)),
        ("square_l2_eps127.5", Series("square", 127.5, "l2")),
        ("pgd_targeted_eps8", Series("pgd", 8, targeted=True)),
        ("apgd_dlr_l2_targeted_eps300", Series("apgd_dlr", 300, "l2", targeted=True)),
    ],
)  # fmt: skip
def test_a_series_key_goes_both_ways(key: str, series: Series) -> None:
    assert Series.parse(key) == series
    assert series.key == key


@pytest.mark.parametrize(("norm", "eps"), [("linf", 90), ("l2", 700.5)])
def test_targets_norms_and_queries_are_recorded(tmp_path: Path, norm: str, eps: float) -> None:
    wanted = (Series("apgd", eps, norm, targeted=True), Series("square", eps, norm),
              Series("carlini", eps, norm))  # fmt: skip
    run(tmp_path, config=config(GRAPH, attacks=wanted, steps=8, queries=15))
    made = summarise(journal.read(tmp_path))
    assert made["complete"]
    apgd, square, carlini = made["attacks"]
    assert apgd["title"] == "AutoPGD, targeted" and apgd["targeted"]
    assert 0 <= apgd["reached"] <= apgd["attacked"] == 17
    assert square["reached"] is None
    assert square["queries_max"] <= 15 and square["queries"] == square["queries_mean"] * 17
    assert square["oracle"]["asked"] >= square["queries"] and square["oracle"]["per_s"] > 0
    assert carlini["norms"]["l2"]["found"] + carlini["did_not_move"] == 17
    assert apgd["norm"] == norm and apgd["log"][0]["temperature"] == 1.0
    far = "distance_255" if norm == "linf" else "distance_l2"
    assert all(0 < s[far] <= eps for s in (apgd, square))
    (worst,) = made["worst"]
    assert worst["correct"] <= min(s["correct"] for s in made["attacks"])
    saved = crafted_set(
        config(GRAPH, attacks=wanted, steps=8, queries=15), tmp_path, *samples(GRAPH)
    )
    saved.save(tmp_path / "set.npz")
    assert set(AdversarialSet.load(tmp_path / "set.npz").crafted) == set(wanted)


@pytest.mark.parametrize("key", ["pgd", "_eps2", "pgd_eps", "pgd_eps256", "pgd_eps-1", "images"])
def test_a_wrong_series_key_is_refused(key: str) -> None:
    with pytest.raises(TinyRobustError):
        Series.parse(key)


def test_equal_configs_have_equal_hashes() -> None:
    one: Config = config(GRAPH)
    assert one.sha256 == config(GRAPH).sha256
    assert one.sha256 != config(GRAPH, attacks=(Series("noise", 2),)).sha256


def test_without_art_the_zoos_set_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "art" else real(name, *a)
    )
    model = load_model("shapes-small")
    made = prepare(model, "host", "ab", wish(attacks=None, eps=None))
    assert made.replay is not None and made.replay.header["graph_sha256"] == model.graph.sha256
    assert {s.key for s in made.config.attacks} == {
        "pgd_eps2", "pgd_eps8", "square_eps2", "square_eps8",
    }  # fmt: skip
    assert "ART is not installed" in made.notices[0]
    assert len(made.images) == 10
    chosen = prepare(model, "host", "ab", wish(attacks=None, eps=(8,)))
    assert [s.key for s in chosen.config.attacks] == ["pgd_eps8", "square_eps8"]
    with pytest.raises(TinyRobustError, match="has no fgsm; it holds pgd_eps2"):
        path = model.folder / "adversarial.npz"
        prepare(model, "host", "ab", wish(attacks=("fgsm",), eps=None, adversarial=path))


# -- gradient masking ------------------------------------------------------------------------


def attacked(
    attack: str, kind: str, eps: int, correct: int, strong: bool = False
) -> dict[str, Any]:
    return {
        "attack": attack, "title": attack, "kind": kind, "eps_255": eps, "correct": correct,
        "samples": 200, "strong": strong,
    }  # fmt: skip


def test_signs_of_gradient_masking_are_named() -> None:
    pgd = attacked("pgd", "white-box", 2, 100, strong=True)
    square = attacked("square", "black-box", 2, 90)
    noise = attacked("noise", "floor", 2, 180)
    assert masking.warnings([pgd, square | {"correct": 120}, noise]) == []
    (one,) = masking.warnings([pgd, square, noise])
    assert "gradients may be masked" in one
    assert "50.0 %" in one and "45.0 %" in one
    (two,) = masking.warnings([pgd | {"correct": 190, "strong": False}, noise])
    assert "weaker than noise" in two
    (three,) = masking.warnings([pgd, attacked("pgd", "white-box", 8, 110)])
    assert "does not fall with the size" in three
    fgsm = attacked("fgsm", "white-box", 2, 120)  # a single step may lose to a long search
    assert masking.warnings([fgsm, square]) == []
