"""Session over good and bad ports: results, baud rates, resets, speed, and every typed error."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
import time
import tty
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import serial

from tests import fake_device
from tests.fake_device import Device, Wire
from tests.patience import PATIENCE_S
from tinyrobust.device import Session, wire
from tinyrobust.device.framing import Decoder, Frame, encode
from tinyrobust.device.link import Link
from tinyrobust.errors import DeviceFault, LinkError, ProtocolError

PICTURES = fake_device.images(5)


@pytest.fixture
def device() -> Iterator[Device]:
    running = Device()
    yield running
    assert running.stop() == 0, "the device's sanitizers complained"


class PtyDevice:
    """The device process on a pseudo-terminal, as a board on a serial port."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._keep_open = slave
        program = str(fake_device.build())
        self.process = subprocess.Popen([program], stdin=self._master, stdout=self._master)

    def unplug(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for descriptor in (self._keep_open, self._master):
            if descriptor >= 0:
                os.close(descriptor)
        self._keep_open = self._master = -1


@pytest.fixture
def plugged() -> Iterator[PtyDevice]:
    board = PtyDevice()
    yield board
    board.unplug()


# -- results -------------------------------------------------------------------------------


def test_hello_says_who_answers(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        hello = session.hello
        assert (hello.board, hello.model, hello.input_shape) == ("fake-board", "fake", (32, 32, 3))
        assert hello.graph_sha256 == "abcd000102030405060708090000fffe" + "00" * 16
        assert hello.image_sha256 == session.image_hash() == fake_device.IMAGE_SHA256
        assert (hello.classes, hello.outputs[0].scale, hello.step_count) == (10, 8.0, 4)
        assert hello.is_virtual and hello.clock_hz == 1_000_000
        assert hello.protocol_version == wire.VERSION
        assert hello.max_batch > 1


def test_results_are_the_models(device: Device) -> None:
    seen: list[tuple[int, int]] = []
    with Session.over(Wire(device)) as session:
        batch = session.infer_many(
            PICTURES, progress=lambda done, total: seen.append((done, total))
        )
        assert np.array_equal(batch.scores, fake_device.scores(PICTURES))
        assert np.array_equal(batch.labels, batch.scores.argmax(axis=1))
        assert (batch.cycles > 0).all()
        one = session.infer(PICTURES[2])
        assert np.array_equal(one.scores, batch.scores[2]) and one.label == batch.labels[2]
        assert session.retries == 0
    assert seen == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_an_inference_is_not_given_again_after_65536_requests(
    device: Device, count: int
) -> None:
    """The device would take the new input for a repetition, and answer with the old outputs."""
    with Session.over(Wire(device)) as session:
        link = session._link
        session.infer_many(PICTURES[:count])
        link._sequence -= 1  # as it stands after 65,535 requests that are no inferences
        found = session.infer(PICTURES[4]).scores
        assert np.array_equal(found, fake_device.scores(PICTURES[4:])[0])
        assert session.retries == 0


def test_an_empty_batch_is_empty(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        batch = session.infer_many(PICTURES[:0])
        assert batch.scores.shape == (0, 10)


def test_trace_gives_every_steps_tensor(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        traced = session.trace(PICTURES[3])
        expected = fake_device.tensors(PICTURES[3])
        assert list(traced) == list(expected)
        for name, values in expected.items():
            assert np.array_equal(traced[name], values), name
        assert np.array_equal(session.infer(PICTURES[3]).scores, expected["score"])


def test_layer_cycles_belong_to_the_last_inference(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        with pytest.raises(ProtocolError, match="no layer cycles yet"):
            session.layer_cycles()
        total = session.infer(PICTURES[0]).cycles
        layers = session.layer_cycles()
        assert [name for name, _ in layers] == ["mix", "sum", "narrow", "score"]
        assert 0 < sum(cycles for _, cycles in layers) <= total
        session.trace(PICTURES[0])
        with pytest.raises(ProtocolError, match="no layer cycles yet"):
            session.layer_cycles()


def test_layer_cycles_after_a_needless_repetition_are_of_the_last_image(device: Device) -> None:
    """The device is made to run an older image last; it must run the right one again."""
    line = Wire(device)
    with Session.over(line, baud=115200) as session:
        session.infer(PICTURES[1])
        older = [frame for way, frame in line.recorded if way == "out"][-4:]
        session.infer(PICTURES[2])
        line.write(b"".join(older))
        before = session.link_stats().frames
        assert [name for name, _ in session.layer_cycles()] == ["mix", "sum", "narrow", "score"]
        assert session.link_stats().frames - before > 5, "the image was not run again"


def test_memory_marks_and_statistics(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        marks = session.memory()
        assert (marks.stack_bytes, marks.stack_used_bytes) == (256, 96)
        assert marks.arena_bytes == 5160 and marks.image_bytes == 100
        assert 2000 < marks.buffer_bytes < 3000
        stats = session.link_stats()
        assert stats.frames >= 4
        assert (stats.crc_errors, stats.overflows, stats.malformed) == (0, 0, 0)


def test_images_of_another_shape_are_refused(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        with pytest.raises(ProtocolError, match="the device's model takes uint8"):
            session.infer(PICTURES[0][:16])
        with pytest.raises(ProtocolError, match="float32"):
            session.infer_many(PICTURES.astype(np.float32))  # type: ignore[arg-type]


def test_another_image_is_named(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        session.check_image(fake_device.IMAGE_SHA256.upper())
        with pytest.raises(ProtocolError, match="runs another image") as caught:
            session.check_image("0" * 64)
        assert "tinyrobust flash" in caught.value.hint


# -- baud rates and reset ------------------------------------------------------------------


def test_the_boards_highest_rate_is_negotiated_and_left_again(device: Device) -> None:
    line = Wire(device)
    with Session.over(line) as session:
        assert session.baud == line.baud == line.device_baud == 2_000_000
        session.infer(PICTURES[0])
    for _ in range(100):  # the device's report of the change comes behind its reply
        if line.device_baud != wire.BAUD_BASE:
            line.read()
    assert line.device_baud == wire.BAUD_BASE


def test_a_wanted_rate_is_taken(device: Device) -> None:
    with Session.over(Wire(device), baud=460800) as session:
        assert session.baud == 460800
    with Session.over(Wire(device), baud=115200) as session:
        assert session.baud == 115200


def test_a_rate_above_the_boards_is_refused(device: Device) -> None:
    with pytest.raises(ProtocolError, match=r"refused set-baud: value out of range \(2000000\)"):
        Session.over(Wire(device), baud=3_000_000)


def test_a_rate_that_the_port_cannot_gives_way_to_the_next(device: Device) -> None:
    line = Wire(device)
    line.rates_refused = {2_000_000, 1_500_000}
    with Session.over(line) as session:
        assert session.baud == 1_000_000


def test_a_rate_that_does_not_work_is_left_by_both(device: Device) -> None:
    """The cable carries nothing above 1 Mbaud: the device falls back on its own clock."""
    line = Wire(device, lambda way, index, data: [] if line.baud > 1_000_000 else [data])
    with Session.over(line, baud=115200, timeout_s=0.1) as session:
        assert session.negotiate(2_000_000) == 115200
        assert line.baud == line.device_baud == 115200
        assert np.array_equal(session.infer(PICTURES[1]).scores, fake_device.scores(PICTURES)[1])


def test_a_device_left_at_a_high_rate_is_found(device: Device) -> None:
    killed = Wire(device)
    Session.over(killed, timeout_s=0.2)  # never closed
    line = Wire(device)
    line.device_baud = killed.device_baud
    assert line.device_baud == 2_000_000
    with Session.over(line, timeout_s=0.1) as session:
        session.infer(PICTURES[0])


def test_reset_restarts_the_device(device: Device) -> None:
    with Session.over(Wire(device)) as session:
        session.infer_many(PICTURES)
        frames = session.link_stats().frames
        session.reset()
        assert session.link_stats().frames < frames
        assert session.baud == 2_000_000
        with pytest.raises(ProtocolError, match="no layer cycles yet"):
            session.layer_cycles()
        session.infer(PICTURES[0])


def test_a_board_that_is_deaf_while_it_computes_gets_one_image_at_a_time() -> None:
    device = Device(real_board=True)
    with Session.over(Wire(device)) as session:
        assert not session.hello.is_virtual
        assert session.hello.max_batch == 1
        batch = session.infer_many(PICTURES)
        assert np.array_equal(batch.scores, fake_device.scores(PICTURES))
    assert device.stop() == 0


def test_a_fault_report_becomes_a_device_fault(device: Device) -> None:
    report: list[str] = []
    line = Wire(device, lambda way, index, data: [] if report else [data])

    def fault() -> str | None:
        return report[0] if report else None

    with Session.over(line, fault=fault, timeout_s=PATIENCE_S) as session:
        session.infer(PICTURES[0])
        report.append("HardFault in conv2d at 0x0800123A")
        started = time.monotonic()
        with pytest.raises(DeviceFault, match="HardFault in conv2d"):
            session.infer(PICTURES[0])
        assert time.monotonic() - started < PATIENCE_S, "no need to wait for the timeout"


# -- what the device refuses ---------------------------------------------------------------


def ask(line: Wire, frame: Frame) -> Frame:
    """Send a raw frame; the first that comes back."""
    line.write(encode(frame))
    decoder = Decoder()
    for _ in range(100):
        for answer in decoder.feed(line.read()):
            return answer
    raise AssertionError("the device did not answer")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(wire.HELLO, 7, 5, version=1), wire.E_VERSION),
        (Frame(0x7E, 7, 5), wire.E_COMMAND),
        (Frame(wire.HELLO, 7, 5, b"x"), wire.E_LENGTH),
        (Frame(wire.HELLO, 7, 0), wire.E_SESSION),
        (Frame(wire.MEMORY, 7, 6), wire.E_SESSION),
        (Frame(wire.PUT, 7, 5, b"\0\0\0\0"), wire.E_LENGTH),
        (Frame(wire.PUT, 7, 5, (3072).to_bytes(4, "little") + b"x"), wire.E_VALUE),
        (Frame(wire.PUT, 7, 5, (0xFFFFFFFF).to_bytes(4, "little") + b"xx"), wire.E_VALUE),
        (Frame(wire.PUT, 7, 5, bytes(4 + wire.CHUNK_BYTES + 1)), wire.E_LENGTH),
        (Frame(wire.INFER, 7, 5, bytes(8)), wire.E_VALUE),
        (Frame(wire.INFER, 7, 5, (3072).to_bytes(8, "little")), wire.E_INCOMPLETE),
        (Frame(wire.TRACE, 7, 5, bytes(8) + b"\0\0\4\0"), wire.E_VALUE),
        (Frame(wire.TRACE, 7, 5, bytes(8) + b"\2\0\1\0"), wire.E_VALUE),
        (Frame(wire.STEPS, 7, 5, b"\4\0"), wire.E_VALUE),
        (Frame(wire.GET, 7, 5, b"\0\0\1\0\0\0\0\0"), wire.E_NOT_READY),
        (Frame(wire.GET, 7, 5, b"\0\0\0\0\0\0\0\0"), wire.E_VALUE),
        (Frame(wire.GET, 7, 5, b"\0\0\2\0\0\0\0\0"), wire.E_VALUE),
        (Frame(wire.TENSORS, 7, 5, b"\0\0\1\0"), wire.E_VALUE),
        (Frame(wire.TENSORS, 7, 5, b"\2\0\0\0"), wire.E_VALUE),
        (Frame(wire.TENSORS, 7, 5, b"\3\0\0\0"), wire.E_VALUE),
        (Frame(wire.SET_BAUD, 7, 5, (300).to_bytes(4, "little")), wire.E_VALUE),
        (Frame(wire.SET_BAUD, 7, 5, (0xFFFFFFFF).to_bytes(4, "little")), wire.E_VALUE),
    ],
)
def test_bad_requests_get_their_error(device: Device, frame: Frame, code: int) -> None:
    line = Wire(device)
    assert ask(line, Frame(wire.HELLO, 1, 5)).type == wire.HELLO | wire.REPLY
    answer = ask(line, frame)
    assert (answer.type, answer.sequence, answer.session) == (wire.ERROR, 7, frame.session)
    assert tuple(answer.payload[:2]) == (code, frame.type)


def test_an_inference_runs_once_and_its_outputs_last_until_the_next_input(device: Device) -> None:
    line = Wire(device)
    ask(line, Frame(wire.HELLO, 1, 5))
    picture = fake_device.images(2)[1]
    data = picture.tobytes()
    check = len(data).to_bytes(4, "little") + zlib.crc32(data).to_bytes(4, "little")

    def put(sequence: int) -> None:
        for at in range(0, len(data), wire.CHUNK_BYTES):
            piece = at.to_bytes(4, "little") + data[at : at + wire.CHUNK_BYTES]
            line.write(encode(Frame(wire.PUT, sequence, 5, piece)))

    get = (7).to_bytes(2, "little") + bytes([wire.OUTPUTS, 0]) + (8).to_bytes(4, "little")
    put(7)
    first = ask(line, Frame(wire.INFER, 7, 5, check))
    assert np.array_equal(
        np.frombuffer(first.payload[8:], "<i4"), fake_device.scores(picture[None])[0]
    )
    put(7)  # the answer was lost: everything comes again
    again = ask(line, Frame(wire.INFER, 7, 5, check))
    assert again.payload == first.payload, "the same cycles too: it did not run a second time"
    assert ask(line, Frame(wire.GET, 8, 5, get)).payload == first.payload[16:]
    line.write(encode(Frame(wire.PUT, 9, 5, bytes(4) + data[:9])))  # another input begins
    assert ask(line, Frame(wire.GET, 10, 5, get)).payload[0] == wire.E_NOT_READY
    assert ask(line, Frame(wire.INFER, 7, 5, check)).payload[0] == wire.E_INCOMPLETE


def test_no_flipped_bit_gets_past_the_devices_crc(device: Device) -> None:
    line = Wire(device)
    ask(line, Frame(wire.HELLO, 1, 5))
    good = encode(Frame(wire.PING, 2, 5, b"abc"))
    for at in range(1, len(good) - 1):
        for bit in (0x01, 0x80):
            line.write(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
    answer = ask(line, Frame(wire.LINK_STATS, 3, 5))
    assert answer.sequence == 3, "a damaged frame was answered"
    stats = wire.parse_link_stats(answer.payload)
    assert stats.frames == 2 and stats.crc_errors > 20 and stats.malformed > 5


def test_a_frame_that_is_too_long_is_dropped_and_counted(device: Device) -> None:
    line = Wire(device)
    ask(line, Frame(wire.HELLO, 1, 5))
    line.write(b"\0" + b"\x01" * 5000 + b"\0")
    stats = wire.parse_link_stats(ask(line, Frame(wire.LINK_STATS, 3, 5)).payload)
    assert (stats.frames, stats.overflows) == (2, 1)


def test_a_piece_behind_a_gap_is_not_taken(device: Device) -> None:
    line = Wire(device)
    ask(line, Frame(wire.HELLO, 1, 5))
    data = PICTURES[1].tobytes()
    check = len(data).to_bytes(4, "little") + zlib.crc32(data).to_bytes(4, "little")
    for at in (0, 2048):
        line.write(encode(Frame(wire.PUT, 9, 5, at.to_bytes(4, "little") + data[at : at + 1024])))
    answer = ask(line, Frame(wire.INFER, 9, 5, check))
    assert (answer.type, answer.payload[0]) == (wire.ERROR, wire.E_INCOMPLETE)
    assert int.from_bytes(answer.payload[4:], "little") == 1024
    for at in (1024, 2048):
        line.write(encode(Frame(wire.PUT, 9, 5, at.to_bytes(4, "little") + data[at : at + 1024])))
    assert ask(line, Frame(wire.INFER, 9, 5, check)).type == wire.INFER | wire.REPLY


def test_a_reply_to_an_older_question_does_not_count(device: Device) -> None:
    line = Wire(device)
    link = Link(line, timeout_s=1.0)
    link.new_session()
    link.call(wire.HELLO)
    line.fault = lambda way, index, data: [data, data] if way == "in" else [data]
    assert [link.call(wire.PING, text) for text in (b"1", b"2", b"3")] == [b"1", b"2", b"3"]
    assert link.retries == 0


def test_a_lost_answer_among_many_needs_no_timeout(device: Device) -> None:
    lost: list[int] = []

    def lose_one(way: str, index: int, data: bytes) -> list[bytes]:
        if way == "in" and index > 6 and not lost:
            lost.append(index)
            return []
        return [data]

    line = Wire(device, lose_one)
    pictures = fake_device.images(20)
    with Session.over(line, timeout_s=PATIENCE_S) as session:
        started = time.monotonic()
        batch = session.infer_many(pictures)
        assert time.monotonic() - started < PATIENCE_S
        assert lost and session.retries == 1
    assert np.array_equal(batch.scores, fake_device.scores(pictures))


def test_an_input_with_another_crc_is_not_run(device: Device) -> None:
    line = Wire(device)
    ask(line, Frame(wire.HELLO, 1, 5))
    data = PICTURES[1].tobytes()
    for at in range(0, 3072, 1024):
        line.write(encode(Frame(wire.PUT, 9, 5, at.to_bytes(4, "little") + data[at : at + 1024])))
    answer = ask(line, Frame(wire.INFER, 9, 5, (3072).to_bytes(4, "little") + b"\1\2\3\4"))
    assert (answer.type, answer.payload[0]) == (wire.ERROR, wire.E_IMAGE_CRC)
    again = ask(line, Frame(wire.INFER, 9, 5, (3072).to_bytes(4, "little") + b"\1\2\3\4"))
    assert again.payload[0] == wire.E_INCOMPLETE


def test_another_protocol_version_is_named(device: Device) -> None:
    refusal = bytes([wire.E_VERSION, wire.HELLO, 0, 0, 1, 0, 0, 0])

    def older(way: str, index: int, data: bytes) -> list[bytes]:
        if way == "out":
            return [data]
        [frame] = Decoder().feed(data)
        return [encode(Frame(wire.ERROR, frame.sequence, frame.session, refusal, version=1))]

    with pytest.raises(
        ProtocolError, match=r"speaks protocol 1, this tinyrobust 2.*flash firmware"
    ):
        Session.over(Wire(device, older))


# -- real ports ----------------------------------------------------------------------------


def test_a_pseudo_terminal_carries_images(plugged: PtyDevice) -> None:
    """How many a second: ``python -m benchmarks.link_rate``."""
    pictures = fake_device.images(150)
    with Session.open(plugged.port) as session:
        assert session.baud == 2_000_000
        batch = session.infer_many(pictures)
    assert np.array_equal(batch.scores, fake_device.scores(pictures))


def test_a_port_that_does_not_exist() -> None:
    with pytest.raises(LinkError, match="/dev/ttyNOT0 does not exist") as caught:
        Session.open("/dev/ttyNOT0")
    assert "tinyrobust doctor" in caught.value.hint


def test_a_port_in_use(plugged: PtyDevice) -> None:
    with (
        serial.Serial(plugged.port, exclusive=True),
        pytest.raises(LinkError, match="in use by another program"),
    ):
        Session.open(plugged.port)


def test_a_port_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may open anything, so the refusal comes from where pyserial would meet it."""

    def refuse(*arguments: object, **options: object) -> int:
        raise PermissionError(13, "Permission denied", "/dev/ttyACM0")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError, match="no permission") as caught:
        Session.open("/dev/ttyACM0")
    assert "dialout" in caught.value.hint


def test_a_file_is_not_a_port(tmp_path: Path) -> None:
    file = tmp_path / "image.bin"
    file.write_bytes(b"\0")
    with pytest.raises(LinkError, match="cannot open serial port"):
        Session.open(str(file))


def test_a_port_where_nobody_answers() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        with pytest.raises(LinkError, match="no answer to hello"):
            Session.open(os.ttyname(slave), timeout_s=0.05)
    finally:
        os.close(master)
        os.close(slave)


def test_unplugged_in_mid_run(plugged: PtyDevice) -> None:
    pictures = fake_device.images(4000)
    with Session.open(plugged.port, timeout_s=1.0) as session:
        timer = threading.Timer(0.1, plugged.unplug)
        timer.start()
        with pytest.raises(LinkError, match=r"is gone|no answer"):
            session.infer_many(pictures)
        timer.join()


def test_a_second_session_follows_the_first(plugged: PtyDevice) -> None:
    for _ in range(3):
        with Session.open(plugged.port) as session:
            session.infer(PICTURES[0])
