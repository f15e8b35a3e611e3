"""An image that is jumped to, not reset into: what a boot loader left must not stop it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boards.test_ports import output, program
from tinyrobust import boards

pytestmark = pytest.mark.slow

# The first time it is the boot loader: it takes all rights from the first 32 KiB of RAM, as a guard
# or a region of its own would, and jumps to the image. The last word of RAM is not the image's.
MPU_LEFT_ON = """
extern "C" void Reset_Handler();
int main() {
  auto* const seen = reinterpret_cast<volatile uint32_t*>(0x2003FFFCu);
  tr_port_init();
  if (*seen != 0x5EE45EE4u) {
    *seen = 0x5EE45EE4u;
    say("loader\\n");
    auto* const mpu = reinterpret_cast<volatile uint32_t*>(0xE000ED94u);
    mpu[0] = 0;
    mpu[1] = 7;            // MPU_RNR
    mpu[2] = 0x20000000u;  // MPU_RBAR
    const uint32_t rights = 1u << 28 | 14u << 1 | 1u;  // MPU_RASR: no access, 32 KiB
    __asm volatile("str %1, [%0, #12]\\n\\tstr %2, [%0]\\n\\tdsb\\n\\tisb\\n\\tbx %3"
                   : : "l"(mpu), "l"(rights), "l"(5u), "l"(&Reset_Handler) : "memory");
  }
  say("image.\\n");
  for (;;) {
  }
}
"""


@pytest.mark.parametrize("name", ["arduino-nano-33-ble", "raspberry-pi-pico"])
def test_an_mpu_that_was_left_on(name: str, tmp_path: Path) -> None:
    assert boards.load(name).unicorn is not None
    assert output(program(name, tmp_path, MPU_LEFT_ON), ending=b".\n") == "loader\nimage.\n"
