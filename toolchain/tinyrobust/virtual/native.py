"""Stage ``virtual``: the hooks in C, compiled on first use against the unicorn package itself.

In: ``hooks.c``, the host's C compiler. Out: a ``NativeHooks`` object. The library is
kept in the user's cache under the hash of everything it was made from.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tinyrobust import codecache
from tinyrobust.errors import BuildError, TinyRobustError
from tinyrobust.virtual import code_ram, cycles, peripherals, thumb
from tinyrobust.virtual.code_ram import CodeRange
from tinyrobust.virtual.engine import UcError, unicorn
from tinyrobust.virtual.faults import Fault
from tinyrobust.virtual.hooks import Clock, Requests, Span, State
from tinyrobust.virtual.mpu import Mpu
from tinyrobust.virtual.peripherals import RegisterMap, Role
from tinyrobust.virtual.rules import RuleKind
from tinyrobust.writing import scratch

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("hooks.c", "cycles.h"))
_REGIONS = 16


class _Row(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("address", "reset", "ones", "role", "of", "to", "width")
    )


class _Block(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint32), ("size", ctypes.c_uint32), ("open", ctypes.c_uint32))


class _Span(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("is_flash", ctypes.c_uint32),
        ("bytes", ctypes.c_void_p),
    )


class _Condition(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("address", "mask", "low", "high", "before")
    )


class _Rule(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("kind", "base", "size", "first", "count", "access")
    )


class _Shared(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_uint64),
        ("cycles", ctypes.c_uint64),
        ("request", ctypes.c_uint32),
        ("fault", ctypes.c_uint32),
        ("fault_address", ctypes.c_uint32),
        ("fault_size", ctypes.c_uint32),
        ("fault_is_write", ctypes.c_uint32),
        ("mpu_v8", ctypes.c_uint32),
        ("mpu_control", ctypes.c_uint32),
        ("mpu_number", ctypes.c_uint32),
        ("mpu_base", ctypes.c_uint32 * _REGIONS),
        ("mpu_attributes", ctypes.c_uint32 * _REGIONS),
    )


def _definitions() -> list[str]:
    """The numbers that C shares with Python."""
    values = {f"ROLE_{r.name}": int(r) for r in Role}
    values |= {f"FAULT_{f.name}": int(f) for f in Fault}
    values |= {f"REQUEST_{r.name}": int(r) for r in Requests}
    values |= {f"RULE_{k.name}": int(k) for k in RuleKind}
    values |= {f"STALE_{s.name}": int(s) for s in code_ram.Stale}
    scs = 0xE000E000  # the System Control Space of every Armv7-M
    operation = peripherals.CacheOperation
    values |= {
        "CACHE_CLEAN_LINE_U": scs + operation.DCCMVAU,
        "CACHE_CLEAN_LINE_C": scs + operation.DCCMVAC,
        "CACHE_CLEAN_INVALIDATE_LINE": scs + operation.DCCIMVAC,
        "CACHE_CLEAN_SET": scs + operation.DCCSW,
        "CACHE_CLEAN_INVALIDATE_SET": scs + operation.DCCISW,
        "CACHE_INVALIDATE_CODE_LINE": scs + operation.ICIMVAU,
        "CACHE_INVALIDATE_CODE": scs + operation.ICIALLU,
        "CCR_ADDRESS": scs + 0xD14,
        "CCR_DATA_CACHE": code_ram.DATA_CACHE,
        "CCR_INSTRUCTION_CACHE": code_ram.INSTRUCTION_CACHE,
        "MPU_EXECUTE_NEVER": code_ram.EXECUTE_NEVER,
        "LINE_BYTES": code_ram.LINE_BYTES,
    }
    values |= {
        "CHECK_ALIGNED": thumb.CHECK_ALIGNED,
        "CHECK_FPU": thumb.CHECK_FPU,
        "CHECK_DIVISOR": thumb.CHECK_DIVISOR,
        "CHECK_REGISTER": thumb.REGISTER,
        "LEVEL_ALL": thumb.Level.ALL,
        "LEVEL_ARMV6M": thumb.Level.ARMV6M,
        "COST_CYCLES": cycles.CYCLES,
        "COST_LOAD": cycles.LOAD,
        "COST_TARGET_SHIFT": cycles.TARGET_SHIFT,
        "COST_ADDRESS_SHIFT": cycles.ADDRESS_SHIFT,
        "COST_DIVISION": cycles.LONGEST_DIVISION,
        "COST_TAKEN": cycles.TAKEN,
        "STM32F4_UE": peripherals.STM32F4_UE,
        "UART_ENABLE": peripherals.USART_UE,
        "UART_RECEIVER": peripherals.USART_RE,
        "UART_TRANSMITTER": peripherals.USART_TE,
        "UART_IDLE_STATUS": peripherals.USART_TC | peripherals.USART_TXE,
        "UART_TRANSMIT_READY": peripherals.USART_TEACK,
        "UART_RECEIVE_READY": peripherals.USART_REACK,
        "UART_RECEIVED": peripherals.USART_RXNE,
        "CMSDK_TRANSMITTER": peripherals.CMSDK_TX,
        "CMSDK_RECEIVER": peripherals.CMSDK_RX,
        "CMSDK_RECEIVE_FULL": peripherals.CMSDK_RX_FULL,
        "NRF_UART_ON": peripherals.NRF_UART_ON,
        "NRF_EVENT_OFFSET": peripherals.NRF_RXDRDY,
        "NRF_SENT_OFFSET": peripherals.NRF_TXDRDY,
        "NRF_RXD_OFFSET": peripherals.NRF_RXD,
        "NRF_TXD_OFFSET": peripherals.NRF_TXD,
        "PL011_ENABLE": peripherals.PL011_ENABLE,
        "PL011_TX": peripherals.PL011_TX,
        "PL011_RX": peripherals.PL011_RX,
        "PL011_TX_EMPTY": peripherals.PL011_TX_EMPTY,
        "PL011_RX_EMPTY": peripherals.PL011_RX_EMPTY,
        "RATE_TOLERANCE_PERCENT": peripherals.RATE_TOLERANCE_PERCENT,
        "GARBLE": peripherals.GARBLE,
        "SAM_RX_ON": peripherals.SAM_RX_ON,
        "SAM_RX_OFF": peripherals.SAM_RX_OFF,
        "SAM_TX_ON": peripherals.SAM_TX_ON,
        "SAM_TX_OFF": peripherals.SAM_TX_OFF,
        "SAM_RECEIVED": peripherals.SAM_RECEIVED,
        "SAM_SENT": peripherals.SAM_SENT,
        "SAM_RESET_KEY": peripherals.SAM_RESET_KEY,
        "SAM_RESET_BOTH": peripherals.SAM_RESET_BOTH,
        "DATA_CACHE_ID": peripherals.DATA_CACHE_ID,
        "INSTRUCTION_CACHE_ID": peripherals.INSTRUCTION_CACHE_ID,
        "WAITS": peripherals.WAITS,
        "LISTENING": sum(1 << role for role in peripherals.LISTENING),
    }
    return [
        f"-D{name}={value:#x}ull" if value >> 32 else f"-D{name}={value:#x}u"
        for name, value in values.items()
    ]


_LIBRARY = "hooks.so"


def compiler() -> str | None:
    """The host's C compiler: ``$CC``, else cc, gcc or clang; None when there is none."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        if name and (found := shutil.which(name)):
            return found
    return None


