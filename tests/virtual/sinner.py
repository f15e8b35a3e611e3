"""A small firmware that serves one-byte commands, for the tests of virtual boards and flashers."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import serial

from tests.patience import PATIENCE_S

_HERE = Path(__file__).parent / "virtual_firmware"
_FLAGS = (
    "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-d16 -mfloat-abi=hard -O1 -g -Wall -ffreestanding -nostdlib"
    " -fno-builtin"
)


@dataclass(frozen=True)
class SmallImage:
    """The files that a real ``image.Image`` has."""

    elf: Path
    bin: Path


@cache
def firmware(name: str = "sinner") -> SmallImage:
    """Compile it once for the whole run: ``sinner`` (nucleo-h743), ``mps2`` or ``process``."""
    folder = Path(mkdtemp(prefix="sinner-"))
    image = SmallImage(folder / f"{name}.elf", folder / f"{name}.bin")
    source = str(_HERE / f"{name}.c")
    if name == "process":
        subprocess.run(["cc", "-O1", "-Wall", source, "-o", str(image.elf)], check=True)
        image.bin.write_bytes(image.elf.read_bytes())
        return image
    subprocess.run(
        ["arm-none-eabi-gcc", *_FLAGS.split(), "-T", str(_HERE / f"{name}.ld"), source,
         "-o", str(image.elf)],
        check=True,
    )  # fmt: skip
    subprocess.run(
        ["arm-none-eabi-objcopy", "-O", "binary", str(image.elf), str(image.bin)], check=True
    )
    return image


def digest(image: SmallImage) -> str:
    """SHA-256 of the .bin."""
    return hashlib.sha256(image.bin.read_bytes()).hexdigest()


class Line:
    """A serial program: sends commands, reads answers."""

    def __init__(self, port: str, timeout_s: float = PATIENCE_S, *, greet: bool = True) -> None:
        self.serial = serial.Serial(port, 115200, timeout=timeout_s)
        if greet:  # opening a port drops what came before, perhaps the firmware's "!"
            self.serial.write(b"n")
            assert self.serial.read_until(b"k").endswith(b"k")

    def read(self, n: int) -> bytes:
        """Exactly ``n`` bytes, or an error."""
        data = self.serial.read(n)
        if len(data) != n:
            raise TimeoutError(f"{len(data)} of {n} bytes: {data!r}")
        return data

    def ask(self, command: bytes, n: int) -> bytes:
        """Send, then read ``n`` bytes."""
        self.serial.write(command)
        return self.read(n)

    def ask32(self, command: bytes, n: int) -> list[int]:
        """Send, then read ``n`` 32-bit numbers."""
        data = self.ask(command, 4 * n)
        return [int.from_bytes(data[i : i + 4], "little") for i in range(0, 4 * n, 4)]
