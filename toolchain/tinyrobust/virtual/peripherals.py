"""Stage ``virtual``: what the processor sees outside its memories, as plain rows of registers.

In: ``board.unicorn.peripherals`` (names, addresses, reset values, bits that follow other bits:
the board's YAML file says them). Out: a ``RegisterMap`` that the hooks (``hooks.c``)
carry out. The behaviour behind a ``model`` name is written out here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from tinyrobust.boards.schema import Board, Peripheral
from tinyrobust.errors import BoardError
from tinyrobust.virtual.rules import Rule, boot_ready, rules

PAGE = 0x1000  # the granularity of Unicorn's memory-mapped input and output


class Role(IntEnum):
    """What an access to a register does besides reading and writing a stored word."""

    PLAIN = 0
    CONSTANT = 1  # writes are ignored
    UART_CONTROL = 2
    UART_STATUS = 3
    UART_RECEIVE = 4
    UART_TRANSMIT = 5
    DWT_CONTROL = 6
    DWT_CYCLES = 7
    DEBUG_CONTROL = 8  # DEMCR: its TRCENA gates the cycle counter
    RESET_CONTROL = 9  # AIRCR
    CACHE_SIZE = 10  # CCSIDR, chosen by CSSELR
    FPU_ACCESS = 11  # CPACR
    MPU_CONTROL = 12
    MPU_NUMBER = 13
    MPU_BASE = 14
    MPU_ATTRIBUTES = 15
    CMSDK_CONTROL = 16
    CMSDK_STATE = 17
    CMSDK_DATA = 18
    TIMER_CONTROL = 19
    TIMER_VALUE = 20  # counts down
    CACHE_OPERATION = 21  # by address or by set and way
    NRF_RATE = 22
    NRF_START_RX = 23
    NRF_STOP_RX = 24
    NRF_START_TX = 25
    NRF_STOP_TX = 26
    NRF_RECEIVED = 27  # EVENTS_RXDRDY
    NRF_ENABLE = 28
    NRF_RXD = 29
    NRF_TXD = 30
    # PL011
    PL011_DATA = 31
    PL011_FLAGS = 32
    PL011_LINE = 33  # LCR_H: only writing it takes the divisors over
    PL011_CONTROL = 34
    STM32_RATE = 35
    STM32_LPUART_RATE = 41  # 256 times the divider
    STM32F4_CONTROL = 42  # CR1 with UE at another place
    MPU_BASE_V8 = 36
    MPU_LIMIT = 37
    SYSTICK_CONTROL = 38
    SYSTICK_RELOAD = 39
    SYSTICK_VALUE = 40
    TICKS = 60  # counts up, one in tick_cycles

    # SAM3X
    SAM_CONTROL = 61  # commands: nothing is stored
    SAM_STATUS = 62
    SAM_RATE = 63
    SAM_RESET = 64


# Registers whose writing sends a byte, and those that are polled for one.
SPEAKING = {Role.UART_TRANSMIT, Role.CMSDK_DATA, Role.PL011_DATA, Role.NRF_TXD}
LISTENING = {
    Role.UART_STATUS,
    Role.CMSDK_STATE,
    Role.PL011_FLAGS,
    Role.NRF_RECEIVED,
    Role.SAM_STATUS,
}
# Firmware that reads the same register so often and nothing else waits for ever; a UART that may
# receive and transmit is no such register.
WAITS = 200_000


@dataclass(frozen=True)
class Follow:
    """``width`` bits from bit ``to`` read as the ``width`` bits from bit ``of``."""

    of: int
    to: int
    width: int = 1


# In strict mode bytes sent at a rate further from the line's than this arrive garbled: what a
# receiver tolerates over ten bits, half a bit at either end.
RATE_TOLERANCE_PERCENT = 4
GARBLE = 0x5A  # what they are garbled with


@dataclass(frozen=True)
class Register:
    """One 32-bit register: what it holds after reset and what reading adds."""

    name: str
    address: int
    reset: int = 0
    ones: int = 0
    role: Role = Role.PLAIN
    follows: tuple[Follow, ...] = ()


@dataclass(frozen=True)
class Block:
    """The address range of a peripheral; ``open`` ones hold more registers than are listed."""

    name: str
    base: int
    size: int
    open: bool = False

    @property
    def end(self) -> int:
        """First address after the block."""
        return self.base + self.size


@dataclass(frozen=True)
class RegisterMap:
    """All blocks and registers of a board, and what depends on what. ``uart_hz``: the clock that
    the UART divides, 0 when its rate is not looked at; ``tick_cycles``: core cycles of a timer's
    tick; ``boot_ready``: what a boot block must set up."""

    blocks: tuple[Block, ...]
    registers: Mapping[int, Register]
    rules: tuple[Rule, ...] = ()
    boot_ready: tuple[Rule, ...] = ()
    uart_hz: int = 0
    tick_cycles: int = 1

    @property
    def pages(self) -> list[int]:
        """Addresses of the pages that hold a block, sorted."""
        found: set[int] = set()
        for block in self.blocks:
            found.update(range(block.base & -PAGE, block.end, PAGE))
        return sorted(found)

    def block_at(self, address: int) -> Block | None:
        """The block that ``address`` lies in."""
        return next((b for b in self.blocks if b.base <= address < b.end), None)

    def name_of(self, address: int) -> str:
        """``RCC.CR``, ``RCC+0x04`` or the bare address."""
        register = self.registers.get(address & ~3)
        block = self.block_at(address)
        if block is None:
            return f"{address:#010x}"
        if register is not None:
            return f"{block.name}.{register.name}"
        return f"{block.name}+{address - block.base:#x}"


def register_map(board: Board, overrides: Mapping[int, int] | None = None) -> RegisterMap:
    """The registers of ``board``; ``overrides`` replaces reset values by address (for tests).

    Raises BoardError for blocks that are not word-aligned or that overlap.
    """
    assert board.unicorn is not None  # checked by the board's schema
    blocks: list[Block] = []
    registers: dict[int, Register] = {}
    for peripheral in board.unicorn.peripherals:
        if peripheral.base % 4 or peripheral.size % 4:
            raise BoardError(
                f"{board.id}: peripheral {peripheral.name} must lie on word boundaries",
                "correct its address in the board file",
            )
        block, rows = _MODELS[peripheral.model](peripheral, board)
        for other in blocks:
            if block.base < other.end and other.base < block.end:
                raise BoardError(
                    f"{board.id}: peripherals {other.name} and {block.name} overlap",
                    "correct their addresses in the board file",
                )
        blocks.append(block)
        registers.update((row.address, row) for row in rows)
    for address, value in (overrides or {}).items():
        old = registers.get(address)
        if old is None:
            raise BoardError(
                f"{board.id}: no register at {address:#010x} to override",
                "correct the address in the board file",
            )
        registers[address] = Register(old.name, address, value, old.ones, old.role, old.follows)
    made = RegisterMap(tuple(blocks), registers)
    names = {made.name_of(address): address for address in registers}
    speaks = [r.address for r in registers.values() if r.role in SPEAKING]
    uart_hz = next((p.clock_hz for p in board.unicorn.peripherals if p.clock_hz), 0)
    ticks = next((p.tick_cycles for p in board.unicorn.peripherals if p.tick_cycles), 1)
    return replace(
        made, rules=rules(board, names, speaks), boot_ready=boot_ready(board, names),
        uart_hz=uart_hz, tick_cycles=ticks,
    )  # fmt: skip


Rows = tuple[Block, list[Register]]


def _listed(peripheral: Peripheral) -> list[Register]:
    return [
        Register(
            row.name,
            peripheral.base + row.offset,
            row.reset,
            row.ones,
            role=Role.CONSTANT if row.constant else Role.PLAIN,
            follows=tuple(Follow(f.of, f.to, f.width) for f in row.follows),
        )
        for row in peripheral.registers
    ]


def _plain(peripheral: Peripheral, _board: Board) -> Rows:
    return Block(peripheral.name, peripheral.base, peripheral.size), _listed(peripheral)


def _rom(peripheral: Peripheral, _board: Board) -> Rows:
    text = (peripheral.text or "").encode()
    text += bytes(-len(text) % 4)
    rows = [
        Register(f"{i // 4}", peripheral.base + i, int.from_bytes(text[i : i + 4], "little"),
                 role=Role.CONSTANT)
        for i in range(0, len(text), 4)
    ]  # fmt: skip
    return Block(peripheral.name, peripheral.base, peripheral.size), rows


# RM0433, "Universal synchronous/asynchronous receiver transmitter", register map.
USART_UE, USART_RE, USART_TE = 1 << 0, 1 << 2, 1 << 3  # CR1
USART_RXNE, USART_TC, USART_TXE = 1 << 5, 1 << 6, 1 << 7  # ISR
USART_TEACK, USART_REACK = 1 << 21, 1 << 22


def _stm32_usart(peripheral: Peripheral, _board: Board) -> Rows:
    base = peripheral.base
    rows = [
        Register("CR1", base + 0x00, role=Role.UART_CONTROL),
        Register("CR2", base + 0x04),
        Register("CR3", base + 0x08),
        Register("BRR", base + 0x0C, role=Role.STM32_RATE),
        Register("GTPR", base + 0x10),
        Register("RTOR", base + 0x14),
        Register("RQR", base + 0x18),
        Register("ISR", base + 0x1C, USART_TC | USART_TXE, role=Role.UART_STATUS),
        Register("ICR", base + 0x20),
        Register("RDR", base + 0x24, role=Role.UART_RECEIVE),
        Register("TDR", base + 0x28, role=Role.UART_TRANSMIT),
        Register("PRESC", base + 0x2C),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


def _stm32_lpuart(peripheral: Peripheral, board: Board) -> Rows:
    # RM0432, "Low-power universal asynchronous receiver transmitter (LPUART)", register map
    block, rows = _stm32_usart(peripheral, board)
    rate = Role.STM32_LPUART_RATE
    return block, [replace(row, role=rate) if row.name == "BRR" else row for row in rows]


STM32F4_UE = 1 << 13  # CR1; TE and RE, and the flags of SR, are where the others have them


def _stm32f4_usart(peripheral: Peripheral, _board: Board) -> Rows:
    # RM0390, "Universal synchronous asynchronous receiver transmitter (USART)", register map
    base = peripheral.base
    rows = [
        Register("SR", base + 0x00, USART_TC | USART_TXE, role=Role.UART_STATUS),
        Register("DR", base + 0x04, role=Role.CMSDK_DATA),  # both directions, as there
        Register("BRR", base + 0x08, role=Role.STM32_RATE),
        Register("CR1", base + 0x0C, role=Role.STM32F4_CONTROL),
        Register("CR2", base + 0x10),
        Register("CR3", base + 0x14),
        Register("GTPR", base + 0x18),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


# DDI0479, "APB UART" and "APB timer".
CMSDK_TX, CMSDK_RX = 1 << 0, 1 << 1  # CTRL
CMSDK_RX_FULL = 1 << 1  # STATE


def _cmsdk_uart(peripheral: Peripheral, _board: Board) -> Rows:
    base = peripheral.base
    rows = [
        Register("DATA", base + 0x00, role=Role.CMSDK_DATA),
        Register("STATE", base + 0x04, role=Role.CMSDK_STATE),
        Register("CTRL", base + 0x08, role=Role.CMSDK_CONTROL),
        Register("INTSTATUS", base + 0x0C),
        Register("BAUDDIV", base + 0x10),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


def _cmsdk_timer(peripheral: Peripheral, _board: Board) -> Rows:
    # One tick an instruction, or a cycle of the model; down through all 32 bits, as with a RELOAD
    # of all ones. Interrupts are not modelled.
    base = peripheral.base
    rows = [
        Register("CTRL", base + 0x00, role=Role.TIMER_CONTROL),
        Register("VALUE", base + 0x04, role=Role.TIMER_VALUE),
        Register("RELOAD", base + 0x08),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


# nRF52840 Product Specification v1.7, "UART": registers and tasks; the baud rate is
# BAUDRATE / 2^32 of 16 MHz.
NRF_UART_ON = 4  # ENABLE
NRF_RXDRDY, NRF_TXDRDY, NRF_RXD, NRF_TXD = 0x108, 0x11C, 0x518, 0x51C


def _nrf52_uart(peripheral: Peripheral, _board: Board) -> Rows:
    base = peripheral.base
    off = 0xFFFFFFFF  # PSEL: no pin
    rows = [
        Register("STARTRX", base + 0x000, role=Role.NRF_START_RX),
        Register("STOPRX", base + 0x004, role=Role.NRF_STOP_RX),
        Register("STARTTX", base + 0x008, role=Role.NRF_START_TX),
        Register("STOPTX", base + 0x00C, role=Role.NRF_STOP_TX),
        Register("CTS", base + 0x100),
        Register("RXDRDY", base + NRF_RXDRDY, role=Role.NRF_RECEIVED),
        Register("TXDRDY", base + NRF_TXDRDY),
        Register("ERROR", base + 0x124),
        Register("RXTO", base + 0x144),
        Register("SHORTS", base + 0x200),
        Register("INTENCLR", base + 0x308),
        Register("ERRORSRC", base + 0x480, role=Role.CONSTANT),
        Register("ENABLE", base + 0x500, role=Role.NRF_ENABLE),
        Register("PSELRTS", base + 0x508, off),
        Register("PSELTXD", base + 0x50C, off),
        Register("PSELCTS", base + 0x510, off),
        Register("PSELRXD", base + 0x514, off),
        Register("RXD", base + NRF_RXD, role=Role.NRF_RXD),
        Register("TXD", base + NRF_TXD, role=Role.NRF_TXD),
        Register("BAUDRATE", base + 0x524, 0x04000000, role=Role.NRF_RATE),
        Register("CONFIG", base + 0x56C),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


# DDI0183, PrimeCell UART (PL011) technical reference manual, "Summary of registers".
PL011_RX_EMPTY, PL011_TX_EMPTY = 1 << 4, 1 << 7  # UARTFR
PL011_ENABLE, PL011_TX, PL011_RX = 1 << 0, 1 << 8, 1 << 9  # UARTCR


def _pl011_uart(peripheral: Peripheral, _board: Board) -> Rows:
    base = peripheral.base
    rows = [
        Register("DR", base + 0x00, role=Role.PL011_DATA),
        Register("RSR", base + 0x04),
        Register("FR", base + 0x18, role=Role.PL011_FLAGS),
        Register("IBRD", base + 0x24),
        Register("FBRD", base + 0x28),
        Register("LCR_H", base + 0x2C, role=Role.PL011_LINE),
        Register("CR", base + 0x30, PL011_TX | PL011_RX, role=Role.PL011_CONTROL),
        Register("IFLS", base + 0x34, 0x12),
        Register("IMSC", base + 0x38),
        Register("ICR", base + 0x44),
        Register("DMACR", base + 0x48),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


def _rp2040_timer(peripheral: Peripheral, _board: Board) -> Rows:
    # RP2040 datasheet, "Timer": microseconds since power-on, raw, and what latches them.
    base = peripheral.base
    rows = [
        Register("TIMEHR", base + 0x08),
        Register("TIMELR", base + 0x0C, role=Role.TICKS),
        Register("TIMERAWH", base + 0x24),
        Register("TIMERAWL", base + 0x28, role=Role.TICKS),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


# DS11057, "Universal Asynchronous Receiver Transceiver (UART)" and "Reset Controller (RSTC)".
SAM_RX_ON, SAM_RX_OFF, SAM_TX_ON, SAM_TX_OFF = 1 << 4, 1 << 5, 1 << 6, 1 << 7  # UART_CR
SAM_RECEIVED, SAM_SENT = 1 << 0, 1 << 1 | 1 << 9  # UART_SR: RXRDY; TXRDY, TXEMPTY
SAM_RESET_KEY, SAM_RESET_BOTH = 0xA5, 1 << 0 | 1 << 2  # RSTC_CR: PROCRST, PERRST


def _sam3x_uart(peripheral: Peripheral, _board: Board) -> Rows:
    base = peripheral.base
    rows = [
        Register("CR", base + 0x00, role=Role.SAM_CONTROL),
        Register("MR", base + 0x04),
        Register("IMR", base + 0x10, role=Role.CONSTANT),
        Register("SR", base + 0x14, role=Role.SAM_STATUS),
        Register("RHR", base + 0x18, role=Role.UART_RECEIVE),
        Register("THR", base + 0x1C, role=Role.UART_TRANSMIT),
        Register("BRGR", base + 0x20, role=Role.SAM_RATE),
    ]
    return Block(peripheral.name, base, peripheral.size), rows


def _sam3x_rstc(peripheral: Peripheral, _board: Board) -> Rows:
    # A reset of the processor alone would leave the peripherals as they are: not modelled.
    rows = [Register("CR", peripheral.base, role=Role.SAM_RESET)]
    return Block(peripheral.name, peripheral.base, peripheral.size), rows


def _armv7m_dwt(peripheral: Peripheral, _board: Board) -> Rows:
    # DDI0403 C1.8; the lock access register is a Cortex-M7 matter (CoreSight, B2.3.10).
    base = peripheral.base
    rows = [
        Register("CTRL", base + 0x000, 0x40000000, role=Role.DWT_CONTROL),
        Register("CYCCNT", base + 0x004, role=Role.DWT_CYCLES),
        Register("LAR", base + 0xFB0),
        Register("LSR", base + 0xFB4, role=Role.CONSTANT),
    ]
    return Block(peripheral.name, base, peripheral.size, open=True), rows


class CacheOperation(IntEnum):
    """Offsets of the cache maintenance registers (DDI0403 B2.2.7, "Cache and branch predictor
    maintenance operations")."""

    ICIALLU = 0xF50
    ICIMVAU = 0xF58
    DCIMVAC = 0xF5C
    DCISW = 0xF60
    DCCMVAU = 0xF64
    DCCMVAC = 0xF68
    DCCSW = 0xF6C
    DCCIMVAC = 0xF70
    DCCISW = 0xF74


# Regions of the MPU: 8 of a Cortex-M0+ (DDI0484), as many as ST's Cortex-M7 have (PM0253), and 8 of
# the Cortex-M33 (RM0456, "Memory protection unit").
_REGIONS = {"pmsav6": 8, "pmsav7": 16, "pmsav8": 8}


def _armv7m_scs(peripheral: Peripheral, board: Board) -> Rows:
    # DDI0403 B3.2 (system control), B3.3 (SysTick), B3.5 (MPU), B4.8 (cache identification), C1.6
    # (debug); DDI0419 and DDI0553 where the core is Armv6-M or Armv8-M. SysTick counts where it has
    # the core's clock (there is no other); its COUNTFLAG and interrupt are not modelled.
    base, mpu = peripheral.base, board.traits.mpu
    fpu = Role.FPU_ACCESS if board.fpu else Role.CONSTANT
    rows = [
        Register("SYST_CSR", base + 0x010, role=Role.SYSTICK_CONTROL),
        Register("SYST_RVR", base + 0x014, role=Role.SYSTICK_RELOAD),
        Register("SYST_CVR", base + 0x018, role=Role.SYSTICK_VALUE),
        Register("CPUID", base + 0xD00, board.traits.cpuid, role=Role.CONSTANT),
        Register("VTOR", base + 0xD08),
        Register("AIRCR", base + 0xD0C, 0xFA050000, role=Role.RESET_CONTROL),
        Register("CCR", base + 0xD14, 0x00040200),
        Register("CLIDR", base + 0xD78, board.traits.clidr, role=Role.CONSTANT),
        Register("CTR", base + 0xD7C, 0x8303C003, role=Role.CONSTANT),
        Register("CCSIDR", base + 0xD80, role=Role.CACHE_SIZE),
        Register("CSSELR", base + 0xD84),
        Register("CPACR", base + 0xD88, role=fpu),
        Register("MPU_TYPE", base + 0xD90, _REGIONS[mpu] << 8, role=Role.CONSTANT),
        Register("MPU_CTRL", base + 0xD94, role=Role.MPU_CONTROL),
        Register("MPU_RNR", base + 0xD98, role=Role.MPU_NUMBER),
        Register("DEMCR", base + 0xDFC, role=Role.DEBUG_CONTROL),
        Register("MVFR0", base + 0xF40, 0x10110221, role=Role.CONSTANT),
        Register("MVFR1", base + 0xF44, 0x12000011, role=Role.CONSTANT),
    ]
    rows += [Register(op.name, base + op, role=Role.CACHE_OPERATION) for op in CacheOperation]
    if mpu == "pmsav8":
        rows.append(Register("MPU_RBAR", base + 0xD9C, role=Role.MPU_BASE_V8))
        rows.append(Register("MPU_RLAR", base + 0xDA0, role=Role.MPU_LIMIT))
        rows += [Register(f"MPU_MAIR{i}", base + 0xDC0 + 4 * i) for i in range(2)]
        return Block(peripheral.name, base, peripheral.size, open=True), rows
    for alias in range(4):  # RBAR and RASR, and their three aliases
        suffix = f"_A{alias}" if alias else ""
        rows.append(Register(f"MPU_RBAR{suffix}", base + 0xD9C + 8 * alias, role=Role.MPU_BASE))
        rows.append(
            Register(f"MPU_RASR{suffix}", base + 0xDA0 + 8 * alias, role=Role.MPU_ATTRIBUTES)
        )
    return Block(peripheral.name, base, peripheral.size, open=True), rows


# 16 KiB each, 32-byte lines: 4 ways for data, 2 for instructions (RM0433, "Cortex-M7 core").
DATA_CACHE_ID, INSTRUCTION_CACHE_ID = 0xF00FE019, 0xF01FE009

_MODELS: dict[str, Callable[[Peripheral, Board], Rows]] = {
    "registers": _plain,
    "rom": _rom,
    "stm32-usart": _stm32_usart,
    "stm32-lpuart": _stm32_lpuart,
    "stm32f4-usart": _stm32f4_usart,
    "cmsdk-uart": _cmsdk_uart,
    "cmsdk-timer": _cmsdk_timer,
    "nrf52-uart": _nrf52_uart,
    "pl011-uart": _pl011_uart,
    "rp2040-timer": _rp2040_timer,
    "sam3x-uart": _sam3x_uart,
    "sam3x-rstc": _sam3x_rstc,
    "armv7m-dwt": _armv7m_dwt,
    "armv7m-scs": _armv7m_scs,
}