def build() -> Path:
    """Compile ``hooks.c`` unless the cache has it; the library.

    Raises BuildError when there is no compiler or it fails.
    """
    package = Path(unicorn.__file__).parent
    library = next(iter(sorted((package / "lib").glob("libunicorn.so*"))), None)
    cc = compiler()
    if cc is None or library is None:
        raise BuildError(
            "no C compiler, which virtual boards need"
            if cc is None
            else f"no shared library in {package / 'lib'}",
            "install one: apt-get install gcc libc6-dev"
            if cc is None
            else "install it again: pip install --force-reinstall unicorn",
        )
    flags = ["-O2", "-shared", "-fPIC", "-Wall", "-Wextra", *_definitions()]
    key = hashlib.sha256(
        b"\0".join([*(s.read_bytes() for s in _SOURCES), *(f.encode() for f in flags), cc.encode(),
                    unicorn.__version__.encode(), str(library).encode()])
    ).hexdigest()[:20]  # fmt: skip
    try:
        kept = codecache.folder("virtual")
    except TinyRobustError as error:
        raise BuildError(f"cannot compile the virtual board's hooks: {error.message}") from error
    target = kept / f"hooks-{key}" / _LIBRARY
    if codecache.intact(target.parent) is not None:
        return target
    command = [cc, *flags, f"-I{package / 'include'}", str(_SOURCES[0]), str(library)]
    try:
        with scratch("hooks", kept) as folder:
            output = folder / target.name
            done = subprocess.run(
                [*command, "-o", str(output)], capture_output=True, text=True, timeout=120
            )
            if done.returncode:
                raise BuildError(
                    f"{cc} could not compile the virtual board's hooks: "
                    + (done.stderr.strip().splitlines() or ["no message"])[0],
                    "check that its C library headers are installed (apt-get install libc6-dev)",
                )
            codecache.seal(folder, target.name)
            codecache.put(folder, target.parent)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(
            f"cannot compile the virtual board's hooks into {target.parent}: {error}",
            "free some disk space, or set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return target


@cache
def _load() -> ctypes.CDLL:
    path = build()
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # damaged in the cache: make it again, once
        codecache.remove(path.parent)
        library = ctypes.CDLL(str(build()))
    library.tr_attach.restype = ctypes.c_void_p
    library.tr_attach.argtypes = [
        ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int,
        ctypes.POINTER(_Row), ctypes.c_uint32, ctypes.POINTER(_Block), ctypes.c_uint32,
        ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32, ctypes.POINTER(_Span), ctypes.c_uint32,
        ctypes.POINTER(ctypes.c_int),
    ]  # fmt: skip
    library.tr_state.restype = ctypes.POINTER(_Shared)
    library.tr_state.argtypes = [ctypes.c_void_p]
    library.tr_reset.argtypes = library.tr_flush.argtypes = [ctypes.c_void_p]
    library.tr_reset.restype = library.tr_flush.restype = None
    library.tr_peek.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.tr_peek.restype = ctypes.c_uint32
    library.tr_guard.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int, ctypes.c_int,
        ctypes.POINTER(ctypes.c_size_t),
    ]  # fmt: skip
    library.tr_rewind.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.tr_rearm.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.tr_rewind.restype = library.tr_rearm.restype = None
    library.tr_code_ram.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32,
    ]  # fmt: skip
    library.tr_rules.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(_Rule), ctypes.c_uint32, ctypes.POINTER(_Condition),
        ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32,
    ]  # fmt: skip
    library.tr_rules.restype = None
    library.tr_unguard.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    if library.tr_sizeof_shared() != ctypes.sizeof(_Shared):
        raise BuildError("the virtual board's hooks and native.py disagree about their data")
    return library


