"""libFuzzer on the device's protocol parser, from a corpus of real conversations."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fake_device
from tests.fake_device import Device, Wire
from tests.fuzz import run_apart
from tests.patience import PATIENCE_S
from tinyrobust.device import Session, wire
from tinyrobust.device.framing import Frame, encode

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fuzzer's executable, with ASan and UBSan."""
    clang = shutil.which("clang++")
    assert clang, "libFuzzer needs clang: sudo apt-get install clang"
    skip = {"main.cpp", "port.cpp"}
    sources = [path for path in fake_device.firmware_sources() if path.name not in skip]
    program = tmp_path_factory.mktemp("fuzz") / "protocol_fuzzer"
    flags = ["-std=c++17", "-g", "-O2", "-fsanitize=fuzzer,address,undefined"]
    flags += ["-fno-sanitize-recover=all", *fake_device.WARNINGS, *fake_device.include_flags()]
    subprocess.run(
        [clang, *flags, HERE / "protocol_fuzzer.cpp", *sources, "-o", program], check=True
    )
    return program


def piece(how: int, data: bytes) -> bytes:
    """One piece of the fuzzer's input language."""
    return bytes([how, len(data), 1, 0x91]) + data


def too_many() -> bytes:
    """A whole input and then one byte more, in the session that the fuzzer's HELLO opens."""
    pieces = [piece(2, b"")]
    for offset in range(0, 3072 + 1, 1024):
        payload = offset.to_bytes(4, "little") + bytes([7]) * (1024 if offset < 3072 else 1)
        data = encode(Frame(wire.PUT, 1, 0x01020304, payload))
        pieces += [piece(0, data[at : at + 200]) for at in range(0, len(data), 200)]
    return b"".join(pieces)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of a recorded conversation, raw and as requests, one file each."""
    device = Device()
    line = Wire(device)
    with Session.over(line) as session:
        session.infer_many(fake_device.images(2))
        session.layer_cycles()
        session.trace(fake_device.images(2)[1])
        session.memory()
        session.link_stats()
        session.reset()
    assert device.stop() == 0
    folder = tmp_path_factory.mktemp("corpus")
    for index, (_, frame) in enumerate(line.recorded):
        cut = [frame[at : at + 200] for at in range(0, len(frame), 200)]
        raw = b"".join(piece(0, part) for part in cut)
        (folder / f"raw{index}").write_bytes(raw + piece(3, b""))
    (folder / "one_byte_too_many").write_bytes(too_many())
    for kind in (1, 2, 0x10, 0x11, 0x12, 0x20, 0x21, 0x22, 0x23, 0x24, 0x30, 0x31):
        for size in (0, 2, 4, 8, 12):
            request = bytes([1, size, 7, kind]) + bytes(size)
            (folder / f"request{kind}_{size}").write_bytes(piece(2, b"") + request + piece(3, b""))
    return folder


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(fuzzer: Path, corpus: Path, tmp_path: Path) -> Run:
    """Run the fuzzer from the corpus; new inputs and crashes land in the test's folder."""

    def start(*options: str) -> subprocess.CompletedProcess[str]:
        found = tmp_path / "found"
        found.mkdir()
        command = [fuzzer, "-seed=1", f"-timeout={PATIENCE_S}", *options, found, corpus]
        return run_apart(list(map(str, command)), tmp_path)

    return start


def test_the_corpus_and_some_mutations(run: Run) -> None:
    done = run("-runs=600")
    assert done.returncode == 0, done.stderr[-3000:]


def test_ten_seconds_of_fuzzing(run: Run) -> None:
    done = run("-max_total_time=10", "-max_len=6000")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "INITED" in done.stderr
