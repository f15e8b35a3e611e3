"""Stage ``flash``: why a board stopped, read through its debug probe.

In: a board, the image in its flash, a probe. Out: a ``FaultReport`` from what the fault handler
left in ``tr_fault_record`` (firmware/ports, startup.S), or None. pyOCD attaches without a reset.
Tested with the real pyOCD on a modelled chip whose memory held records; never on hardware.
"""

from __future__ import annotations

import re

from tinyrobust.boards.schema import Board
from tinyrobust.errors import FlashError
from tinyrobust.flash._flasher import Image
from tinyrobust.flash._tool import run_tool
from tinyrobust.flash.pyocd import flasher as pyocd
from tinyrobust.virtual.faults import TEXT, Fault, FaultReport, Symbols

_ROW = re.compile(r"^([0-9a-f]{8}):  ((?:[0-9a-f]{8} ?)+)", re.MULTILINE)
_RECORD_WORDS = 7  # sp, EXC_RETURN, xPSR, CFSR, HFSR, MMFAR, BFAR
_FRAME = ("r0", "r1", "r2", "r3", "r12", "lr", "pc", "xpsr")  # DDI0403 B1.5.6: as it is stacked
_GUARD_BYTES = 32
# DDI0403 B3.2.15, "Configurable Fault Status Register, CFSR": bit, name, what it is here.
_CFSR = (
    (0, "IACCVIOL", Fault.EXECUTION),
    (1, "DACCVIOL", Fault.PROTECTION),
    (4, "MSTKERR", Fault.STACK_GUARD),
    (8, "IBUSERR", Fault.EXECUTION),
    (9, "PRECISERR", Fault.UNMAPPED),
    (10, "IMPRECISERR", Fault.UNMAPPED),
    (12, "STKERR", Fault.STACK_GUARD),
    (16, "UNDEFINSTR", Fault.UNDEFINED),
    (17, "INVSTATE", Fault.EXECUTION),
    (18, "INVPC", Fault.EXECUTION),
    (19, "NOCP", Fault.NO_FPU),
    (20, "STKOF", Fault.STACK_GUARD),  # Armv8-M: the stack limit register
    (24, "UNALIGNED", Fault.MISALIGNED),
    (25, "DIVBYZERO", Fault.DIVISION),
)
_MMARVALID, _BFARVALID = 1 << 7, 1 << 15
_DEBUGEVT = 1 << 31  # HFSR: a breakpoint without a debugger
_NAMES = {2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault", 11: "SVCall"}


def read_fault(board: Board, image: Image, probe: str | None = None) -> FaultReport | None:
    """The fault that stopped ``board``, which holds ``image``; None when it has recorded none.

    Raises FlashError: pyOCD fails or is not for this board, or the flash holds another image.
    """
    symbols = Symbols(image.elf)
    record_at = symbols.value("tr_fault_record")
    if record_at is None:
        raise FlashError(f"{image.elf} keeps no record of faults", "build it again")
    content = image.bin.read_bytes()
    if _read(board, probe, board.image_origin, len(content)) != content:
        raise FlashError(
            f"{board.id} holds another image than {image.bin}, whose names would mislead",
            "give the one that was flashed: --image FOLDER",
        )
    record = _words(_read(board, probe, record_at, 4 * _RECORD_WORDS))
    if not any(record):
        return None
    stack = record[0]
    frame: dict[str, int] = {}
    if any(m.kind != "flash" and m.origin <= stack <= m.end - 32 for m in board.memories):
        frame = dict(zip(_FRAME, _words(_read(board, probe, stack, 32)), strict=True))
    return report(record, frame, symbols)


def report(record: list[int], frame: dict[str, int], symbols: Symbols) -> FaultReport:
    """What the words of ``tr_fault_record`` and the stacked ``frame`` mean."""
    stack, exc_return, xpsr, cfsr, hfsr, mmfar, bfar = record
    causes = [(name, fault) for bit, name, fault in _CFSR if cfsr >> bit & 1]
    if not causes and hfsr & _DEBUGEVT:
        causes = [("DEBUGEVT", Fault.BREAKPOINT)]
    kind = causes[0][1] if causes else Fault.EXCEPTION
    address = mmfar if cfsr & _MMARVALID else bfar if cfsr & _BFARVALID else None
    guard = symbols.value("tr_stack_guard")
    if address is not None and guard is not None and guard <= address < guard + _GUARD_BYTES:
        kind = Fault.STACK_GUARD
    pc = frame.get("pc", 0)
    number = xpsr & 0x1FF
    detail = ", ".join([
        _NAMES.get(number, f"exception {number}"), *(name for name, _ in causes),
        *([f"address {address:#010x}"] if address is not None else []),
    ])  # fmt: skip
    registers = {**frame, "sp": stack + 32, "exc_return": exc_return, "cfsr": cfsr, "hfsr": hfsr}
    return FaultReport(
        kind.name.lower(), TEXT[kind], pc, symbols.function(pc), address, "", 0, registers,
        caller=symbols.function(frame.get("lr", 0)).replace("?", ""), detail=detail,
    )  # fmt: skip


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def _read(board: Board, probe: str | None, address: int, size: int) -> bytes:
    """``size`` bytes, a multiple of 4, from ``address`` on."""
    said = run_tool(
        "pyocd", _command(board, probe, address, size), pyocd.hints, failed=pyocd.failed
    )
    found = b"".join(
        int(word, 16).to_bytes(4, "little")
        for row in _ROW.finditer(said)
        for word in row[2].split()
    )
    if len(found) != size:
        raise FlashError(
            f"pyocd read {len(found)} of {size} bytes at {address:#010x}: "
            + " / ".join(said.strip().splitlines()[-2:]),
            "check the cable and power",
        )
    return found


def _command(board: Board, probe: str | None, address: int, size: int) -> list[str]:
    target = next((row.target for row in board.flashers if row.id == "pyocd"), None)
    if target is None:
        raise FlashError(
            f"board {board.id} has no flasher pyocd to read its memory through",
            "take --virtual, or read the record over the port: tinyrobust monitor --port PORT",
        )
    if missing := pyocd.missing():
        raise FlashError("pyocd is not installed", missing)
    return [
        *pyocd.call(), "commander", "--no-wait", "--connect", "attach",
        "--target", target, *(["--uid", probe] if probe else []),
        "--command", f"read32 {address:#010x} {size}",
    ]  # fmt: skip
