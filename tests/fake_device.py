"""A device for tests of the link: the real protocol over a fake model, and wires that fail.

``build`` compiles firmware/protocol, runtime and app with ``fake_device_sources/*.cpp`` under
ASan and UBSan; ``Wire`` is a transport to such a process that can lose, double, flip, cut and
invent.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import select
import shutil
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.patience import PATIENCE_S
from tinyrobust import resources
from tinyrobust.device import wire
from tinyrobust.errors import LinkError

SOURCES = Path(__file__).parent / "fake_device_sources"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wvla", "-Werror"]
IMAGE_SHA256 = hashlib.sha256(bytes([1, 2, 3]) + bytes(97)).hexdigest()


def firmware_sources() -> list[Path]:
    """The real sources that the device side of the link consists of."""
    firmware = resources.root() / "firmware"
    return [
        *sorted((firmware / "protocol").glob("*.cpp")),
        *sorted((firmware / "runtime").glob("*.cpp")),
        firmware / "app" / "main.cpp",
        *sorted(SOURCES.glob("*.cpp")),
    ]


def include_flags() -> list[str]:
    """Where those sources look for headers."""
    firmware = resources.root() / "firmware"
    return [f"-I{firmware}", *(f"-I{firmware / name}" for name in ("include", "protocol"))]


@functools.cache
def build() -> Path:
    """The device as a Linux executable with sanitizers; built once per test run."""
    compiler = shutil.which("clang++") or shutil.which("g++")
    assert compiler, "no host C++ compiler: sudo apt-get install g++"
    program = Path(tempfile.mkdtemp(prefix="tinyrobust-device-")) / "device"
    flags = ["-std=c++17", "-g", "-O1", "-fno-exceptions", "-fno-rtti", *SANITIZE, *WARNINGS]
    command = [compiler, *flags, *include_flags(), *map(str, firmware_sources()), "-o", program]
    subprocess.run(command, check=True)
    return program


def images(count: int, seed: int = 1) -> np.ndarray:
    """Random images; the first is all zeros, the worst case of COBS and of retries."""
    pictures = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    pictures[0] = 0
    return pictures


def tensors(image: np.ndarray) -> dict[str, np.ndarray]:
    """What fake_device_sources/model.cpp computes, step by step."""
    data = image.reshape(-1).astype(np.int64)
    mix = (data * 5 + np.arange(3072)) & 0xFF
    wide = mix.reshape(1024, 3).sum(axis=1) - 384
    narrow = (wide >> 4).astype(np.int8).astype(np.int64)
    i, k = np.arange(1024)[:, None], np.arange(10)[None, :]
    weight = (i * 7 + k * 13) % 31 - 15
    total = (wide[:, None] * weight * (i + 1) + narrow[:, None] * (k + 1)).sum(axis=0)
    score = (total & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return {"mix": mix, "sum": wide, "narrow": narrow, "score": score}


def scores(pictures: np.ndarray) -> np.ndarray:
    """Scores of many images, (N, 10)."""
    return np.stack([tensors(picture)["score"] for picture in pictures])


Frames = list[bytes]
Fault = Callable[[str, int, bytes], Frames]
"""(direction, index of the frame in that direction, its bytes) -> what goes on instead."""


def no_fault(direction: str, index: int, data: bytes) -> Frames:
    return [data]


class Device:
    """The process."""

    def __init__(self, *, real_board: bool = False) -> None:
        self._environment = {"TR_TEST_REAL": "1"} if real_board else {}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(build())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._environment},
            bufsize=0,
        )

    def restart(self) -> None:
        """What a watchdog or a power cut does."""
        self.process.kill()
        self._close_pipes()
        self.process = self._start()

    def stop(self) -> int:
        """End of input; the exit status, not 0 when a sanitizer complained."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(PATIENCE_S)
        self._close_pipes()
        return status

    def _close_pipes(self) -> None:
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not pipe.closed:
                pipe.close()


class Wire:
    """A transport to a Device through which every frame passes a ``fault``.

    ``device_baud`` is the device's rate; what is sent at another one is garbled. The test port
    reports its changes among the bytes it sends, in their order.
    """

    name = "test-wire"

    def __init__(self, device: Device, fault: Fault = no_fault, poll_s: float = 0.01) -> None:
        self.device, self.fault, self.poll_s = device, fault, poll_s
        self.baud = self.device_baud = wire.BAUD_BASE
        self.rates_refused: set[int] = set()
        self.counts = {"out": 0, "in": 0}
        self.recorded: list[tuple[str, bytes]] = []
        self._partial = self._ready = b""
        self._process = device.process

    def _pass(self, direction: str, block: bytes) -> bytes:
        frame = b"\0" + block + b"\0"
        self.recorded.append((direction, frame))
        passed = b"".join(self.fault(direction, self.counts[direction], frame))
        self.counts[direction] += 1
        if self.baud != self.device_baud:
            return bytes(byte ^ 0xA5 for byte in passed[::3])
        return passed

    def write(self, data: bytes) -> None:
        for block in filter(None, data.split(b"\0")):
            self._collect(0)
            passed = self._pass("out", block)
            try:
                while passed:
                    assert self.device.process.stdin is not None
                    passed = passed[self.device.process.stdin.write(passed) :]
            except (BrokenPipeError, ValueError) as error:
                raise LinkError(f"{self.name} is gone", "start it again") from error

    def read(self) -> bytes:
        """What the device has sent; nothing only when it has said all and waits for us, so that
        time limits strike frames that were lost, and never a device on a busy machine."""
        while not self._ready:
            waits = self._waits()
            self._collect(self.poll_s if waits else 0.001)
            if waits:
                break
        data, self._ready = self._ready, b""
        return data

    def _collect(self, wait_s: float) -> None:
        """Take what the device has sent, through the fault, until nothing is there."""
        if self.device.process is not self._process:  # it was restarted
            self._process, self._partial, self.device_baud = self.device.process, b"", 115200
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], wait_s)[0]:
            return
        data = os.read(stdout.fileno(), 1 << 16)
        if not data:
            raise LinkError(f"{self.name} is gone", "start it again")
        *blocks, self._partial = (self._partial + data).split(b"\0")
        for block in filter(None, blocks):
            if block.startswith(b"BAUD"):
                self.device_baud = int(block[4:])
            else:
                self._ready += self._pass("in", block)

    def _waits(self) -> bool:
        """Whether the device has read all that was written and sleeps; also when it has ended."""
        process = self._process
        if process.stdin is None or process.stdin.closed:
            return True
        unread = fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))
        try:
            stat = Path(f"/proc/{process.pid}/stat").read_text()
        except FileNotFoundError:
            return True
        return unread == bytes(4) and stat.rsplit(")", 1)[1].split()[0] in "SZX"

    def set_baud(self, baud: int) -> None:
        if baud in self.rates_refused:
            raise LinkError(f"{self.name} cannot be set to {baud} baud", "choose a lower rate")
        if baud != self.baud:
            while not self._waits():  # the device changes after its reply has left
                time.sleep(0.001)
            self._collect(0)
        self.baud = baud

    def discard_input(self) -> None:
        self._collect(0)
        self._ready = b""

    def close(self) -> None:
        pass
