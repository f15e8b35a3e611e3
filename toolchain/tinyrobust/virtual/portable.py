"""Stage ``virtual``: the hooks in Python, for computers without a C compiler.

In and out: as ``hooks.Hooks``. Every rule stands also in ``hooks.c``; the tests run the same
firmware on both and want the same counts, bytes and faults.
"""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Sequence
from typing import Any

from tinyrobust.virtual import peripherals, thumb
from tinyrobust.virtual.code_ram import BARRIERS, EXECUTE_NEVER, CodeRam, CodeRange
from tinyrobust.virtual.cycles import TAKEN, Straight, joined, straight
from tinyrobust.virtual.engine import arm_const, unicorn, unicorn_const
from tinyrobust.virtual.faults import Fault
from tinyrobust.virtual.hooks import Clock, Requests, Span, State
from tinyrobust.virtual.mpu import Mpu
from tinyrobust.virtual.peripherals import RegisterMap, Role
from tinyrobust.virtual.rules import READS, WRITES, Condition, Rule, RuleKind

_POLLS_BEFORE_READ, _POLLS_BEFORE_SLEEP = 16, 64
_SLEEP_S, _GIVE_UP_S = 0.05, 5.0
_FLUSH_AFTER_INSTRUCTIONS = 200_000
_REGIONS = 16
_DATA = (Role.UART_TRANSMIT, Role.PL011_DATA, Role.CMSDK_DATA)  # often written as bytes
_RATES = (
    1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 500000, 576000, 921600,
    1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
)  # fmt: skip
_CCR = 0xE000ED14
_REGISTERS = [
    *(getattr(arm_const, f"UC_ARM_REG_R{i}") for i in range(13)),
    arm_const.UC_ARM_REG_SP,
    arm_const.UC_ARM_REG_LR,
    arm_const.UC_ARM_REG_PC,
]


# Its bytes, cost, checks by offset, and the offset of an instruction that the core does not have.
_Block = tuple[bytes, Straight, dict[int, int], int | None]


