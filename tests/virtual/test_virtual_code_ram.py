"""Code that firmware writes into RAM: run only when the core is sure to see it, and when the MPU
lets it run."""

from __future__ import annotations

import subprocess
import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import serial

from tests.patience import PATIENCE_S
from tests.virtual.sinner import Line, SmallImage
from tinyrobust import boards, virtual
from tinyrobust.errors import DeviceFault

H743 = boards.load("nucleo-h743")
ITCM, AXI = 0x00000000, 0x24000000
UNEVEN = AXI + 16
HERE = Path(__file__).parent / "virtual_firmware"
NO_BARRIER, NOT_CLEANED, NOT_INVALIDATED = (
    "no DSB and ISB", "data cache was not cleaned", "instruction cache was not invalidated"
)  # fmt: skip


@cache
def coder(code: int) -> SmallImage:
    """The firmware with its code at ``code``."""
    folder = Path(mkdtemp(prefix="coder-"))
    image = SmallImage(folder / "coder.elf", folder / "coder.bin")
    flags = [
        "-mcpu=cortex-m7",
        "-mthumb",
        "-O1",
        "-g",
        "-Wall",
        "-ffreestanding",
        "-nostdlib",
        "-fno-builtin",
    ]
    command = [
        "arm-none-eabi-gcc", *flags, f"-DCODE={code:#x}u", "-T", str(HERE / "sinner.ld"),
        f"-Wl,--defsym=tr_code_ram_start={code:#x},--defsym=tr_code_ram_end={code + 1000:#x}",
        str(HERE / "coder.c"), "-o", str(image.elf),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    subprocess.run(
        ["arm-none-eabi-objcopy", "-O", "binary", str(image.elf), str(image.bin)], check=True
    )
    return image


def faults(code: int, steps: bytes, *, strict: bool = False) -> tuple[bytes, str]:
    """What the firmware answered to ``steps``, and the kind and detail of its fault."""
    with virtual.start(H743, coder(code), strict=strict) as board:
        line = Line(board.port)
        said = b""
        line.serial.write(steps + b"n")
        try:
            while not said.endswith(b"k"):
                said += line.read(1)
            return said[:-1], ""
        except (serial.SerialException, TimeoutError):  # the board is gone
            report = board.fault()
    assert report is not None
    return said, f"{report.kind}: {report.summary()}"


@pytest.mark.parametrize(
    ("code", "steps", "said", "reason"),
    [
        (ITCM, b"7bj", b"7", ""),
        (ITCM, b"7j", b"", NO_BARRIER),
        (ITCM, b"7bj9j", b"7", NO_BARRIER),  # other code than the core has fetched
        (ITCM, b"7bj7j", b"77", ""),  # the same code again
        (ITCM, b"7ij", b"", NO_BARRIER),
        (ITCM, b"D7bj", b"7", ""),  # tightly coupled memory is not cached
        (AXI, b"7bj", b"7", ""),  # caches are off
        (AXI, b"7j", b"", NO_BARRIER),
        (AXI, b"D7bcbxbj", b"7", ""),
        (AXI, b"D7bsbybj", b"7", ""),
        (AXI, b"D7bj", b"", NOT_CLEANED),
        (AXI, b"D7bxbj", b"", NOT_CLEANED),
        (AXI, b"D7bcbj", b"", NOT_INVALIDATED),
        (AXI, b"D7bxbcbj", b"", NOT_INVALIDATED),  # the wrong order: old content was fetched
        (AXI, b"D7bcbxj", b"", NOT_INVALIDATED),  # no barrier at the end
        (AXI, b"D7bcbxbj8bcbxbj", b"78", ""),
        (UNEVEN, b"D7bcbxbj8bcbxbj", b"78", ""),  # neither begins nor ends with a cache line
        (UNEVEN, b"D7bsbybj", b"7", ""),
        (UNEVEN, b"D7bj", b"", NOT_CLEANED),
        (UNEVEN, b"D7bcbj", b"", NOT_INVALIDATED),
    ],
)
def test_code_runs_once_the_core_sees_it(code: int, steps: bytes, said: bytes, reason: str) -> None:
    heard, fault = faults(code, steps)
    assert heard == said
    assert fault.startswith("stale_code") if reason else not fault
    assert reason in fault


def test_a_slow_reader_hears_what_was_said_before_a_fault() -> None:
    """A terminal that is hung up loses what nobody has read."""
    with virtual.start(H743, coder(ITCM)) as board:
        line = Line(board.port)
        line.serial.write(b"7bj9jn")
        with pytest.raises(DeviceFault):
            board.raise_if_faulted(PATIENCE_S)
        time.sleep(0.3)
        assert line.serial.read(1) == b"7"


@pytest.mark.parametrize(
    ("steps", "strict", "said", "kind"),
    [
        (b"WM7Rbj", True, b"7", ""),
        (b"WM7Rbj7W8Rbj", False, b"78", ""),
        (b"WM7bj", False, b"", "writable_code"),
        (b"WM7Rbj8", True, b"7", "protection"),
    ],
)
def test_code_is_writable_or_executable(steps: bytes, strict: bool, said: bytes, kind: str) -> None:
    heard, fault = faults(ITCM, steps, strict=strict)
    assert heard == said
    assert fault.partition(":")[0] == kind
