"""Generated code on an emulated Cortex-M: the same steps, one call each, instructions counted.

In: a Plan for a Cortex-M board. Out: a ``Device`` whose ``run`` gives what every step left
behind and how many instructions it took. Unicorn runs the linked code; there is no start-up, no
port and no protocol here, only the model.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_HOOK_BLOCK, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn.arm_const import (
    UC_ARM_REG_LR,
    UC_ARM_REG_R0,
    UC_ARM_REG_R1,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_M0,
    UC_CPU_ARM_CORTEX_M3,
    UC_CPU_ARM_CORTEX_M4,
    UC_CPU_ARM_CORTEX_M7,
    UC_CPU_ARM_CORTEX_M33,
)

from tests.kernels.host import FLAGS, as_tensor, ready, write_sources
from tinyrobust import memory
from tinyrobust.boards.cores import CORES

FLASH, RAM, ARENA, STACK, RETURN = 0x08000000, 0x20000000, 0x20100000, 0x20300000, 0x0FFFF000
MODELS = {
    "cortex-m0plus": UC_CPU_ARM_CORTEX_M0, "cortex-m3": UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": UC_CPU_ARM_CORTEX_M4, "cortex-m7": UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": UC_CPU_ARM_CORTEX_M33,
}  # fmt: skip
# What GCC may call by itself; the ports have their own.
STUBS = r"""
#include <stddef.h>
#include <stdint.h>
extern "C" {
using bytes = volatile uint8_t*;
void* memcpy(void* to, const void* from, size_t n) {
  while (n-- != 0) static_cast<bytes>(to)[n] = static_cast<const uint8_t*>(from)[n];
  return to;
}
void* memset(void* to, int value, size_t n) {
  while (n-- != 0) static_cast<bytes>(to)[n] = static_cast<uint8_t>(value);
  return to;
}
}
"""


def link(plan: memory.Plan, folder: Path, flags: Sequence[str] = ()) -> Path:
    """The model's code as an ELF that lies at FLASH and RAM."""
    sources, includes = write_sources(plan, folder)
    (folder / "stubs.cpp").write_text(STUBS)
    elf = folder / "model.elf"
    compiler = "arm-none-eabi-g++"
    options = [*CORES[plan.core].flags, "-mthumb", "-mfloat-abi=soft", *FLAGS, "-O2", *flags,
               *includes]  # fmt: skip
    command = [compiler, *options, *ready(compiler, options, sources), str(folder / "stubs.cpp"),
               "-nostdlib", "-Wl,--gc-sections,-u,tr_init,-u,tr_model,-e,tr_invoke",
               f"-Wl,-Ttext={FLASH:#x},-Tdata={RAM:#x}", "-o", str(elf), "-lgcc"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return elf


class Device:
    """A plan compiled for its core and loaded into an emulated one."""

    def __init__(self, plan: memory.Plan, folder: Path, flags: Sequence[str] = ()) -> None:
        self.plan = plan
        self.elf = link(plan, folder, flags)
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(MODELS[plan.core])
        self.uc.mem_map(FLASH, 4 << 20, 5)
        self.uc.mem_map(RAM, 4 << 20, 7)  # kernels write code there
        self.uc.mem_map(0xE000E000, 0x1000, 3)  # cache registers: there is no cache
        self.uc.mem_map(RETURN, 0x1000, 5)
        with self.elf.open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    self.uc.mem_write(segment["p_paddr"], segment.data())
            table = elf.get_section_by_name(".symtab")
            self.symbols = {s.name: s["st_value"] for s in table.iter_symbols()}
        self.count = 0
        self.ram_count = 0  # of them, instructions in RAM
        self._lengths: dict[object, int] = {}
        self.uc.hook_add(UC_HOOK_BLOCK, self._block)
        status = self._call(self.symbols["tr_init"], ARENA, plan.arena_bytes)
        assert status == 0, f"tr_init gives {status}"

    def _block(self, uc: Uc, address: int, size: int, _: object) -> None:
        key: object = (address, size)
        code = b""
        if address >= RAM:  # it may be other code than last time
            key = code = bytes(uc.mem_read(address, size))
        n = self._lengths.get(key)
        if n is None:
            code = code or bytes(uc.mem_read(address, size))
            halves = struct.unpack(f"<{size // 2}H", code)
            n = i = 0
            while i < len(halves):
                i += 2 if halves[i] >> 11 in (0b11101, 0b11110, 0b11111) else 1
                n += 1
            self._lengths[key] = n
        self.count += n
        if address >= RAM:
            self.ram_count += n

    def _call(self, function: int, a: int, b: int = 0) -> int:
        self.uc.reg_write(UC_ARM_REG_SP, STACK)
        self.uc.reg_write(UC_ARM_REG_LR, RETURN | 1)
        self.uc.reg_write(UC_ARM_REG_R0, a)
        self.uc.reg_write(UC_ARM_REG_R1, b)
        self.uc.emu_start(function | 1, RETURN)
        return int(self.uc.reg_read(UC_ARM_REG_R0))

    def run(self, image: np.ndarray) -> tuple[dict[str, np.ndarray], list[int]]:
        """(what every step left behind by tensor name, instructions of every step)."""
        plan = self.plan
        self.uc.mem_write(ARENA, b"\xa5" * plan.arena_bytes)
        self.uc.mem_write(ARENA + plan.image.offset, np.ascontiguousarray(image).tobytes())
        outputs, counts = {}, []
        for i, step in enumerate(plan.steps):
            name = next(s for s in self.symbols if f"layer{i:02d}_run" in s)
            self.count = 0
            self._call(self.symbols[name], ARENA)
            counts.append(self.count)
            place = plan.places[step.output]
            data = bytes(self.uc.mem_read(ARENA + place.offset, place.bytes))
            outputs[step.output] = as_tensor(plan, step.output, data)
        return outputs, counts
