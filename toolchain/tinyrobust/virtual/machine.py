"""Stage ``virtual``: a microcontroller on Unicorn that runs the very bytes a flasher would write.

In: a ``Board`` with a ``unicorn`` section, the content of its flash, the ELF for names, a
descriptor for the UART. Out: ``run()`` comes back only with a ``FaultReport``. A system reset
starts the firmware again. Always enforced: unmapped access, writes to flash, the MPU's rights,
instructions that the core does not have, the stack limit of Armv8-M.
In strict mode also: floating point before CPACR, misaligned LDRD/LDM/STM (on Armv6-M every
misaligned access), division by zero
(whatever CCR.DIV_0_TRP says), execution from memories in which the board puts no code, and
peripheral registers that are not modelled. Time is counted in instructions, or in estimated cycles
of the model in ``cycles.py``: a read of CYCCNT counts the straight run of instructions that it
stands in as a whole, so differences repeat exactly.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrobust.boards.boot_block import CRC_BYTES, crc, is_sealed
from tinyrobust.boards.cores import CORES, Core
from tinyrobust.boards.schema import Board, BootBlock, Memory
from tinyrobust.virtual import mpu
from tinyrobust.virtual.code_ram import STALE_TEXT, CodeRange, Stale
from tinyrobust.virtual.engine import UcError, arm_const, unicorn, unicorn_const
from tinyrobust.virtual.faults import TEXT, Fault, FaultReport, Symbols
from tinyrobust.virtual.hooks import Clock, Requests, Span, State
from tinyrobust.virtual.native import NativeHooks
from tinyrobust.virtual.peripherals import register_map
from tinyrobust.virtual.thumb import Level

_PAGE = 1024  # the granularity of rights in Unicorn's M-profile
_MAP = 4096  # and of mappings
_OPEN_INSTRUCTIONS = 2_000_000  # how long a page with mixed rights stays open
_NOWHERE = 0xFFFFFFFE  # the engine's end address, which code never reaches
MODELS = {
    "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
_REGISTERS = {
    **{f"r{i}": getattr(arm_const, f"UC_ARM_REG_R{i}") for i in range(13)},
    "sp": arm_const.UC_ARM_REG_SP,
    "lr": arm_const.UC_ARM_REG_LR,
    "pc": arm_const.UC_ARM_REG_PC,
    "xpsr": arm_const.UC_ARM_REG_XPSR,
}
_VECTORS = {1: "reset", 2: "NMI", 3: "HardFault"}  # that every core takes
# QEMU, target/arm/cpu.h: EXCP_*
_INTERRUPTS = {
    1: Fault.UNDEFINED, 2: Fault.SUPERVISOR_CALL, 7: Fault.BREAKPOINT, 17: Fault.NO_FPU,
    19: Fault.STACK_GUARD,
}  # fmt: skip
_READS = {unicorn_const.UC_MEM_READ_UNMAPPED, unicorn_const.UC_MEM_READ_PROT}
_WRITES = {unicorn_const.UC_MEM_WRITE_UNMAPPED, unicorn_const.UC_MEM_WRITE_PROT}

_PROTECTED = {
    unicorn_const.UC_MEM_READ_PROT: mpu.READ,
    unicorn_const.UC_MEM_WRITE_PROT: mpu.WRITE,
    unicorn_const.UC_MEM_FETCH_PROT: mpu.EXECUTE,
}


@dataclass
class _Access:
    """The last access that the engine refused, or the exception that it took."""

    kind: int
    address: int
    size: int


def _pattern(size: int) -> bytes:
    """What RAM holds at power-on: noise, the same every time, so that nobody relies on zeros."""
    block = bytearray(4096)
    state = 0x2545F491
    for i in range(0, len(block), 4):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        block[i : i + 4] = state.to_bytes(4, "little")
    return bytes(block) * (size // len(block) + 1)


def level_of(core: Core) -> Level:
    """The instructions that the engine's model of ``core`` runs and the core does not have."""
    if CORES[core].architecture == "armv6m":
        return Level.ARMV6M
    return Level.ALL if "dsp" in CORES[core].features else Level.NO_DSP


