"""Where code that kernels write lies, in a RAM that it shares with everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boards.test_ports import output, program
from tinyrobust import boards
from tinyrobust.image import link
from tinyrobust.image.elf import Elf
from tinyrobust.image.memory_report import Stack, measure

NANO = boards.load("arduino-nano-33-ble")


class Sections:
    """An ELF's section sizes."""

    def __init__(self, **sizes: int) -> None:
        self._sizes = sizes

    def section_bytes(self, name: str) -> int:
        return self._sizes.get(name.removeprefix("."), 0)


@pytest.mark.parametrize(
    ("code", "arena", "first"),
    [
        (0x6000, 0x8000, False),  # aligned to 32 KiB behind the rest
        (0x1C000, 0xC000, False),  # to 128 KiB, the upper half of RAM
        (0x2C000, 0xC000, True),  # 256 KiB: only where RAM starts
        (0x2C001, 0xA000, True),
    ],
)
def test_code_goes_first_when_it_has_no_room_behind(code: int, arena: int, first: bool) -> None:
    sizes = Sections(tr_stack=8224, tr_buffers=2712, tr_arena=arena, bss=40, tr_code_ram=code)
    found = link._place(NANO, sizes)  # type: ignore[arg-type]
    assert found.code_ram == "RAM" and found.code_first is first


# Larger than half of the RAM: its region is all of the RAM, less the eighths that it does not fill.
LARGE = """
__attribute__((section(".sbss.tr_code_ram"), aligned(8))) uint8_t code[0x22000];
volatile uint8_t* volatile everything = code;
volatile uint32_t zeroed[1000];
int main() {
  tr_port_init();
  everything[0] = everything[sizeof code - 1] = 1;
  bool good = reinterpret_cast<uintptr_t>(code) == 0x20000000u;
  good = good && reinterpret_cast<uintptr_t>(tr_port_stack_low()) == 0x20028020u;
  for (uint32_t i = 0; i < 1000; ++i) {
    good = good && zeroed[i] == 0;
    zeroed[i] = i;
  }
  say(good ? "good\\n" : "bad\\n");
  for (;;) {
  }
}
"""


@pytest.mark.slow
def test_code_in_front_leaves_stack_and_data_alone(tmp_path: Path) -> None:
    assert output(program("arduino-nano-33-ble", tmp_path, LARGE)) == "good\n"


ARENA = 'extern "C" { __attribute__((section(".bss.tr_arena"), aligned(8))) uint8_t tr_arena[64]; }'


@pytest.mark.slow
def test_what_alignment_pushes_out_of_ram_is_reported(tmp_path: Path) -> None:
    text = LARGE.replace("0x22000", "0x3E000")  # its region fills the RAM; 8 KiB are left
    text = ARENA + text.replace("bool good", "tr_arena[0] = 1;\n  bool good")
    elf = Elf(program("arduino-nano-33-ble", tmp_path, text).elf)
    stack = Stack(reserved_bytes=8192, bound_bytes=100)
    report = measure(elf, NANO, "large", [], stack)
    assert any("of RAM, which has" in e.message for e in report.excesses())
