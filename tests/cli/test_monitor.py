"""``monitor``: bytes become frames, text or hex, whatever the pieces; both directions pass."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import PATIENCE_S
from tests.virtual.sinner import firmware
from tinyrobust import boards, device, virtual
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.device import wire
from tinyrobust.device.describe import Describer
from tinyrobust.device.framing import Frame, encode
from tinyrobust.device.monitor import Event, Known, Monitor
from tinyrobust.device.splitter import Piece, Raw, Splitter, Text
from tinyrobust.device.transport import SerialTransport
from tinyrobust.errors import DeviceFault, LinkError
from tinyrobust.virtual.faults import Symbols
from tinyrobust.virtual.terminal import Terminal

# -- what bytes are ------------------------------------------------------------------------

FRAMES = st.builds(
    Frame, st.integers(0, 255), st.integers(0, 65535), st.integers(1, 2**32 - 1),
    st.binary(max_size=300),
)  # fmt: skip
LINES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=2,
                max_size=60).map(Text)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(FRAMES | LINES, max_size=8), st.data())
def test_any_pieces_give_the_same(sent: list[Piece], data: st.DataObject) -> None:
    stream = b"".join(
        encode(p) if isinstance(p, Frame) else p.text.encode() + b"\r\n"  # type: ignore[union-attr]
        for p in sent
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = Splitter()
    found: list[Piece] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found + splitter.flush() == sent


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_noise_is_told_and_never_raises(pieces: list[bytes]) -> None:
    splitter = Splitter()
    told = [p for piece in pieces for p in splitter.feed(piece)] + splitter.flush()
    assert not splitter.waiting
    raw = b"".join(p.data for p in told if isinstance(p, Raw))
    assert not any(isinstance(p, Frame) for p in told) or raw is not None


def test_kinds_of_bytes() -> None:
    good = encode(Frame(wire.PING, 1, 7, b"x"))
    bad = bytearray(good)
    bad[-3] ^= 0x55
    splitter = Splitter()
    assert splitter.feed(b"\xff\xfe\x80boot\n") == [Raw(b"\xff\xfe\x80boot\n")]
    assert splitter.feed(bytes(bad)) == [Raw(bytes(bad[1:-1]), cut=True)]
    assert splitter.feed(b"\x1b[31mred\x1b[0m\n") == [Text("red")]
    assert splitter.feed(b"no end") == [] and splitter.waiting
    assert splitter.feed(good) == [Text("no end"), Frame(wire.PING, 1, 7, b"x")]
    assert splitter.feed(b"bell\x07 cursor\x1b[2Jgone\x9b\n") == [
        Raw(b"bell\x07 cursor\x1b[2Jgone\x9b\n")
    ]  # what could move a terminal's cursor is shown in hex
    assert splitter.feed(good[:9]) == [] and splitter.flush() == [Raw(good[1:9], cut=True)]
    assert sum(len(p.data) for p in splitter.feed(b"\x81\x02" * 5000) if isinstance(p, Raw)) > 2000


# -- words ---------------------------------------------------------------------------------

HELLO = (
    struct.pack("<BBH8I4HII", 2, 1, 1024, 16384, 115200, 921600, 480000000, 19904, 3072, 8, 0,
                1, 1, 0, 8, 7920, 2712)
    + bytes(32) + b"\x05board\x05model"
)  # fmt: skip
WORDS = [
    (wire.HELLO | wire.REPLY, HELLO, "board (virtual, counts instructions) runs model"),
    (wire.PUT, struct.pack("<I", 1024) + bytes(100), "100 bytes of the input from 1024 on"),
    (wire.INFER, struct.pack("<II", 3072, 0xABCD), "input of 3,072 bytes, CRC 0000abcd"),
    (wire.INFER | wire.REPLY, struct.pack("<IIii", 12345, 8, -5, 9),
     "class 1 (ring), 12,345 cycles, scores -5 9"),
    (wire.INFER | wire.REPLY, struct.pack("<II1024x", 12345, 2048),
     "outputs of 1024 of 2,048 bytes, 12,345 cycles"),
    (wire.GET, struct.pack("<HBBI", 7, 1, 0, 1024), "outputs of inference 7 from byte 1,024 on"),
    (wire.GET, struct.pack("<HBBI", 0, 2, 0, 0), "states from byte 0 on"),
    (wire.GET | wire.REPLY, bytes(12), "12 bytes"),
    (wire.RESET_STATE | wire.REPLY, b"", "the states begin again"),
    (wire.TENSORS, bytes([1, 0, 3, 0]), "outputs from 3 on"),
    (wire.TENSORS | wire.REPLY, bytes([1, 0, 0, 0]) + struct.pack("<BBif3I", 2, 2, 0, 0.5, 4, 5, 0)
     + b"\x05boxes", "outputs from 0 on: boxes 4x5 int16"),
    (wire.TRACE, struct.pack("<IIHH", 3072, 1, 2, 5), "steps 2 to 5"),
    (wire.TRACE_DATA, struct.pack("<HBBII", 3, 0, 0, 64, 128) + bytes(64),
     "step 3, elements 64 to 127 of 128"),
    (wire.TRACE | wire.REPLY, struct.pack("<I", 12), "12 pieces sent"),
    (wire.STEPS | wire.REPLY, struct.pack("<HIIB", 0, 99, 10, 0) + b"\x05conv1\x06kernel",
     "conv1 (kernel)"),
    (wire.LAYER_CYCLES | wire.REPLY, struct.pack("<HHII", 7, 2, 1000, 2000), "1,000 2,000"),
    (wire.MEMORY | wire.REPLY, struct.pack("<5I", 8192, 700, 7920, 2712, 19904),
     "stack 700 of 8,192 bytes used"),
    (wire.IMAGE_HASH | wire.REPLY, struct.pack("<I", 19904) + bytes(32), "SHA-256 of 19,904"),
    (wire.LINK_STATS | wire.REPLY, struct.pack("<5I", 9, 1, 0, 0, 2), "crc errors 1"),
    (wire.SET_BAUD, struct.pack("<I", 921600), "921,600 baud"),
    (wire.ERROR, struct.pack("<BBHI", 5, wire.INFER, 0, 0), "refused infer: unknown session"),
    (wire.ERROR, b"\x05", "malformed"),
    (wire.INFER | wire.REPLY, b"", "malformed"),
    (0x44, b"\1\2", "2 bytes: 0102"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload", "said"), WORDS)
def test_words(kind: int, payload: bytes, said: str) -> None:
    found = Describer(["disc", "ring"])(Frame(kind, 3, 9, payload))
    assert said in found.text
    json.dumps(found.fields)


def test_every_message_has_words() -> None:
    describer = Describer()
    for kind in wire.COMMAND_NAMES:
        assert kind in describer._questions()
        assert kind == wire.PUT or kind | wire.REPLY in describer._answers()


@given(st.integers(0, 255), st.binary(max_size=100), st.integers(0, 255))
def test_words_for_anything(kind: int, payload: bytes, version: int) -> None:
    Describer()(Frame(kind, 0, 1, payload, version))


# -- a board played by the test ------------------------------------------------------------


@dataclass
class Line:
    """A monitor between a port that the test plays and a passthrough."""

    monitor: Monitor
    board: int
    through: Terminal
    events: list[Event] = field(default_factory=list)

    def texts(self, source: str) -> list[str]:
        return [e.text for e in self.events if e.source == source]


@pytest.fixture
def line() -> Iterator[Line]:
    device_end, user = pty.openpty()
    tty.setraw(user)
    events: list[Event] = []
    transport = SerialTransport(os.ttyname(user), 115200)
    through = Terminal.open()
    monitor = Monitor(transport, events.append, passthrough=through)
    yield Line(monitor, device_end, through, events)
    transport.close()
    through.close()
    for end in (device_end, user):
        with contextlib.suppress(OSError):
            os.close(end)


def test_both_directions_pass_and_are_told(line: Line) -> None:
    asked = encode(Frame(wire.PING, 4, 99, b"abc"))
    answer = encode(Frame(wire.PING | wire.REPLY, 4, 99, b"abc"))
    os.write(line.through.user, asked)
    os.write(line.board, b"booting\r\n" + answer + b"\xff\xfe\xfd\n")
    line.monitor.run(hello=False, seconds=2.0)
    assert os.read(line.board, 100) == asked
    assert os.read(line.through.user, 100) == b"booting\r\n" + answer + b"\xff\xfe\xfd\n"
    assert line.texts("host") == ["ping: 3 bytes"]
    assert line.texts("board") == ["booting", "ping reply: 3 bytes", "ff fe fd 0a  |....|"]
    times = [e.time_s for e in line.events]
    assert times == sorted(times) and all(0 <= t < PATIENCE_S for t in times)
    assert json.loads(json.dumps(line.events[-1].as_dict()))["hex"] == "fffefd0a"


def test_addresses_in_text_get_names(line: Line) -> None:
    small = firmware()
    symbols = Symbols(small.elf)
    address, _, name = symbols._functions[0]
    line.monitor.know(Known((), symbols))
    os.write(line.board, f"HardFault pc=0x{address + 1:08x} lr={0xFFFFFFF9:08x}\n".encode())
    line.monitor.run(hello=False, seconds=1.0)
    assert line.texts("board")[0].endswith(f"  [0x{address + 1:08x}: {name}]")


def test_hello_without_an_answer_and_text_without_an_end(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyrobust.device.monitor._ANSWER_S", 0.2)
    monkeypatch.setattr("tinyrobust.device.monitor._IDLE_S", 0.1)
    os.write(line.board, b"> ")
    line.monitor.run(seconds=2.5)
    assert line.texts("board") == ["> "]
    assert line.texts("monitor")[0] == "hello"
    assert "no answer to hello at 115,200 baud" in line.texts("monitor")[1]
    assert os.read(line.board, 100).startswith(b"\0")


def test_the_rate_of_the_other_program_is_followed(line: Line) -> None:
    port = serial.Serial(line.through.port, 921600, timeout=0.1)
    port.write(encode(Frame(wire.PING, 1, 5)))
    line.monitor.run(hello=False, seconds=1.0)
    port.close()
    assert line.texts("monitor") == ["now at 921,600 baud"]
    assert line.monitor._port._serial.baudrate == 921600


def test_a_port_that_goes_is_an_error(line: Line) -> None:
    os.close(line.board)
    with pytest.raises(LinkError, match="is gone"):
        line.monitor.run(hello=False, seconds=PATIENCE_S)


def test_a_fault_has_the_functions_name(tmp_path: Path) -> None:
    small = firmware()
    h743 = boards.load("nucleo-h743")
    flash = tmp_path / "flash"
    flash.write_bytes(small.bin.read_bytes())
    events: list[Event] = []
    with virtual.start(h743, None, flash_file=flash, elf=small.elf) as running:
        transport = SerialTransport(running.port, 115200)
        monitor = Monitor(transport, events.append, fault=running.fault)
        transport.write(b"F")
        with pytest.raises(DeviceFault, match="in sin"):
            monitor.run(hello=False, seconds=PATIENCE_S)
        transport.close()
    fault = next(e for e in events if e.kind == "fault")
    assert "undefined instruction" in fault.text and "in sin" in fault.text
    assert fault.as_dict()["fault"]["kind"] == "undefined"


# -- the command ---------------------------------------------------------------------------


def test_options_that_do_not_fit(capsys: Any) -> None:
    assert tinyrobust(["monitor", "--board", "host", "--virtual", "--port", "p"]) == 1
    assert "either --virtual or --port" in capsys.readouterr().err


@pytest.mark.slow
def test_a_session_through_the_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert tinyrobust(["flash", "--board", "nucleo-h743", "--virtual"]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyrobust", "monitor", "--board", "nucleo-h743", "--virtual",
         "--link", "through", "--reset", "--json", "events.json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out: list[str] = []
    reader = threading.Thread(target=lambda: out.extend(process.stdout or ()))
    reader.start()
    try:
        end = time.monotonic() + PATIENCE_S
        while sum("hello reply" in text for text in out) < 2:
            assert process.poll() is None and time.monotonic() < end, out
            time.sleep(0.05)
        with device.Session.open("through", timeout_s=PATIENCE_S) as session:
            shape = session.hello.input_shape
            import numpy as np

            label = session.infer(np.zeros(shape, np.uint8)).label
            assert session.baud == 921600
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, process.communicate()[1]
        reader.join(PATIENCE_S)
    first, *events = [json.loads(row) for row in Path("events.json").read_text().splitlines()]
    assert first["schema"] == "tinyrobust.monitor/1"
    infer = next(e for e in events if e.get("name") == "infer" and e["reply"])
    assert infer["source"] == "board" and infer["fields"]["label"] == label
    assert infer["fields"]["class"]  # from the image that answers
    asked = [e["name"] for e in events if e["source"] == "host" and e["kind"] == "frame"]
    assert {"hello", "image-hash", "set-baud", "put", "infer"} <= set(asked)
    assert any(e["text"] == "now at 921,600 baud" for e in events)
    assert not [e for e in events if e["kind"] in ("bytes", "fault")]
    assert not Path("through").is_symlink()
    assert any("class" in text and "cycles" in text for text in out)
