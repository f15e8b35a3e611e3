"""Frames on the wire: COBS, CRC, the decoder; the constants of both sides; the specification."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyrobust import resources
from tinyrobust.device import framing, wire
from tinyrobust.device.framing import Decoder, Frame
from tinyrobust.errors import ProtocolError

# Cheshire and Baker's examples, as Wikipedia lists them (unencoded, encoded without the delimiter).
COBS_EXAMPLES = [
    (b"", b"\x01"),
    (b"\x00", b"\x01\x01"),
    (b"\x00\x00", b"\x01\x01\x01"),
    (b"\x00\x11\x00", b"\x01\x02\x11\x01"),
    (b"\x11\x22\x00\x33", b"\x03\x11\x22\x02\x33"),
    (b"\x11\x22\x33\x44", b"\x05\x11\x22\x33\x44"),
    (b"\x11\x00\x00\x00", b"\x02\x11\x01\x01\x01"),
    (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
    (bytes(range(255)), b"\x01\xff" + bytes(range(1, 255))),
    (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
    (bytes(range(2, 256)) + b"\x00", b"\xff" + bytes(range(2, 256)) + b"\x01\x01"),
    (bytes(range(3, 256)) + b"\x00\x01", b"\xfe" + bytes(range(3, 256)) + b"\x02\x01"),
]

frames = st.builds(
    Frame,
    type=st.integers(0, 255),
    sequence=st.integers(0, 0xFFFF),
    session=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=wire.MAX_PAYLOAD),
)


@pytest.mark.parametrize(("plain", "encoded"), COBS_EXAMPLES)
def test_cobs_examples(plain: bytes, encoded: bytes) -> None:
    assert framing.cobs_encode(plain) == encoded
    assert framing.cobs_decode(encoded) == plain


@given(st.lists(st.sampled_from([b"\0", b"\1", b"\xff" * 254, b"\7" * 253]), max_size=8))
def test_cobs_round_trip_around_block_borders(pieces: list[bytes]) -> None:
    plain = b"".join(pieces)
    encoded = framing.cobs_encode(plain)
    assert 0 not in encoded
    assert len(encoded) <= len(plain) + 1 + len(plain) // 254
    assert framing.cobs_decode(encoded) == plain


@given(st.lists(frames, max_size=4), st.data())
def test_frames_survive_any_cutting_of_the_stream(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(framing.encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder = Decoder()
    got = [
        frame
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for frame in decoder.feed(stream[start:end])
    ]
    assert got == sent
    assert decoder.bad == 0


@given(frames, st.data())
def test_no_single_changed_byte_passes(frame: Frame, data: st.DataObject) -> None:
    encoded = bytearray(framing.encode(frame))
    at = data.draw(st.integers(1, len(encoded) - 2))
    encoded[at] ^= data.draw(st.integers(1, 255))
    decoder = Decoder()
    assert decoder.feed(bytes(encoded)) == []
    assert decoder.bad >= 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=5), frames)
def test_noise_neither_raises_nor_hides_what_follows(noise: list[bytes], frame: Frame) -> None:
    decoder = Decoder()
    for piece in noise:
        decoder.feed(piece)
    assert decoder.feed(framing.encode(frame))[-1:] == [frame]


def test_endless_noise_without_a_zero_is_not_kept() -> None:
    decoder = Decoder()
    for _ in range(100):
        decoder.feed(b"\x55" * 10_000)
    assert len(decoder._rest) < 5000


def test_a_payload_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 1040"):
        framing.encode(Frame(1, 1, 1, bytes(wire.MAX_PAYLOAD + 1)))


def test_constants_equal_the_firmwares() -> None:
    header = (resources.root() / "firmware/protocol/wire.h").read_text()
    device = {
        name: int(value, 0)
        for name, value in re.findall(r"#define TR_WIRE_(\w+) (\w+)$", header, re.MULTILINE)
    }
    host = {
        name: value
        for name, value in vars(wire).items()
        if name.isupper() and isinstance(value, int)
    }
    assert device == host
    assert len(device) == header.count("#define TR_WIRE_") - 1, "one is the include guard"


def test_the_specification_names_every_command_and_error() -> None:
    text = (resources.root() / "firmware/protocol/PROTOCOL.md").read_text()
    for name in wire.COMMAND_NAMES.values():
        constant = name.upper().replace("-", "_")
        assert f"### {vars(wire)[constant]:#04x} {constant}" in text
    for name, value in vars(wire).items():
        if name.startswith("E_"):
            assert re.search(rf"^\| {value} \| {name}\b", text, re.MULTILINE), name


PARSERS = [
    wire.parse_hello,
    wire.parse_inference,
    wire.parse_tensors,
    wire.parse_steps,
    wire.parse_layer_cycles,
    wire.parse_memory,
    wire.parse_link_stats,
    wire.parse_image_hash,
    wire.parse_trace_data,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(payload=st.binary(max_size=120))
def test_any_payload_parses_or_is_a_protocol_error(parse: object, payload: bytes) -> None:
    assert callable(parse)
    try:
        parse(payload)
    except ProtocolError as error:
        assert error.message


def test_an_answer_that_says_more_than_it_holds_is_refused() -> None:
    good = (7).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    assert wire.parse_inference(good) == (7, 3, b"abc")
    with pytest.raises(ProtocolError, match="2 of 3 bytes"):
        wire.parse_inference(good[:-1])
    with pytest.raises(ProtocolError, match="4 of 3 bytes"):
        wire.parse_inference(good + b"d")


def test_integers_of_tensors_that_lie_end_to_end() -> None:
    tensors = [wire.Tensor("a", 1, (2,), 1.0, 0), wire.Tensor("b", 2, (1, 2), 1.0, 0)]
    found = wire.integers(tensors, bytes([255, 1, 0, 128, 255, 127]))
    assert found.tolist() == [-1, 1, -32768, 32767]
    assert wire.integers([], b"").size == 0
