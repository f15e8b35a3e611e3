"""Cycle counters that a port puts together from narrower ones count on beyond the narrow end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boards.test_ports import output, program
from tinyrobust import boards

pytestmark = pytest.mark.slow

# Two instructions a round; SysTick's 24 bits are over after 8,388,608 rounds.
ROUNDS = """
__attribute__((noinline)) static uint32_t count(uint32_t rounds) {
  const uint32_t before = tr_port_cycles();
  __asm volatile(
      ".syntax unified\\n1:\\n\\tsubs %0, #1\\n\\tbne 1b\\n\\t.syntax divided"
      : "+l"(rounds) : : "cc");
  return tr_port_cycles() - before;
}
int main() {
  tr_port_init();
  const uint32_t few = count(1000u);
  bool good = count(1000u + 9000000u) - few == 2u * 9000000u;
  say(good ? "one turn\\n" : "bad\\n");
  good = good && count(1000u + 21000000u) - few == 2u * 21000000u;
  say(good ? "more turns\\n" : "bad\\n");
  for (uint32_t i = 0; i < 50u; ++i) {
    good = good && count(1000u + 37777u * i) - few == 2u * 37777u * i;
  }
  say(good ? "good.\\n" : "bad.\\n");
  for (;;) {
  }
}
"""


@pytest.mark.parametrize(
    "name", [n for n in boards.names() if boards.load(n).core == "cortex-m0plus"]
)
def test_systick_with_a_timer_beside_it_counts_single_cycles_in_32_bits(
    name: str, tmp_path: Path
) -> None:
    made = program(name, tmp_path, ROUNDS)
    assert output(made, ending=b".\n") == "one turn\nmore turns\ngood.\n"