def checks(first: int, second: int) -> int:
    """``thumb.checks`` as the C code does it, for the test that holds the two together."""
    return int(_load().tr_checks(first, second))


def absent(first: int, second: int, level: thumb.Level) -> bool:
    """``thumb.absent`` as the C code does it."""
    return bool(_load().tr_absent(first, second, int(level)))


def cost(first: int, second: int) -> int:
    """``cycles.cost`` as the C code does it."""
    return int(_load().tr_cost(first, second))


class NativeHooks:
    """Counting, peripherals and checks of one engine, in C."""

    kind = "native"

    def __init__(
        self, uc: Any, registers: RegisterMap, spans: Sequence[Span], fd: int, strict: bool,
        clock: Clock, code: CodeRange | None = None, level: thumb.Level = thumb.Level.ALL,
    ) -> None:  # fmt: skip
        self._library = _load()
        rows = []
        for r in registers.registers.values():
            follows = r.follows or (peripherals.Follow(0, 0, 0),)
            rows += [
                _Row(r.address, r.reset, r.ones, int(r.role), f.of, f.to, f.width) for f in follows
            ]
        blocks = [_Block(b.base, b.size, int(b.open)) for b in registers.blocks]
        areas = [_Span(s.base, s.size, int(s.is_flash), s.pointer) for s in spans]
        pages = registers.pages
        error = ctypes.c_int(0)
        self._board = self._library.tr_attach(
            uc._uch, fd, int(strict), int(clock), int(level),
            (_Row * len(rows))(*rows), len(rows), (_Block * len(blocks))(*blocks), len(blocks),
            (ctypes.c_uint32 * len(pages))(*pages), len(pages),
            (_Span * len(areas))(*areas), len(areas), ctypes.byref(error),
        )  # fmt: skip
        if error.value:
            raise UcError(error.value)
        self._set_rules(registers)
        if code is not None:
            failed = self._library.tr_code_ram(self._board, code.low, code.high, int(code.cached))
            if failed:
                raise UcError(failed)
        self._shared = self._library.tr_state(self._board).contents
        self._guards: list[int] = []

    def _set_rules(self, registers: RegisterMap) -> None:
        rules: list[_Rule] = []
        conditions: list[_Condition] = []
        for rule in registers.rules:
            rules.append(
                _Rule(
                    int(rule.kind),
                    rule.base,
                    rule.size,
                    len(conditions),
                    len(rule.conditions),
                    rule.access,
                )
            )
            conditions += [
                _Condition(c.address, c.mask, c.low, c.high, int(c.before)) for c in rule.conditions
            ]
        self._library.tr_rules(
            self._board, (_Rule * len(rules))(*rules), len(rules),
            (_Condition * len(conditions))(*conditions), len(conditions), registers.uart_hz,
            registers.tick_cycles,
        )  # fmt: skip

    @property
    def count(self) -> int:
        """Instructions run so far."""
        return int(self._shared.count)

    @property
    def cycles(self) -> int:
        """Cycles of the Cortex-M4 model for them (``cycles.py``): an estimate."""
        return int(self._shared.cycles)

    def take(self) -> State:
        """What stopped the engine; the requests are cleared, faults stay."""
        s = self._shared
        state = State(
            Requests(s.request), Fault(s.fault), s.fault_address, s.fault_size,
            bool(s.fault_is_write),
        )  # fmt: skip
        s.request = 0
        return state

    def mpu(self) -> Mpu:
        """The MPU's registers."""
        s = self._shared
        return Mpu(s.mpu_control, tuple(s.mpu_base), tuple(s.mpu_attributes), bool(s.mpu_v8))

    def reset(self) -> None:
        """All registers to their reset values; the count goes on."""
        self._library.tr_reset(self._board)

    def flush(self) -> None:
        """Send what the UART still holds."""
        self._library.tr_flush(self._board)

    def rewind(self, pc: int) -> None:
        """Take back the count of what follows ``pc`` in its block: it will run again."""
        self._library.tr_rewind(self._board, pc)

    def rearm(self, instructions: int) -> None:
        """Ask for ``Requests.REARM`` after so many instructions."""
        self._library.tr_rearm(self._board, instructions)

    def peek(self, address: int) -> int:
        """The stored word of a register."""
        return int(self._library.tr_peek(self._board, address))

    def guard(self, pieces: Sequence[tuple[int, int, bool, bool]]) -> None:
        """Watch ``(start, end, reads, writes)`` smaller than a page; replaces earlier ones."""
        for handle in self._guards:
            self._library.tr_unguard(self._board, handle)
        self._guards = []
        for low, high, reads, writes in pieces:
            made = ctypes.c_size_t(0)
            error = self._library.tr_guard(
                self._board, low, high, int(reads), int(writes), ctypes.byref(made)
            )
            if error:
                raise UcError(error)
            self._guards.append(made.value)
