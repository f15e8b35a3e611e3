"""Stage ``virtual``: what a virtual board says when its firmware does what silicon forbids.

In: the fault's kind and address, the registers, the ELF. Out: a ``FaultReport``, which names the
function and becomes an ``errors.DeviceFault`` for whoever talks to the board.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from tinyrobust.errors import DeviceFault


class Fault(IntEnum):
    """Kinds of faults. The numbers are shared with ``hooks.c``."""

    NONE = 0
    UNMAPPED = 1
    FLASH_WRITE = 2
    STACK_GUARD = 3
    PROTECTION = 4
    EXECUTION = 5
    UNDEFINED = 6
    BREAKPOINT = 7
    SUPERVISOR_CALL = 8
    NO_FPU = 9
    MISALIGNED = 10
    DIVISION = 11
    REGISTER = 12
    EXCEPTION = 13
    NO_IMAGE = 14
    STALE_CODE = 15
    WRITABLE_CODE = 16
    PERIPHERAL_OFF = 17
    UNREADY = 18
    WAITING = 19
    BOOT_BLOCK = 40
    VECTORS = 20
    UNCONNECTED = 21


TEXT = {
    Fault.UNMAPPED: "access to an address where nothing is mapped",
    Fault.FLASH_WRITE: "write to flash",
    Fault.STACK_GUARD: "stack overflow: the MPU stack guard was touched",
    Fault.PROTECTION: "access that the MPU forbids",
    Fault.EXECUTION: "execution from memory that holds no code",
    Fault.UNDEFINED: "undefined instruction",
    Fault.BREAKPOINT: "breakpoint instruction",
    Fault.SUPERVISOR_CALL: "supervisor call",
    Fault.NO_FPU: "floating point before CPACR allows it",
    Fault.MISALIGNED: "LDRD, LDM or STM with an address that is no multiple of four",
    Fault.DIVISION: "integer division by zero",
    Fault.REGISTER: "peripheral register that the virtual board does not model",
    Fault.EXCEPTION: "processor exception",
    Fault.NO_IMAGE: "no image in flash: the reset vector is not in it",
    Fault.STALE_CODE: "execution of instructions that were written, but that the core may "
    "not see yet",
    Fault.WRITABLE_CODE: "execution from RAM that the MPU marks execute-never, as it is while it "
    "may be written",
    Fault.PERIPHERAL_OFF: "access to a peripheral that is held in reset or has no clock",
    Fault.UNREADY: "access to hardware that is not ready for it",
    Fault.WAITING: "waits for a register that never changes",
    Fault.VECTORS: "the vector table is wrong",
    Fault.BOOT_BLOCK: "the boot ROM does not get into the image",
    Fault.UNCONNECTED: "a byte for the serial port, but the UART is not joined to its pin",
}


@dataclass(frozen=True)
class FaultReport:
    """A fault: ``kind`` is a name of ``Fault`` in lower case; ``address`` is what was accessed."""

    kind: str
    text: str
    pc: int
    function: str
    address: int | None
    access: str  # "read", "write", "fetch" or ""
    size: int
    registers: Mapping[str, int] = field(default_factory=dict)
    caller: str = ""
    detail: str = ""

    def summary(self) -> str:
        """One line: what, where, which address."""
        what = self.text
        if self.access == "fetch" and self.size == 0:
            what += f" (fetch at {self.address:#010x}" + (
                f"; {self.detail})" if self.detail else ")"
            )
        elif self.address is not None and self.access:
            what += f" ({self.access} of {self.size} bytes at {self.address:#010x}"
            what += f", {self.detail})" if self.detail else ")"
        elif self.detail:
            what += f" ({self.detail})"
        where = f"at {self.pc:#010x} in {self.function}"
        if self.caller:
            where += f", called from {self.caller}"
        return f"{what} {where}"

    def __str__(self) -> str:
        rows = [f"the virtual board faulted: {self.summary()}"]
        names = list(self.registers)
        for i in range(0, len(names), 4):
            rows.append(
                "  " + "  ".join(f"{n:>4} {self.registers[n]:08x}" for n in names[i : i + 4])
            )
        return "\n".join(rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FaultReport:
        """The inverse of ``as_dict``."""
        return cls(**data)

    def error(self) -> DeviceFault:
        """The exception to raise."""
        return DeviceFault(
            str(self), "this is a defect of the firmware; look at that function in the ELF"
        )


class Symbols:
    """Function names by address, from the symbol table of an ELF file."""

    def __init__(self, elf: Path | None) -> None:
        self._functions: list[tuple[int, int, str]] = []
        self._values: dict[str, int] = {}
        if elf is None:
            return
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection

        with elf.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                if not isinstance(section, SymbolTableSection):
                    continue
                for symbol in section.iter_symbols():
                    value, size = symbol["st_value"], symbol["st_size"]
                    if symbol["st_info"]["type"] == "STT_FUNC":
                        self._functions.append((value & ~1, size, symbol.name))
                    elif symbol.name:
                        self._values[symbol.name] = value
        self._functions.sort()

    def value(self, name: str) -> int | None:
        """The value of a data or linker symbol, None when there is none."""
        return self._values.get(name)

    def function(self, address: int) -> str:
        """``name+0x1c``, or ``?`` when no function of the image is there."""
        address &= ~1
        best = ""
        for start, size, name in self._functions:
            if start > address:
                break
            if address < start + max(size, 2):
                best = name if address == start else f"{name}+{address - start:#x}"
        return best or "?"