class PortableHooks:
    """The hooks in Python; see ``hooks.Hooks``."""

    kind = "portable"

    def __init__(
        self, uc: Any, registers: RegisterMap, spans: Sequence[Span], fd: int, strict: bool,
        clock: Clock, code: CodeRange | None = None, level: thumb.Level = thumb.Level.ALL,
    ) -> None:  # fmt: skip
        self._code: CodeRam | None = None
        self.count = 0
        self.cycles = 0
        self._clock = clock
        self._level = level
        self._v8 = any(r.role is Role.MPU_LIMIT for r in registers.registers.values())
        self._uc, self._map, self._spans, self._fd, self._strict = uc, registers, spans, fd, strict
        self._blocks = {b.base: b for b in registers.blocks}
        self._known: dict[tuple[int, int], _Block] = {}
        self._guards: list[Any] = []
        self.reset_state()
        uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_block)
        if strict:
            uc.hook_add(unicorn.UC_HOOK_CODE, self._on_code)
            if level is thumb.Level.ARMV6M:
                kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
                uc.hook_add(kinds, self._on_access)
        if code is not None:
            self._code = CodeRam(code, self._bytes, lambda: self._words.get(_CCR, 0))
            if strict:
                uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._on_code_write, begin=code.low,
                            end=code.high - 1)  # fmt: skip
        for page in registers.pages:
            uc.mmio_map(page, peripherals.PAGE, self._on_read, page, self._on_write, page)

    def reset_state(self) -> None:
        """Everything that a system reset clears."""
        self._words = {r.address: r.reset for r in self._map.registers.values()}
        self._requests = Requests(0)
        self._fault = (Fault.NONE, 0, 0, False)
        self._mpu_control = self._mpu_number = 0
        self._mpu_base, self._mpu_attributes = [0] * _REGIONS, [0] * _REGIONS
        self._uart_control = self._cpacr = self._dwt_control = self._demcr = 0
        self._timer_control = 0
        self._systick_control = self._systick_reload = self._systick_from = 0
        self._expected = self._last_load = 0
        self._uart_rate = 0
        self._nrf_loaded = False
        self._cycles_run, self._cycles_from, self._cycles_frozen = False, 0, 0
        self._idle_polls = 0
        self._waits, self._waits_for = 0, (0, 0)
        self._sent_at = 0
        self._rx, self._tx = bytearray(), bytearray()
        self._checks: dict[int, int] = {}
        self._block: tuple[int, bytes] = (0, b"")
        self._rearm_at: int | None = None
        if self._code is not None:
            self._code.reset()

    # The interface of Hooks.

    def take(self) -> State:
        """What stopped the engine; the requests are cleared, faults stay."""
        state = State(self._requests, *self._fault)
        self._requests = Requests(0)
        return state

    def mpu(self) -> Mpu:
        """The MPU's registers."""
        bases, attributes = tuple(self._mpu_base), tuple(self._mpu_attributes)
        return Mpu(self._mpu_control, bases, attributes, self._v8)

    def reset(self) -> None:
        """All registers to their reset values; the count goes on."""
        self.flush()
        self.reset_state()

    def rewind(self, pc: int) -> None:
        """Take back the count of what follows ``pc`` in its block: it will run again."""
        start, code = self._block
        if start <= pc < start + len(code):
            whole, done = straight(code), straight(code[: pc - start])
            self.count -= whole.instructions - done.instructions
            self.cycles -= whole.cycles - done.cycles
            self._expected, self._last_load = pc, done.last_target

    def rearm(self, instructions: int) -> None:
        """Ask for ``Requests.REARM`` after so many instructions."""
        self._rearm_at = self.count + instructions

    def peek(self, address: int) -> int:
        """The stored word of a register."""
        return self._words.get(address, 0)

    def guard(self, pieces: Sequence[tuple[int, int, bool, bool]]) -> None:
        """Watch ``(start, end, reads, writes)`` smaller than a page; replaces earlier ones."""
        for handle in self._guards:
            self._uc.hook_del(handle)
        self._guards = []
        for low, high, reads, writes in pieces:
            kinds = (unicorn.UC_HOOK_MEM_READ if reads else 0) | (
                unicorn.UC_HOOK_MEM_WRITE if writes else 0
            )
            self._guards.append(self._uc.hook_add(kinds, self._on_guard, begin=low, end=high - 1))

    def flush(self) -> None:
        """Send what the UART still holds; when nobody reads, let it go after a while."""
        waited = 0.0
        self._tx = self._through_the_line(self._tx)
        while self._tx:
            if select.select([], [self._fd], [], 0.1)[1]:
                try:
                    del self._tx[: os.write(self._fd, self._tx)]
                    continue
                except BlockingIOError:
                    pass
            waited += 0.1
            if waited >= _GIVE_UP_S:
                self._tx.clear()

    # Code.

    def _on_block(self, uc: Any, address: int, size: int, _user: object) -> None:
        if self._rearm_at is not None and self.count >= self._rearm_at:
            self._rearm_at = None
            self._requests |= Requests.REARM
        if self._requests:
            uc.emu_stop()  # before the block: it is neither run nor counted
            return
        if self._code is not None:
            if self._block[1].endswith(BARRIERS):
                self._code.synchronise()
            if self._code.holds(address) and not self._may_run(self._code, address, size):
                return
        span = next((s for s in self._spans if s.base <= address < s.base + s.size), None)
        if span is None:
            return
        known = self._known.get((address, size))
        if known is None or not span.is_flash:  # code in RAM may have changed
            code = bytes(span.data[address - span.base : address - span.base + size])
            if known is None or known[0] != code:
                found = thumb.block_checks(code) if self._strict else {}
                absent = thumb.block_absent(code, self._level)
                known = self._known[address, size] = (code, straight(code), found, absent)
        code, cost, self._checks, missing = known
        self._block = (address, code)
        if missing is not None:
            self._raise(Fault.UNDEFINED, address + missing, 0, False)
            return
        self.count += cost.instructions
        self.cycles += cost.cycles
        if address != self._expected:
            self.cycles += TAKEN
        elif joined(self._last_load, cost.first_address):
            self.cycles -= 1
        self._expected, self._last_load = address + size, cost.last_target
        if self._tx and self.count - self._sent_at > _FLUSH_AFTER_INSTRUCTIONS:
            self.flush()

    # Executable RAM (code_ram.py).

    def _bytes(self, low: int, high: int) -> bytes:
        span = next(s for s in self._spans if s.base <= low < s.base + s.size)
        return bytes(span.data[low - span.base : high - span.base])

    def _code_region(self, code: CodeRam) -> tuple[bool, bool]:
        """(execute-never, read-only) of the region that begins where the code does; neither when
        there is none."""
        pairs = zip(self._mpu_base, self._mpu_attributes, strict=True)
        found = [(b, a) for b, a in pairs if b & ~31 == code.where.low and a & 1]
        if not found or not self._mpu_control & 1:
            return False, False
        base, attributes = found[-1]
        if self._v8:
            return bool(base & 1), bool(base & 4)
        return bool(attributes & EXECUTE_NEVER), attributes >> 24 & 7 >= 5

    def _may_run(self, code: CodeRam, address: int, size: int) -> bool:
        if self._code_region(code)[0]:
            self._raise(Fault.WRITABLE_CODE, address, 0, False)
            return False
        stale = code.stale(address, size)
        if stale is not None:
            self._raise(Fault.STALE_CODE, address, int(stale), False)
        return stale is None

    def _on_code_write(
        self, _uc: Any, _kind: int, address: int, size: int, _value: int, _user: object
    ) -> None:
        if self._code is not None and self._code_region(self._code)[1]:
            self._raise(Fault.PROTECTION, address, size, True)

    def _on_code(self, uc: Any, address: int, _size: int, _user: object) -> None:
        check = self._checks.get(address - self._block[0])
        if not check:
            return
        if check & thumb.CHECK_FPU and self._cpacr >> 20 & 15 != 15:
            self._raise(Fault.NO_FPU, address, 0, False)
            return
        if not check & (thumb.CHECK_ALIGNED | thumb.CHECK_DIVISOR):
            return
        value = uc.reg_read(_REGISTERS[check & thumb.REGISTER]) & 0xFFFFFFFF
        if check & thumb.CHECK_ALIGNED and value & 3:
            self._raise(Fault.MISALIGNED, value, 0, False)
        if check & thumb.CHECK_DIVISOR and not value:
            self._raise(Fault.DIVISION, 0, 0, False)

    def _on_access(
        self, _uc: Any, _kind: int, address: int, size: int, _value: int, _user: object
    ) -> None:
        if address & (size - 1):
            self._raise(Fault.MISALIGNED, address, size, False)

    def _on_guard(
        self, _uc: Any, kind: int, address: int, size: int, _value: int, _user: object
    ) -> None:
        self._raise(Fault.PROTECTION, address, size, kind == unicorn_const.UC_MEM_WRITE)

    def _raise(self, kind: Fault, address: int, size: int, is_write: bool) -> None:
        if self._fault[0] is Fault.NONE:
            self._fault = (kind, address, size, is_write)
        self._requests |= Requests.FAULT
        self._uc.emu_stop()

    # Rules: what depends on other registers.

    def _holds(self, rule: Rule) -> bool:
        return all(
            c.low <= self._shown(c.address, self._words.get(c.address, 0)) & c.mask <= c.high
            for c in rule.conditions
        )

    def _passes(self, kind: RuleKind) -> bool:
        """True when a byte passes the line of that kind; in strict mode one that does not is a
        fault."""
        for number, rule in enumerate(self._map.rules):
            if rule.kind is kind and not self._holds(rule):
                if self._strict:
                    is_write = kind is RuleKind.TRANSMITS
                    self._raise(Fault.UNCONNECTED, rule.base, number, is_write)
                return False
        return True

    def _ready(self, address: int, access: int, written: int = 0) -> bool:
        """True when no need forbids the access; ``written`` is what a write leaves."""

        def word_of(c: Condition) -> int:
            new = c.address == address and access == WRITES and not c.before
            return self._shown(c.address, written if new else self._words.get(c.address, 0))

        for number, rule in enumerate(self._map.rules):
            if rule.concerns(address, access) and rule.is_broken(word_of):
                kind = Fault.PERIPHERAL_OFF if rule.size > 4 else Fault.UNREADY
                self._raise(kind, address, number, access == WRITES)
                return False
        return True

    def _count_wait(self, address: int, value: int) -> None:
        """Firmware that reads ``value`` of one register for ever waits for what does not come."""
        register = self._map.registers.get(address)
        serves = register is not None and register.role in peripherals.LISTENING
        both = self._uart_on(peripherals.USART_RE | peripherals.USART_TE)
        if (address, value) != self._waits_for or (serves and both):
            self._waits, self._waits_for = 0, (address, value)
            return
        self._waits += 1
        if self._waits > peripherals.WAITS:
            self._raise(Fault.WAITING, address, value, False)

    def _shown(self, address: int, stored: int) -> int:
        """What a plain register reads as."""
        register = self._map.registers.get(address)
        if register is None:
            return stored
        value = stored | register.ones
        for follow in register.follows:
            mask = (1 << follow.width) - 1
            value = (value & ~(mask << follow.to)) | ((stored >> follow.of & mask) << follow.to)
        for rule in self._map.rules:
            if rule.kind is RuleKind.SHOWS and rule.base == address:
                value = value | rule.size if self._holds(rule) else value & ~rule.size
        return value

    # The UART.

    def _line_rate(self) -> int:
        """What the program at the other end has set, 0 when it cannot be known."""
        try:
            code = termios.tcgetattr(self._fd)[5]
        except termios.error:
            return 0
        return next((baud for baud in _RATES if getattr(termios, f"B{baud}") == code), 0)

    def _through_the_line(self, data: bytearray) -> bytearray:
        line, mine = self._line_rate() if data else 0, self._uart_rate
        if not self._strict or not mine or not line:
            return data
        if abs(line - mine) * 100 <= line * peripherals.RATE_TOLERANCE_PERCENT:
            return data
        return bytearray(byte ^ peripherals.GARBLE for byte in data)

    def _set_rate(self, baud: int) -> None:
        self.flush()
        self._uart_rate = baud

    def _transmit(self, value: int) -> None:
        self._idle_polls = 0
        if not self._passes(RuleKind.TRANSMITS):
            return
        if len(self._tx) >= 4096:
            self.flush()
        self._tx.append(value & 0xFF)
        self._sent_at = self.count

    def _nrf_load(self, event: int) -> None:
        """A byte moves into RXD, with its event, when there is one and the last was read."""
        if not self._nrf_loaded and self._uart_status() & peripherals.USART_RXNE:
            self._nrf_loaded = True
            self._words[event] = 1

    def _uart_on(self, bit: int) -> bool:
        both = peripherals.USART_UE | bit
        return self._uart_control & both == both

    def _uart_status(self) -> int:
        value = peripherals.USART_TC | peripherals.USART_TXE
        if self._uart_on(peripherals.USART_TE):
            value |= peripherals.USART_TEACK
        if not self._uart_on(peripherals.USART_RE):
            return value
        value |= peripherals.USART_REACK
        if not self._rx:
            self._idle_polls += 1
            if self._idle_polls > _POLLS_BEFORE_READ:
                self.flush()
                serves = self._uart_on(peripherals.USART_TE)
                wait = _SLEEP_S if serves and self._idle_polls > _POLLS_BEFORE_SLEEP else 0
                if select.select([self._fd], [], [], wait)[0]:
                    data = bytearray(os.read(self._fd, 65536))
                    if data and self._passes(RuleKind.RECEIVES):  # else it went by on another pin
                        self._rx += self._through_the_line(data)
        return value | (peripherals.USART_RXNE if self._rx else 0)

    # The cycle counter.

    def _now(self) -> int:
        return self.cycles if self._clock is Clock.M4_MODEL else self.count

    def _cycles(self) -> int:
        value = self._now() - self._cycles_from if self._cycles_run else self._cycles_frozen
        return value & 0xFFFFFFFF

    def _set_cycles(self, value: int) -> None:
        self._cycles_frozen = value
        self._cycles_from = self._now() - value

    def _systick(self) -> int:
        elapsed = self._now() - self._systick_from if self._systick_control & 5 == 5 else 0
        reload = self._systick_reload
        return reload - (elapsed - 1) % (reload + 1) if elapsed else 0

    def _gate_cycles(self) -> None:
        now = self._cycles()
        dwt = self._dwt_control & 1 and self._demcr >> 24 & 1
        self._cycles_run = bool(dwt or self._timer_control & 1)
        self._set_cycles(now)

    # Peripherals.

    def _allowed(self, address: int, size: int, is_write: bool) -> bool:
        block = self._map.block_at(address)
        if block is None:
            self._raise(Fault.UNMAPPED, address, size, is_write)
            return False
        if self._strict and not block.open and address & ~3 not in self._map.registers:
            self._raise(Fault.REGISTER, address, size, is_write)
            return False
        return True

    def _on_read(self, _uc: Any, offset: int, size: int, page: int) -> int:
        address = page + offset
        if not self._allowed(address, size, False) or not self._ready(address & ~3, READS):
            return 0
        word = self._read_word(address & ~3)
        self._count_wait(address & ~3, word)
        value = word >> 8 * (address & 3)
        return value if size >= 4 else value & ((1 << 8 * size) - 1)

    def _on_write(self, _uc: Any, offset: int, size: int, value: int, page: int) -> None:
        address = page + offset
        if not self._allowed(address, size, True):
            return
        word = address & ~3
        register = self._map.registers.get(word)
        role = register.role if register else Role.PLAIN
        if size < 4 and role not in _DATA:
            shift = 8 * (address & 3)
            mask = ((1 << 8 * size) - 1) << shift
            value = (self._words.get(word, 0) & ~mask) | (value << shift & mask)
        self._waits_for = (0, 0)
        if self._ready(word, WRITES, value & 0xFFFFFFFF):
            self._write_word(word, role, value & 0xFFFFFFFF)

    def _read_word(self, address: int) -> int:
        stored = self._words.get(address, 0)
        register = self._map.registers.get(address)
        if register is None:
            return stored
        match register.role:
            case Role.UART_STATUS:
                return self._uart_status()
            case Role.NRF_RECEIVED:
                self._nrf_load(address)
                return self._words[address]
            case Role.NRF_RXD:
                if not self._nrf_loaded:
                    return 0
                value = self._rx.pop(0) if self._rx else 0
                self._nrf_loaded = False
                self._idle_polls = 0
                if self._rx:
                    self._nrf_load(address - peripherals.NRF_RXD + peripherals.NRF_RXDRDY)
                return value
            case Role.SAM_STATUS:
                received = self._uart_status() & peripherals.USART_RXNE
                ready = peripherals.SAM_SENT if self._uart_on(peripherals.USART_TE) else 0
                return ready | (peripherals.SAM_RECEIVED if received else 0)
            case Role.PL011_FLAGS:
                received = self._uart_status() & peripherals.USART_RXNE
                return peripherals.PL011_TX_EMPTY | (0 if received else peripherals.PL011_RX_EMPTY)
            case Role.UART_RECEIVE | Role.PL011_DATA | Role.CMSDK_DATA:
                self._idle_polls = 0
                return self._rx.pop(0) if self._rx else 0
            case Role.DWT_CYCLES:
                return self._cycles()
            case Role.TIMER_VALUE:
                return self._cycles() ^ 0xFFFFFFFF  # it counts down
            case Role.TICKS:
                return self._now() // self._map.tick_cycles & 0xFFFFFFFF
            case Role.CMSDK_STATE:
                received = self._uart_status() & peripherals.USART_RXNE
                return peripherals.CMSDK_RX_FULL if received else 0
            case Role.CACHE_SIZE:
                instructions = self._words.get(address + 4, 0) & 1
                return (
                    peripherals.INSTRUCTION_CACHE_ID if instructions else peripherals.DATA_CACHE_ID
                )
            case Role.MPU_CONTROL:
                return self._mpu_control
            case Role.MPU_NUMBER:
                return self._mpu_number
            case Role.MPU_BASE:
                return self._mpu_base[self._mpu_number] | self._mpu_number
            case Role.MPU_BASE_V8:
                return self._mpu_base[self._mpu_number]
            case Role.SYSTICK_VALUE:
                return self._systick()
            case Role.MPU_ATTRIBUTES | Role.MPU_LIMIT:
                return self._mpu_attributes[self._mpu_number]
        return self._shown(address, stored)

    def _write_word(self, address: int, role: Role, value: int) -> None:
        match role:
            case (
                Role.CONSTANT | Role.UART_STATUS | Role.PL011_FLAGS | Role.CMSDK_STATE
                | Role.NRF_RXD | Role.TICKS | Role.SAM_STATUS
            ):  # fmt: skip
                return
            case Role.SAM_CONTROL | Role.SAM_RATE | Role.SAM_RESET:
                self._write_sam(role, value)
                if role is not Role.SAM_RATE:
                    return
            case Role.UART_CONTROL:
                self._uart_control = value
            case Role.CMSDK_CONTROL:
                self._uart_control = peripherals.USART_UE
                if value & peripherals.CMSDK_TX:
                    self._uart_control |= peripherals.USART_TE
                if value & peripherals.CMSDK_RX:
                    self._uart_control |= peripherals.USART_RE
            case Role.UART_TRANSMIT | Role.PL011_DATA | Role.CMSDK_DATA:
                if self._uart_on(peripherals.USART_TE):
                    self._transmit(value)
                return
            case Role.PL011_CONTROL:
                self._uart_control = (
                    (peripherals.USART_UE if value & peripherals.PL011_ENABLE else 0)
                    | (peripherals.USART_TE if value & peripherals.PL011_TX else 0)
                    | (peripherals.USART_RE if value & peripherals.PL011_RX else 0)
                )
            case Role.STM32_RATE:
                if hz := self._map.uart_hz:
                    self._set_rate((hz + value // 2) // value if value else 1)
            case Role.STM32_LPUART_RATE:
                if hz := self._map.uart_hz:
                    self._set_rate((256 * hz + value // 2) // value if value else 1)
            case Role.STM32F4_CONTROL:
                on = peripherals.USART_UE if value & peripherals.STM32F4_UE else 0
                self._uart_control = on | value & (peripherals.USART_TE | peripherals.USART_RE)
            case Role.PL011_LINE:
                if hz := self._map.uart_hz:  # after UARTIBRD and UARTFBRD
                    divisor = 64 * self._words[address - 8] + (self._words[address - 4] & 63)
                    self._set_rate((4 * hz + divisor // 2) // divisor if divisor else 1)
            case (
                Role.NRF_ENABLE | Role.NRF_RATE | Role.NRF_TXD | Role.NRF_START_RX
                | Role.NRF_STOP_RX | Role.NRF_START_TX | Role.NRF_STOP_TX
            ):  # fmt: skip
                self._write_nrf(address, role, value)
                if role not in (Role.NRF_ENABLE, Role.NRF_RATE):
                    return
            case Role.DWT_CONTROL:
                self._dwt_control = value
                self._gate_cycles()
            case Role.DEBUG_CONTROL:
                self._demcr = value
                self._gate_cycles()
            case Role.DWT_CYCLES:
                self._set_cycles(value)
                return
            case Role.TIMER_CONTROL:
                self._timer_control = value
                self._gate_cycles()
            case Role.TIMER_VALUE:
                self._set_cycles(value ^ 0xFFFFFFFF)
                return
            case Role.RESET_CONTROL:
                if value >> 16 == 0x05FA and value & 4:
                    self._requests |= Requests.RESET
                    self._uc.emu_stop()
                return
            case Role.FPU_ACCESS:
                self._cpacr = value
            case Role.CACHE_OPERATION:
                if self._code is not None:
                    self._code.cache_operation(address & 0xFFF, value)
                return
            case Role.MPU_CONTROL | Role.MPU_NUMBER | Role.MPU_BASE | Role.MPU_ATTRIBUTES:
                self._write_mpu(role, value)
                return
            case Role.MPU_BASE_V8 | Role.MPU_LIMIT:
                self._write_mpu(role, value)
                return
            case Role.SYSTICK_CONTROL:
                if value & 5 == 5 and self._systick_control & 5 != 5:
                    self._systick_from = self._now()
                self._systick_control = value
            case Role.SYSTICK_RELOAD:
                self._systick_reload = value & 0xFFFFFF
            case Role.SYSTICK_VALUE:
                self._systick_from = self._now()
                return
        self._words[address] = value

    def _write_sam(self, role: Role, value: int) -> None:
        if role is Role.SAM_RATE:
            if hz := self._map.uart_hz:
                self._set_rate(hz // (16 * value) if value else 1)
        elif role is Role.SAM_RESET:
            both = peripherals.SAM_RESET_BOTH
            if value >> 24 == peripherals.SAM_RESET_KEY and value & both == both:
                self._requests |= Requests.RESET
                self._uc.emu_stop()
        else:
            self._uart_control |= (
                peripherals.USART_UE
                | (peripherals.USART_RE if value & peripherals.SAM_RX_ON else 0)
                | (peripherals.USART_TE if value & peripherals.SAM_TX_ON else 0)
            )
            if value & peripherals.SAM_RX_OFF:
                self._uart_control &= ~peripherals.USART_RE
            if value & peripherals.SAM_TX_OFF:
                self._uart_control &= ~peripherals.USART_TE

    def _write_nrf(self, address: int, role: Role, value: int) -> None:
        tasks = {
            Role.NRF_START_RX: (peripherals.USART_RE, True),
            Role.NRF_STOP_RX: (peripherals.USART_RE, False),
            Role.NRF_START_TX: (peripherals.USART_TE, True),
            Role.NRF_STOP_TX: (peripherals.USART_TE, False),
        }
        if role is Role.NRF_ENABLE:
            on = value & 15 == peripherals.NRF_UART_ON
            self._uart_control = peripherals.USART_UE if on else 0
            self._nrf_loaded = False
        elif role is Role.NRF_RATE:
            if self._map.uart_hz:
                self._set_rate(value * self._map.uart_hz >> 32)
        elif role is Role.NRF_TXD:
            if self._uart_on(peripherals.USART_TE):  # else TXDRDY never comes
                self._transmit(value)
                self._words[address - peripherals.NRF_TXD + peripherals.NRF_TXDRDY] = 1
        elif value & 1:
            bit, on = tasks[role]
            self._uart_control = self._uart_control | bit if on else self._uart_control & ~bit

    def _write_mpu(self, role: Role, value: int) -> None:
        if role is Role.MPU_CONTROL:
            self._mpu_control = value & 7
            self._requests |= Requests.MPU  # taken up at the next block
            return
        if role is Role.MPU_NUMBER:
            self._mpu_number = value & (_REGIONS - 1)
            return
        if role is Role.MPU_BASE:
            if value & 0x10:
                self._mpu_number = value & (_REGIONS - 1)
            self._mpu_base[self._mpu_number] = value & ~31
        else:
            words = self._mpu_base if role is Role.MPU_BASE_V8 else self._mpu_attributes
            words[self._mpu_number] = value
            code = self._code
            if code is not None and self._mpu_base[self._mpu_number] & ~31 == code.where.low:
                return  # watched here, not by the engine's rights
        if self._mpu_control & 1:
            self._requests |= Requests.MPU