class Machine:
    """One virtual microcontroller. Create it in the process that runs it."""

    def __init__(
        self,
        board: Board,
        flash: bytes,
        fd: int,
        *,
        elf: Path | None = None,
        strict: bool = False,
        overrides: Mapping[int, int] | None = None,
        clock: Clock = Clock.INSTRUCTIONS,
    ) -> None:
        self.board = board
        self.strict = strict
        self._elf = elf
        self._map = register_map(board, overrides)
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(MODELS[board.core])
        self._closed = False  # the boot block has not made the flash readable yet
        self._in_block = False  # and may still run, until the image sets up the MPU
        self._buffers: list[mmap.mmap] = []  # Unicorn uses the memory: it must stay alive
        self._spans = [self._map_memory(memory, flash) for memory in board.memories]
        self._rights: dict[int, tuple[int, int]] = {}  # start -> end, rights
        self._pieces: list[tuple[int, int, int]] = []
        self._watching = False
        self._refused: _Access | None = None
        self._no_start: tuple[Fault, None, str, int, str] = (Fault.NO_IMAGE, None, "", 0, "")
        symbols = Symbols(elf)
        self._table = symbols.value("tr_vectors")
        self._code = self._code_range(symbols)
        self.hooks = NativeHooks(
            self._uc, self._map, self._spans, fd, strict, clock, self._code, level_of(board.core)
        )
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_invalid)

    def _map_memory(self, memory: Memory, flash: bytes) -> Span:
        is_flash = memory.kind == "flash"
        size = -(-memory.length // _MAP) * _MAP
        buffer = mmap.mmap(-1, size)
        if is_flash:
            content = flash if memory == self.board.flash else b""
            buffer.write(content[:size] + b"\xff" * (size - len(content)))
        else:
            buffer.write(_pattern(size)[:size])
        self._buffers.append(buffer)
        pointer = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        self._uc.mem_map_ptr(memory.origin, size, self._hardware(memory), pointer)
        return Span(memory.origin, size, is_flash, pointer, memoryview(buffer))

    def _code_range(self, symbols: Symbols) -> CodeRange | None:
        """Where the firmware writes code: the ELF says it, else a memory that is for nothing
        else."""
        low, high = symbols.value("tr_code_ram_start"), symbols.value("tr_code_ram_end")
        takers = [m for m in self.board.memories if "code_ram" in m.use]
        if low is None or high is None:
            memory = next((m for m in takers if m.use == ["code_ram"]), None)
            low, high = (memory.origin, memory.end) if memory else (0, 0)
        home = next((m for m in takers if m.origin <= low and high <= m.end), None)
        if home is None or low >= high:
            return None
        return CodeRange(low, high, home.kind == "ram" and self.board.traits.cached)

    def _hardware(self, memory: Memory) -> int:
        is_flash, block = memory.kind == "flash", self.board.boot_block
        if self._closed and memory == self.board.flash:
            return 0
        rights = mpu.READ if is_flash else mpu.READ | mpu.WRITE
        holds_code = is_flash or not {"code", "hot_code"}.isdisjoint(memory.use)
        if self._in_block and block and memory.origin <= block.copy_to < memory.end:
            holds_code = True
        return rights | mpu.EXECUTE if holds_code or not self.strict else rights

    @property
    def engine(self) -> Any:
        """The engine, for hooks of ``injection.py``."""
        return self._uc

    def memory(self, address: int, size: int) -> bytes:
        """Bytes of a memory, for tests and tools."""
        return bytes(self._uc.mem_read(address, size))

    def run(self, *, max_resets: int | None = None) -> FaultReport | None:
        """Run from the reset vector until a fault; after ``max_resets`` resets give None."""
        resets = 0
        pc = self._boot()
        while True:
            if pc is None:
                return self._report(*self._no_start)
            self._refused = None
            failure: Exception | None = None
            try:
                self._uc.emu_start(pc | 1, _NOWHERE)
            except UcError as error:
                failure = error
            state = self.hooks.take()
            pc = int(self._uc.reg_read(arm_const.UC_ARM_REG_PC))
            if failure is not None and state.fault is Fault.NONE:
                if self._closed and self._refused and self._in_flash(self._refused.address):
                    if unmet := self._unmet():
                        return self._report(Fault.BOOT_BLOCK, None, detail=unmet)
                    self._closed = False
                    self._protect()
                    self.hooks.rewind(pc)
                    continue
                if self._allow(self._refused):
                    self.hooks.rewind(pc)
                    continue
            if state.fault is not Fault.NONE or failure is not None or self._refused is not None:
                self.hooks.flush()
                return self._explain(state, failure)
            if state.requests & Requests.RESET:
                if max_resets is not None and resets >= max_resets:
                    return None
                resets += 1
                pc = self._boot()
            elif state.requests:
                self._in_block = False
                self._protect()

    def _boot(self) -> int | None:
        """What the processor does at reset; the entry point, None when flash holds none."""
        self.hooks.reset()
        self._closed = self._in_block = self.board.boot_block is not None
        self._protect()
        for name, register in _REGISTERS.items():
            self._uc.reg_write(register, 1 << 24 if name == "xpsr" else 0)
        flash, start = self.board.flash, self.board.vector_table
        # A bootloader in front of the image would set VTOR and jump: none is run here.
        vectors = self._spans[self.board.memories.index(flash)].data[start - flash.origin :]
        words = struct.unpack_from("<16I", vectors)
        stack, entry = words[0], words[1]
        if not start <= entry < flash.end:
            self._no_start = (Fault.NO_IMAGE, None, "", 0, "")
            return None
        if wrong := self._wrong_vector(words):
            self._no_start = (Fault.VECTORS, None, "", 0, wrong)
            return None
        if self.board.boot_block is not None:
            return self._boot_rom(self.board.boot_block)
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack & ~3)
        return entry & ~1

    def _boot_rom(self, block: BootBlock) -> int | None:
        """What the chip's boot ROM does: it checks the boot block, copies it and goes there."""
        flash, first = self.board.flash, self.board.image_origin - self.board.flash.origin
        data = self._spans[self.board.memories.index(flash)].data
        content = bytes(data[first : first + block.bytes])
        if not is_sealed(content):
            self._no_start = (
                Fault.BOOT_BLOCK, None, "", 0,
                f"the CRC in its last word is wrong, so it waits for a USB host: "
                f"{content[-CRC_BYTES:][::-1].hex()}, not {crc(content[:-CRC_BYTES]):08x}",
            )  # fmt: skip
            return None
        self._uc.mem_write(block.copy_to, content)
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, block.copy_to)
        return block.copy_to

    def _in_flash(self, address: int) -> bool:
        return self.board.flash.origin <= address < self.board.flash.end

    def _unmet(self) -> str:
        """What the boot block has not set up that reading the flash needs, or nothing."""
        for rule in self._map.boot_ready:
            if rule.is_broken(lambda c: self.hooks.peek(c.address)):
                return f"the flash cannot be read yet: {rule.text()}"
        return ""

    def _wrong_vector(self, words: tuple[int, ...]) -> str:
        """What is wrong with a vector table (DDI0403, "The vector table"), or nothing. Of a table
        that the ELF does not name only the first two words are known to be vectors."""
        start = self.board.vector_table
        ram = [m for m in self.board.memories if m.kind != "flash"]
        if not any(m.origin < words[0] <= m.end for m in ram):
            return f"the initial stack pointer {words[0]:#010x} is in no RAM"
        if self._table not in (None, start):
            return f"the table is at {self._table:#010x}, the image starts at {start:#010x}"
        for number in range(1, 2 if self._table is None else len(words)):
            name = f"vector {number}" + (f" ({_VECTORS[number]})" if number in _VECTORS else "")
            word = words[number]
            if word == 0 and number not in _VECTORS:
                continue
            if not start <= word < self.board.flash.end:
                return f"{name}, {word:#010x}, is not in the image"
            if not word & 1:
                return f"{name}, {word:#010x}, has bit 0 clear: it is no Thumb code"
        return ""

    # Rights: the memory's own, limited by the MPU. Unicorn gives rights to pages of 1 KiB. A page
    # that has more than one sort (a stack guard has 32 bytes) gets what all its parts allow; the
    # first access that needs more opens it, and then its parts are watched access by access,
    # which is slower, until it is armed again.

    def _protect(self, *, opened: bool = False) -> None:
        unit = self.hooks.mpu()
        watched: list[tuple[int, int, bool, bool]] = []
        self._pieces = []
        for memory, span in zip(self.board.memories, self._spans, strict=True):
            pieces = self._code_pieces(unit.pieces(
                span.base, span.base + span.size, self._hardware(memory),
                without=self._code.low if self._code else None,
            ))  # fmt: skip
            self._pieces += pieces
            for low, high, rights in _whole_pages(pieces, opened):
                if self._rights.get(low) != (high, rights):
                    self._uc.mem_protect(low, high - low, rights)
                    self._forget(low, high)
                    self._rights[low] = (high, rights)
            if opened:
                watched += _partial_pages(pieces)
        if watched or self._watching:
            self.hooks.guard(watched)
            self._uc.ctl_flush_tb()  # code translated without the watch would not see it
        self._watching = bool(watched)

    def _code_pieces(self, pieces: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """``pieces`` with everything allowed in the pages where firmware writes code: the hooks
        watch them (code_ram.py)."""
        if self._code is None:
            return pieces
        low, high = self._code.low // _PAGE * _PAGE, -(-self._code.high // _PAGE) * _PAGE
        found = []
        for start, end, rights in pieces:
            inside = max(start, low), min(end, high)
            if inside[0] >= inside[1]:
                found.append((start, end, rights))
                continue
            found += [(start, inside[0], rights), (*inside, rights | mpu.ALL if rights else 0),
                      (inside[1], end, rights)]  # fmt: skip
        return [piece for piece in found if piece[0] < piece[1]]

    def _forget(self, low: int, high: int) -> None:
        overlapping = [
            start for start, (end, _) in self._rights.items() if start < high and end > low
        ]
        for start in overlapping:
            del self._rights[start]

    def _allow(self, refused: _Access | None) -> bool:
        """Open the pages with mixed rights when that is all the refused access needs."""
        if refused is None or self._watching or refused.kind not in _PROTECTED:
            return False
        need = _PROTECTED[refused.kind]
        ends = (refused.address, refused.address + max(refused.size, 1) - 1)
        for address in ends:
            rights = next((r for low, high, r in self._pieces if low <= address < high), 0)
            if not rights & need:
                return False
        self._protect(opened=True)
        self.hooks.rearm(_OPEN_INSTRUCTIONS)
        return True

    # Faults.

    def _on_interrupt(self, uc: Any, number: int, _user: object) -> None:
        self._refused = _Access(-1, number, 0)
        uc.emu_stop()

    def _on_invalid(
        self, _uc: Any, kind: int, address: int, size: int, _value: int, _user: object
    ) -> bool:
        self._refused = _Access(kind, address & 0xFFFFFFFF, size)
        return False

    def _explain(self, state: State, failure: Exception | None) -> FaultReport:
        """Turn what the hooks or the engine saw into a report."""
        fault, address, size, is_write = state.fault, state.address, state.size, state.is_write
        if fault is Fault.PROTECTION:
            return self._report(
                self._protection_kind(address), address, "write" if is_write else "read", size
            )
        if fault in (Fault.UNMAPPED, Fault.REGISTER):
            return self._report(
                fault, address, "write" if is_write else "read", size,
                detail=self._map.name_of(address) if self._map.block_at(address) else "",
            )  # fmt: skip
        if fault in (Fault.PERIPHERAL_OFF, Fault.UNREADY, Fault.UNCONNECTED):
            return self._report(  # the size is the number of the rule
                fault, address, "write" if is_write else "read", 4,
                detail=f"{self._map.name_of(address)}: {self._map.rules[size].text()}",
            )  # fmt: skip
        if fault is Fault.WAITING:  # the size is what it reads
            return self._report(
                fault, address, "read", 4,
                detail=f"{self._map.name_of(address)}, which stays {size:#x}",
            )  # fmt: skip
        if fault is Fault.STALE_CODE:
            return self._report(fault, address, "fetch", detail=STALE_TEXT[Stale(size)])
        if fault is Fault.WRITABLE_CODE:
            return self._report(fault, address, "fetch")
        if fault is Fault.UNDEFINED:
            return self._report(fault, None, detail=f"{self.board.core} has no such instruction")
        if fault is Fault.MISALIGNED:
            return self._report(fault, None, detail=f"base register {address:#010x}")
        if fault is not Fault.NONE:
            return self._report(fault, None)
        refused = self._refused
        if refused is None:
            return self._report(Fault.UNDEFINED, None, detail=str(failure))
        if refused.kind == -1:
            kind = _INTERRUPTS.get(refused.address, Fault.EXCEPTION)
            detail = f"QEMU exception {refused.address}" if kind is Fault.EXCEPTION else ""
            return self._report(kind, None, detail=detail)
        return self._refusal(refused)

    def _refusal(self, refused: _Access) -> FaultReport:
        memory = next((m for m in self.board.memories if m.origin <= refused.address < m.end), None)
        access = (
            "read" if refused.kind in _READS else "write" if refused.kind in _WRITES else "fetch"
        )
        if memory is None:
            kind = Fault.UNMAPPED
        elif access == "fetch":
            kind = Fault.EXECUTION
        elif access == "write" and memory.kind == "flash":
            kind = Fault.FLASH_WRITE
        else:
            kind = self._protection_kind(refused.address)
        detail = memory.name if memory else ""
        if self.hooks.mpu().overlaps_at(refused.address):
            detail += ", which two MPU regions hold"
        return self._report(kind, refused.address, access, refused.size, detail=detail)

    def _protection_kind(self, address: int) -> Fault:
        """A region without any rights in RAM is a stack guard; other refusals are plain."""
        region = self.hooks.mpu().region_at(address)
        return Fault.STACK_GUARD if region and region.rights == 0 else Fault.PROTECTION

    def _report(
        self, kind: Fault, address: int | None, access: str = "", size: int = 0, detail: str = ""
    ) -> FaultReport:
        registers = {
            name: int(self._uc.reg_read(number)) & 0xFFFFFFFF for name, number in _REGISTERS.items()
        }
        symbols = Symbols(self._elf)
        pc = registers["pc"]
        if access == "fetch" and address is not None:
            pc = registers["pc"] = address
        return FaultReport(
            kind.name.lower(), TEXT[kind], pc, symbols.function(pc), address, access, size,
            registers, caller=symbols.function(registers["lr"]).replace("?", ""),
            detail=detail,
        )  # fmt: skip


def _whole_pages(pieces: list[tuple[int, int, int]], opened: bool) -> list[tuple[int, int, int]]:
    """``pieces`` on page boundaries; a page with mixed rights gets what all its parts have in
    common or, ``opened``, what any part has."""
    pages: dict[int, int] = {}
    for low, high, rights in pieces:
        for page in range(low // _PAGE, -(-high // _PAGE)):
            before = pages.get(page, rights)
            pages[page] = before | rights if opened else before & rights
    result: list[tuple[int, int, int]] = []
    for page, rights in sorted(pages.items()):
        start, end = page * _PAGE, (page + 1) * _PAGE
        if result and result[-1][2] == rights:
            start = result.pop()[0]
        result.append((start, end, rights))
    return result


def _partial_pages(pieces: list[tuple[int, int, int]]) -> list[tuple[int, int, bool, bool]]:
    """Parts of pages that lack reading or writing: ``(start, end, no_read, no_write)``."""
    watched = []
    for low, high, rights in pieces:
        reads, writes = not rights & mpu.READ, not rights & mpu.WRITE
        if not (reads or writes):
            continue
        inner_low, inner_high = -(-low // _PAGE) * _PAGE, high // _PAGE * _PAGE
        if inner_low > inner_high:  # within one page
            watched.append((low, high, reads, writes))
            continue
        if low < inner_low:
            watched.append((low, inner_low, reads, writes))
        if inner_high < high:
            watched.append((inner_high, high, reads, writes))
    return watched
