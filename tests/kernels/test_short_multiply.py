"""The multiplications of cores without long ones (firmware/runtime/dsp.hpp) against 64-bit ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kernels.host import FLAGS
from tinyrobust import resources

PROGRAM = """
#include "runtime/dsp.hpp"
#include <stdio.h>
static uint32_t seed = 7;
static int32_t next() {
  static const int32_t edges[] = {0, 1, -1, 0x7fff, 0x8000, -0x8000, 0xffff, 0x10000, -0x10000,
                                  0x7fffffff, -0x7fffffff, INT32_MIN, 0x40000000, -0x40000000};
  seed = seed * 1664525u + 1013904223u;
  if (seed >> 30 == 0) return edges[(seed >> 8) % (sizeof edges / sizeof *edges)];
  const uint32_t bits = seed;
  seed = seed * 1664525u + 1013904223u;
  return static_cast<int32_t>(bits ^ (seed >> 16)) >> ((seed >> 27) & 31);
}
int main() {
  int checked = 0;
  for (int i = 0; i < 2000000; ++i) {
    const int32_t a = next(), b = next();
    const int64_t product = static_cast<int64_t>(a) * b;
    if (product >> 16 == static_cast<int32_t>(product >> 16)) {
      ++checked;
      if (tr::multiply_high_16(a, b) != product >> 16) return printf("16: %d * %d\\n", a, b), 1;
    }
    if (a == INT32_MIN && b == INT32_MIN) continue;
    const int64_t high = (product + (INT64_C(1) << 30)) >> 31;
    if (tr::multiply_high_31(a, b) != high) return printf("31: %d * %d\\n", a, b), 1;
  }
  return checked > 100000 ? 0 : 2;
}
"""


def test_products_by_halves_are_exact(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text(PROGRAM)
    flags = [f for f in FLAGS if f != "-ffreestanding"]
    run = ["g++", *flags, "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all",
           f"-I{resources.root() / 'firmware'}", "a.cpp", "-o", "a"]  # fmt: skip
    subprocess.run(run, cwd=tmp_path, check=True)
    done = subprocess.run([str(tmp_path / "a")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
