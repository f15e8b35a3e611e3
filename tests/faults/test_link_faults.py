"""Every kind of fault at every frame of a whole conversation: the same results, or a typed error.

One conversation (hello, hash, baud change, a batch, layer cycles, a trace, memory) is recorded over
a good wire; then it is repeated with one fault at each place, as littlefs does with its writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests import fake_device
from tests.fake_device import Device, Fault, Frames, Wire
from tinyrobust.device import Session
from tinyrobust.errors import DeviceFault, LinkError, ProtocolError

TIMEOUT_S = 0.12
PICTURES = fake_device.images(7, seed=3)
SCORES = fake_device.scores(PICTURES)
TENSORS = fake_device.tensors(PICTURES[4])


def converse(wire: Wire) -> None:
    """The whole conversation; asserts that every result is right."""
    with Session.over(wire, timeout_s=TIMEOUT_S) as session:
        assert session.hello.image_sha256 == fake_device.IMAGE_SHA256
        batch = session.infer_many(PICTURES)
        assert np.array_equal(batch.scores, SCORES)
        assert np.array_equal(batch.labels, SCORES.argmax(axis=1))
        assert [name for name, _ in session.layer_cycles()] == list(TENSORS)
        traced = session.trace(PICTURES[4])
        assert all(np.array_equal(traced[name], TENSORS[name]) for name in TENSORS)
        assert session.memory().stack_used_bytes == 96


@pytest.fixture
def device() -> Iterator[Device]:
    running = Device()
    yield running
    assert running.stop() == 0, "the device's sanitizers complained"


def at(direction: str, index: int, change: Callable[[bytes], Frames]) -> Fault:
    """``change`` applied to one frame; the others pass."""

    def fault(d: str, i: int, data: bytes) -> Frames:
        return change(data) if (d, i) == (direction, index) else [data]

    return fault


def flip(data: bytes) -> Frames:
    changed = bytearray(data)
    changed[len(data) // 2] ^= 0x10
    return [bytes(changed)]


def flip_to_zero(data: bytes) -> Frames:
    changed = bytearray(data)
    changed[len(data) // 3] = 0
    return [bytes(changed)]


KINDS: dict[str, Callable[[bytes], Frames]] = {
    "lost": lambda data: [],
    "doubled": lambda data: [data, data],
    "flipped": flip,
    "split by a zero": flip_to_zero,
    "cut": lambda data: [data[: len(data) // 2]],
    "without its last byte": lambda data: [data[:-2]],
    "noise before": lambda data: [b"\x01\x02\xff" * 900, data],
    "noise after": lambda data: [data, b"\x7f\x00\x41" * 50],
}


def places() -> list[tuple[str, int]]:
    """(direction, frame index) of the good conversation; the device has all of it to itself."""
    running = Device()
    wire = Wire(running)
    converse(wire)
    assert running.stop() == 0
    return [(way, index) for way in ("out", "in") for index in range(wire.counts[way])]


@pytest.fixture(scope="module")
def all_places() -> list[tuple[str, int]]:
    found = places()
    assert len(found) > 60
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_at_a_few_places(
    kind: str, device: Device, all_places: list[tuple[str, int]]
) -> None:
    first = random.Random(kind).randrange(13)
    for direction, index in all_places[first::13]:
        device.restart()
        converse(Wire(device, at(direction, index, KINDS[kind])))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_at_every_place(
    kind: str, device: Device, all_places: list[tuple[str, int]]
) -> None:
    for direction, index in all_places:
        device.restart()
        wire = Wire(device, at(direction, index, KINDS[kind]))
        converse(wire)
        assert wire.counts[direction] > index, "the fault never came to pass"


def test_a_frame_of_long_ago_comes_again(device: Device, all_places: list[tuple[str, int]]) -> None:
    """A stale copy arrives any time later: old requests and old replies must not count."""
    for seed in range(6):
        rng = random.Random(seed)
        seen: dict[str, Frames] = {"out": [], "in": []}

        def fault(
            direction: str,
            index: int,
            data: bytes,
            rng: random.Random = rng,
            seen: dict[str, Frames] = seen,
        ) -> Frames:
            seen[direction].append(data)
            old = rng.choice(seen[direction])
            return [old, data] if rng.random() < 0.3 else [data]

        device.restart()
        attempt(Wire(device, fault))


def attempt(wire: Wire) -> str:
    """The conversation ends well, or with a typed error: its name."""
    try:
        converse(wire)
    except (LinkError, ProtocolError, DeviceFault) as error:
        assert error.message
        return type(error).__name__
    return "fine"


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_many_faults_at_once(device: Device, rate: float) -> None:
    outcomes = []
    for seed in range(5):
        rng = random.Random(seed)

        def fault(direction: str, index: int, data: bytes, rng: random.Random = rng) -> Frames:
            if rng.random() > rate:
                return [data]
            return KINDS[rng.choice(list(KINDS))](data)

        device.restart()
        outcomes.append(attempt(Wire(device, fault)))
    assert "fine" in outcomes


def test_a_reset_in_mid_run_is_noticed(device: Device, all_places: list[tuple[str, int]]) -> None:
    outcomes = set()
    for index in range(2, sum(way == "out" for way, _ in all_places), 9):
        device.restart()

        def power_cut(data: bytes) -> Frames:
            device.restart()
            return [data]

        outcomes.add(attempt(Wire(device, at("out", index, power_cut))))
    assert "DeviceFault" in outcomes
    assert outcomes <= {"DeviceFault", "fine", "LinkError"}


def test_a_device_that_falls_silent_is_a_link_error(device: Device) -> None:
    wire = Wire(device, lambda way, index, data: [data] if index < 10 else [])
    with pytest.raises(LinkError, match="no answer to"):
        converse(wire)


def test_something_else_on_the_port_is_a_protocol_error(device: Device) -> None:
    wire = Wire(
        device, lambda way, index, data: [data] if way == "out" else [b"login: \x00 hi\x00"]
    )
    with pytest.raises(ProtocolError, match="not with tinyrobust's protocol"):
        Session.over(wire, timeout_s=0.05)
