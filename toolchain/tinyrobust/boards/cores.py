"""Stage ``boards``: what each processor core can do. In: the ``core`` of a board file. Out: Traits.

One place for everything that follows from the core alone: compiler flags, the start-up code's
folder, instructions beyond plain C++, the MPU's kind, identification registers. Sources: DDI0419
(Armv6-M), DDI0403 (Armv7-M) and DDI0553 (Armv8-M), Arm's architecture reference manuals, and the
technical reference manuals of the processors (DDI0484 Cortex-M0+, 100165 Cortex-M3, 100166
Cortex-M4, DDI0489 Cortex-M7, 100230 Cortex-M33, 101051 Cortex-M55).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Core = Literal[
    "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "host"
]
Mpu = Literal["pmsav6", "pmsav7", "pmsav8"]


@dataclass(frozen=True)
class Traits:
    """What follows from a core.

    ``architecture``: the folder of ``firmware/ports`` with its start-up code. ``flags``: gcc's.
    ``features``: instructions that kernels may need beyond plain C++ (``dsp``: SMLAD and its like,
    with which kernels also generate code). ``mpu``: its registers (of the Cortex-M0+ an option);
    ``guard_bytes``: what of it, below the stack, catches an overflow; 0 where the core has a stack
    limit register. ``cpuid`` and ``clidr``: identification of the processor and of its caches (0:
    none). ``compiled_size``: bytes of compiled weights for each that they take with DSP
    instructions, at most (53 layers compiled: 1.42 on average and 1.56 at most on a Cortex-M3, 1.66
    and 1.95 on a Cortex-M0+).
    """

    architecture: Literal["armv6m", "armv7m", "armv8m", ""]
    flags: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    mpu: Mpu = "pmsav7"
    guard_bytes: int = 32
    cpuid: int = 0
    clidr: int = 0
    compiled_size: float = 1.0

    @property
    def cached(self) -> bool:
        """True when the core has caches of its own, which firmware maintains."""
        return self.clidr != 0


_DSP = frozenset({"dsp"})

CORES: dict[Core, Traits] = {
    # DDI0419: no DSP, divide, IT or LDRD; every misaligned access faults (A3.2.1). An MPU region
    # has at least 256 bytes (B3.5). GCC calls libgcc for jump tables there, and these calls are in
    # no call graph.
    "cortex-m0plus": Traits(
        "armv6m", ("-mcpu=cortex-m0plus", "-fno-jump-tables"), mpu="pmsav6",
        guard_bytes=256, cpuid=0x410CC601, compiled_size=2.0,
    ),
    "cortex-m3": Traits("armv7m", ("-mcpu=cortex-m3",), cpuid=0x412FC231, compiled_size=1.6),
    "cortex-m4": Traits("armv7m", ("-mcpu=cortex-m4",), _DSP, cpuid=0x410FC241),
    # CLIDR: a data and an instruction cache of level 1
    "cortex-m7": Traits("armv7m", ("-mcpu=cortex-m7",), _DSP, cpuid=0x411FC271, clidr=0x09000003),
    "cortex-m33": Traits(
        "armv8m", ("-mcpu=cortex-m33",), _DSP, mpu="pmsav8", guard_bytes=0, cpuid=0x411FD210
    ),
    # without MVE, which the kernels do not use and which would need the FPU's registers
    "cortex-m55": Traits(
        "armv8m", ("-mcpu=cortex-m55+nomve",), _DSP, mpu="pmsav8", guard_bytes=0,
        cpuid=0x411FD221, clidr=0x09000003,
    ),
    "host": Traits(""),
}  # fmt: skip
