"""Attacks that ask a board: what a reset, a silence or a dead board does to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fake_device
from tests.evaluation import GRAPH, FakeSession, config, samples
from tests.fake_device import Device, Frames, Wire
from tinyrobust import attacks
from tinyrobust.attacks import DeviceOracle, GraphVictim
from tinyrobust.device import Session
from tinyrobust.errors import DeviceFault, LinkError, ProtocolError
from tinyrobust.evaluate import Series, evaluate, summarise

PICTURES = fake_device.images(6)


@pytest.fixture
def device() -> Iterator[Device]:
    running = Device()
    yield running
    assert running.stop() == 0, "the device's sanitizers complained"


def cuts(device: Device, places: set[int]) -> Any:
    """Power cuts at these frames on their way to the device."""

    def fault(direction: str, index: int, data: bytes) -> Frames:
        if direction == "out" and index in places:
            places.remove(index)
            device.restart()
        return [data]

    return fault


@pytest.mark.parametrize("where", [12, 20, 31])
def test_a_board_that_is_reset_in_mid_attack_is_asked_again(device: Device, where: int) -> None:
    with Session.over(Wire(device, cuts(device, {where})), timeout_s=0.2) as session:
        oracle = DeviceOracle(session, session.reconnect)
        for _ in range(4):
            assert (oracle(PICTURES) == fake_device.scores(PICTURES)).all()
        assert oracle.retried == 1


def test_a_board_that_resets_again_and_again_is_an_error(device: Device) -> None:
    wire = Wire(device, cuts(device, set(range(8, 2000, 3))))
    with pytest.raises((DeviceFault, LinkError, ProtocolError)) as caught:  # noqa: SIM117
        with Session.over(wire, timeout_s=0.1) as session:
            oracle = DeviceOracle(session, session.reconnect)
            for _ in range(20):
                assert (oracle(PICTURES) == fake_device.scores(PICTURES)).all()
    assert caught.value.hint


def test_without_a_way_to_meet_it_again_the_first_fault_counts(device: Device) -> None:
    with Session.over(Wire(device), timeout_s=0.2) as session:
        oracle = DeviceOracle(session)
        oracle(PICTURES)
        device.restart()
        with pytest.raises((DeviceFault, LinkError)):
            oracle(PICTURES)


class Resetting(FakeSession):
    """A board that is reset at chosen questions; ``reconnect`` works so often."""

    def __init__(self, faults: set[int], comes_back: int) -> None:
        super().__init__(GRAPH)
        self.asked = 0
        self._faults, self._comes_back = faults, comes_back

    def infer_many(self, images: Any) -> Any:
        self.asked += 1
        if self.asked in self._faults:
            raise DeviceFault("the device was reset in mid-run", "run again")
        return super().infer_many(images)

    def reconnect(self) -> Any:
        self._comes_back -= 1
        if self._comes_back < 0:
            raise LinkError("the port is gone", "plug it in")
        return self


ATTACKS = (Series("square", 8), Series("noise", 8))


def run(out: Path, session: Any) -> dict[str, Any]:
    images, labels = samples(GRAPH)
    chosen = config(GRAPH, attacks=ATTACKS, oracle="device", queries=12)
    victim = GraphVictim(GRAPH, DeviceOracle(session, session.reconnect))
    journal = evaluate(chosen, GRAPH, images, labels, session, out, victim=victim)
    made = summarise(journal.records)
    for series in [made["clean"], *made["attacks"]]:
        for key in ("device_s", "craft_s", "oracle"):
            series.pop(key, None)
    return {key: made[key] for key in ("clean", "attacks", "worst", "complete", "masking")}


def test_an_evaluation_survives_resets_and_resumes_after_the_board_is_lost(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", Resetting(set(), 0))
    assert whole["complete"]
    # Questions 1 to 5: clean batches and the layers' cycles; from 6 on the attack asks.
    assert run(tmp_path / "resets", Resetting({8, 15}, 2)) == whole
    with pytest.raises(LinkError, match="the port is gone"):
        run(tmp_path / "cut", Resetting({30}, 0))
    second = Resetting(set(), 0)
    assert run(tmp_path / "cut", second) == whole
    fresh = Resetting(set(), 0)
    run(tmp_path / "fresh", fresh)
    assert second.asked < fresh.asked  # finished batches were not attacked again


def test_the_device_as_oracle_gives_the_interpreters_images() -> None:
    images, labels = samples(GRAPH, 10)
    session = FakeSession(GRAPH)
    for name in ("square", "zoo"):
        made = [
            attacks.get(name).run(
                GraphVictim(GRAPH, oracle), images, labels, eps_255=8, seed=0,
                settings=attacks.Settings(queries=20),
            )
            for oracle in (None, DeviceOracle(session))
        ]  # fmt: skip
        assert np.array_equal(made[0].images, made[1].images)
        assert np.array_equal(made[0].queries, made[1].queries)
    assert session.shown > 20


@pytest.mark.attacks
@pytest.mark.parametrize("name", ["hopskipjump", "boundary"])
def test_a_lost_board_ends_the_lockstep_and_leaves_nothing_behind(name: str) -> None:
    images, labels = samples(GRAPH, 10)
    session = Resetting({5}, 0)
    victim = GraphVictim(GRAPH, DeviceOracle(session))
    threads, state = threading.active_count(), np.random.get_state()[1].copy()
    with pytest.raises(DeviceFault):
        attacks.get(name).run(
            victim, images, labels, eps_255=8, seed=0, settings=attacks.Settings(queries=50)
        )
    assert threading.active_count() == threads
    assert (np.random.get_state()[1] == state).all()
