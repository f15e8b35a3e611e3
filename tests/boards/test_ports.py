"""The ports by themselves: start-up, memory functions, MPU, faults, on QEMU and the virtual H743.

Each test links a small main() with a board's port, as an image would be, and runs it. QEMU has a
real MPU and real exceptions, so the fault handler is entered as on silicon.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tinyrobust import boards, resources, virtual
from tinyrobust.artefact import write_bytes
from tinyrobust.boards import Board
from tinyrobust.image import compilers
from tinyrobust.image.build import board_text, firmware_source
from tinyrobust.image.elf import Elf
from tinyrobust.image.link import link
from tinyrobust.image.objects import Source, compile_all
from tinyrobust.image.ports import core_folders

pytestmark = pytest.mark.slow

BOARDS = {name: boards.load(name) for name in boards.names()}
QEMU = [name for name, board in BOARDS.items() if board.virtual == "qemu"]
UNICORN = [name for name, board in BOARDS.items() if board.virtual == "unicorn"]
# one of each core: the core's code is the same on the others
CORES = list({BOARDS[name].core: name for name in (*QEMU, *UNICORN)}.values())
H743 = "nucleo-h743"

PRELUDE = """
#include "tr_port.h"
static void say(const char* text) {
  uint32_t length = 0;
  while (text[length] != 0) ++length;
  tr_port_write(reinterpret_cast<const uint8_t*>(text), length);
}
"""


@dataclass(frozen=True)
class Program:
    """A linked test program, with what ``virtual.start`` wants of an Image."""

    board: Board
    elf: Path
    bin: Path


def program(name: str, folder: Path, text: str) -> Program:
    board = boards.load(name)
    firmware = resources.root() / "firmware"
    (folder / "main.cpp").write_text(PRELUDE + text)
    (folder / "board.cpp").write_text(board_text(board))
    sources = [Source(folder / f, f"test/{f}", ("-O2",)) for f in ("main.cpp", "board.cpp")]
    for port in (board.port, *core_folders(board)):
        paths = sorted((firmware / "ports" / port).iterdir())
        sources += [firmware_source(p) for p in paths if p.suffix in (".cpp", ".S")]
    include = [
        firmware,
        firmware / "include",
        *(firmware / "ports" / f for f in (board.port, *core_folders(board))),
    ]
    compiler = compilers.for_board(board)
    objects = compile_all(sources, compiler, include, folder / "objects")
    elf = link(board, compiler, [o.path for o in objects], folder)
    write_bytes(folder / "firmware.bin", Elf(elf).flash_image()[1])
    return Program(board, elf, folder / "firmware.bin")


def until(read: object, ending: bytes) -> bytes:
    """Collect from ``read()`` until ``ending`` or until patience ends."""
    data, end = b"", time.monotonic() + PATIENCE_S
    while not data.endswith(ending) and time.monotonic() < end:
        data += read()  # type: ignore[operator]
    return data


def _byte(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], 0.2)
    return os.read(descriptor, 1) if ready else b""


def output(made: Program, ending: bytes = b"\n", overrides: Mapping[int, int] | None = None) -> str:
    """What the program says on its serial port, up to ``ending``."""
    if made.board.virtual == "unicorn":
        with virtual.start(
            made.board,
            made,
            strict=True,
            overrides=overrides,  # type: ignore[arg-type]
        ) as running:
            # Not pyserial: it throws away what came before it opened the port.
            port = os.open(running.port, os.O_RDWR | os.O_NOCTTY)
            try:
                return until(lambda: _byte(port), ending).decode()
            finally:
                os.close(port)
    qemu = subprocess.Popen(
        ["qemu-system-arm", "-M", str(made.board.qemu_machine), "-kernel", str(made.elf),
         "-display", "none", "-monitor", "none", "-serial", "stdio", "-icount", "shift=0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert qemu.stdout is not None
    try:
        return until(lambda: os.read(qemu.stdout.fileno(), 1), ending).decode()
    finally:
        qemu.kill()
        qemu.communicate()


STARTUP = """
volatile uint32_t initialised[3] = {1, 0x12345678, 0xFFFFFFFF};
volatile uint8_t odd = 7;
volatile uint32_t zeroed[300];
int main() {
  tr_port_init();
  bool good = initialised[0] == 1 && initialised[1] == 0x12345678 && initialised[2] == 0xFFFFFFFF;
  good = good && odd == 7;
  for (uint32_t i = 0; i < 300; ++i) good = good && zeroed[i] == 0;
  const uint32_t* low = tr_port_stack_low();
  good = good && low[0] == TR_STACK_PAINT && low[1] == TR_STACK_PAINT;
  good = good && tr_port_stack_high() - low == STACK_BYTES / 4;
  int local;
  const auto here = reinterpret_cast<uint32_t*>(&local);
  good = good && here > low && here < tr_port_stack_high();
  const uint32_t before = tr_port_cycles();
  for (volatile int i = 0; i < 1000; ++i) {
  }
  good = good && tr_port_cycles() - before > 20 && tr_port_clock_hz() != 0;
  good = good && tr_port_is_virtual() == 1;
  say(good ? "good\\n" : "bad\\n");
  for (;;) {
  }
}
"""


@pytest.mark.parametrize("name", [*QEMU, *UNICORN])
def test_start_up_prepares_memory(tmp_path: Path, name: str) -> None:
    text = STARTUP.replace("STACK_BYTES", str(BOARDS[name].budget.stack_bytes))
    assert output(program(name, tmp_path, text)) == "good\n"


AXI_SRAM = """
int main() {
  tr_port_init();
  say(*reinterpret_cast<volatile uint32_t*>(0x51008108u) == 1u ? "one read\\n" : "all\\n");
  for (;;) {
  }
}
"""


@pytest.mark.parametrize(("idcode", "said"), [(0x10036450, "one read\n"), (0x20036450, "all\n")])
def test_early_silicon_reads_axi_sram_one_at_a_time(tmp_path: Path, idcode: int, said: str) -> None:
    """ES0392: on revision Y (REV_ID 0x1003) AXI SRAM may be read wrong without it, on V not."""
    assert output(program(H743, tmp_path, AXI_SRAM), overrides={0x5C001000: idcode}) == said


MEMORY = """
extern "C" {
void* memcpy(void*, const void*, decltype(sizeof 0));
void* memmove(void*, const void*, decltype(sizeof 0));
void* memset(void*, int, decltype(sizeof 0));
int memcmp(const void*, const void*, decltype(sizeof 0));
}
static uint8_t a[64], b[64], c[64];
static uint32_t seed = 1;
static uint32_t next() { return seed = seed * 1664525u + 1013904223u; }
int main() {
  tr_port_init();
  bool good = true;
  for (uint32_t round = 0; round < 3000; ++round) {
    for (uint32_t i = 0; i < 64; ++i) b[i] = c[i] = a[i] = static_cast<uint8_t>(next() >> 24);
    const uint32_t to = (next() >> 16) % 20, from = (next() >> 16) % 20;
    const uint32_t n = (next() >> 16) % 40;
    const uint8_t value = static_cast<uint8_t>(next() >> 24);
    switch (round % 4) {
      case 0:  // other array
        memcpy(b + to, a + from, n);
        for (volatile uint32_t i = 0; i < n; ++i) c[to + i] = a[from + i];
        break;
      case 1:  // overlapping, c - a reads from a copy
        memmove(b + to, b + from, n);
        for (volatile uint32_t i = 0; i < n; ++i) c[to + i] = a[from + i];
        break;
      case 2:
        memset(b + to, value, n);
        for (volatile uint32_t i = 0; i < n; ++i) c[to + i] = value;
        break;
      default: {
        if (n != 0) b[to + n - 1] = value;
        int sign = 0;
        for (volatile uint32_t i = 0; i < n && sign == 0; ++i) {
          sign = static_cast<int>(b[to + i]) - static_cast<int>(a[to + i]);
        }
        const int found = memcmp(b + to, a + to, n);
        good = good && (found < 0) == (sign < 0) && (found > 0) == (sign > 0);
        c[to + (n != 0 ? n - 1 : 0)] = b[to + (n != 0 ? n - 1 : 0)];
      }
    }
    for (uint32_t i = 0; i < 64; ++i) good = good && b[i] == c[i];
  }
  say(good ? "good\\n" : "bad\\n");
  for (;;) {
  }
}
"""


@pytest.mark.parametrize("name", CORES)
def test_memory_functions(tmp_path: Path, name: str) -> None:
    assert output(program(name, tmp_path, MEMORY)) == "good\n"


# In a fault handler without a debugger a breakpoint locks the core up: QEMU stops and says where.
OVERFLOW = """
volatile uint32_t depth_wanted = 0xFFFFFFFF;
__attribute__((noinline)) static uint32_t dig(uint32_t depth) {
  volatile uint8_t frame[16];
  frame[0] = static_cast<uint8_t>(depth);
  if (depth == depth_wanted) return frame[0];
  return dig(depth + 1) + frame[0];
}
int main() {
  tr_port_init();
  say("start\\n");
  say(dig(0) == 0 ? "survived\\n" : "survived too\\n");
  for (;;) {
  }
}
"""

WRITE_IMAGE = """
int main() {
  tr_port_init();
  say("start\\n");
  *const_cast<volatile uint8_t*>(tr_port_image()) = 1;
  say("survived\\n");
  for (;;) {
  }
}
"""

DIVIDE = """
volatile int zero = 0;
int main() {
  tr_port_init();
  say("start\\n");
  say(7 / zero == 0 ? "survived\\n" : "survived too\\n");
  for (;;) {
  }
}
"""


@pytest.mark.parametrize("name", QEMU)
@pytest.mark.parametrize("text", [OVERFLOW, WRITE_IMAGE, DIVIDE], ids=["stack", "image", "divide"])
def test_a_fault_stops_qemu_in_the_fault_handler(tmp_path: Path, name: str, text: str) -> None:
    made = program(name, tmp_path, text)
    done = subprocess.run(
        ["qemu-system-arm", "-M", name, "-kernel", str(made.elf), "-display", "none",
         "-monitor", "none", "-serial", "stdio"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.stdout.decode() == "start\n"
    assert done.returncode != 0
    said = done.stderr.decode()
    assert "Lockup" in said
    handler = Elf(made.elf).symbol["tr_fault_handler"]
    counter = next(line for line in said.splitlines() if "R15=" in line).split("R15=")[1][:8]
    assert handler.address & ~1 <= int(counter, 16) < (handler.address & ~1) + handler.bytes


@pytest.mark.parametrize("name", sorted({*CORES, H743} & {*UNICORN}))
@pytest.mark.parametrize(
    ("text", "kind"),
    [(OVERFLOW, "stack_guard"), (WRITE_IMAGE, "flash_write"), (DIVIDE, "division")],
    ids=["stack", "image", "divide"],
)
def test_a_fault_stops_the_virtual_board(tmp_path: Path, name: str, text: str, kind: str) -> None:
    made = program(name, tmp_path, text)
    if text == DIVIDE and made.board.traits.architecture == "armv6m":
        return  # it divides in software, which divides by zero without a fault
    with virtual.start(made.board, made, strict=True) as running:  # type: ignore[arg-type]
        end = time.monotonic() + PATIENCE_S
        while running.is_alive() and time.monotonic() < end:
            time.sleep(0.05)
        report = running.fault()
    assert report is not None and report.kind == kind, report


def test_static_constructors_do_not_link(tmp_path: Path) -> None:
    """Static constructors would never run: the linker script refuses them."""
    from tinyrobust.errors import BuildError

    with pytest.raises(BuildError, match="static constructors are not run"):
        program(
            "mps2-an500",
            tmp_path,
            "struct Made { int x; Made() : x(tr_port_is_virtual()) {} }; Made made;"
            'int main() { say(made.x ? "a" : "b"); return 0; }',
        )
