"""Stage ``virtual``: what must hold before hardware does what firmware asks of it.

In: ``needs`` of the peripherals in a board's YAML file: a peripheral wants its clock, a UART its
pins, a clock switch its wait states. Out: rows that both kinds of hooks (``hooks.c`` through
``needs.h``, and ``portable.py``) check at each access. Silicon would hang, drop the write or run
beyond its limits without a word; the virtual board stops and says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinyrobust.boards import schema
from tinyrobust.boards.schema import Board, Peripheral
from tinyrobust.errors import BoardError

# Rates that a serial port is opened with; a UART must be within a fiftieth of one of them (with a
# tenth of a bit lost on each side a byte of ten bits still arrives).
RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1000000,
         2000000)  # fmt: skip
TOLERANCE = 50


@dataclass(frozen=True)
class Condition:
    """The bits ``mask`` of a register, moved down to bit 0, lie in ``low`` to ``high``; or, when
    ``rate_hz`` is not 0, divide that into one of ``RATES``. ``before``: at a write of this very
    register, its bits before the write."""

    address: int
    mask: int
    low: int
    high: int
    rate_hz: int = 0
    before: bool = False

    @property
    def shift(self) -> int:
        """Number of the mask's lowest bit."""
        return (self.mask & -self.mask).bit_length() - 1

    def holds(self, word: int) -> bool:
        """True when the register's ``word`` is as wanted."""
        value = (word & self.mask) >> self.shift
        if self.rate_hz:
            return any(abs(self.rate_hz - r * value) * TOLERANCE <= r * value for r in RATES)
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Need:
    """At reads and/or writes of ``low`` to ``high`` (exclusive), if all of ``when`` hold, ``must``
    has to; else the firmware faults, with ``why``. ``name`` is the register that ``must`` is of."""

    low: int
    high: int
    reads: bool
    writes: bool
    when: tuple[Condition, ...]
    must: Condition
    why: str
    name: str = ""

    def broken(self, address: int, is_write: bool, read: Callable[[Condition], int]) -> bool:
        """True when an access of ``address`` breaks it; ``read`` gives the word of a register."""
        if not (self.low <= address < self.high and (self.writes if is_write else self.reads)):
            return False
        if not all(c.holds(read(c)) for c in self.when):
            return False
        return not self.must.holds(read(self.must))

    def text(self) -> str:
        """For the report: why, and what was wanted."""
        must = self.must
        if must.rate_hz:
            return f"{self.why} ({self.name} divides {must.rate_hz:,} Hz into no usual rate)"
        bits = f"{self.name} bits {must.mask:#x}"
        if must.low == must.high:
            return f"{self.why} ({bits} must be {must.low << must.shift:#x})"
        if must.high == must.mask >> must.shift:
            return f"{self.why} ({bits} must be at least {must.low << must.shift:#x})"
        if must.low == 0:
            return f"{self.why} ({bits} must be at most {must.high << must.shift:#x})"
        return f"{self.why} ({bits} must be {must.low << must.shift:#x} to " \
               f"{must.high << must.shift:#x})"  # fmt: skip


def needs(board: Board, names: Mapping[str, int], speaks: Iterable[int] = ()) -> tuple[Need, ...]:
    """All needs of the board's peripherals; ``names`` gives addresses of ``BLOCK.REGISTER``,
    ``speaks`` those of registers whose writing sends a byte.

    Raises BoardError for a name that no peripheral has.
    """
    assert board.unicorn is not None  # checked by the board's schema
    found: list[Need] = []
    for peripheral in board.unicorn.peripherals:
        for row in peripheral.needs:
            found += _compile(board, peripheral, row, names)
    return (*found, *_processor(board, names, speaks))


def boot_ready(board: Board, names: Mapping[str, int]) -> tuple[Need, ...]:
    """What the boot block must have set up; only their ``must`` counts."""
    assert board.unicorn is not None  # checked by the board's schema
    return tuple(
        Need(0, 0, False, False, (), _condition(board, "boot_ready", row, names), row.why, row.of)
        for row in board.unicorn.boot_ready
    )


@dataclass(frozen=True)
class Shown:
    """``bits`` of the register at ``address`` read as ones while all ``conditions`` hold, as zeros
    otherwise."""

    address: int
    bits: int
    conditions: tuple[Condition, ...]


def shown(board: Board, names: Mapping[str, int]) -> tuple[Shown, ...]:
    """What registers show of others; ``names`` as for ``needs``.

    Raises BoardError for a name that no peripheral has, and for bits that depend on themselves.
    """
    assert board.unicorn is not None  # checked by the board's schema
    rows = tuple(
        Shown(
            peripheral.base + register.offset, row.bits,
            tuple(_condition(board, peripheral.name, c, names) for c in row.when),
        )
        for peripheral in board.unicorn.peripherals
        for register in peripheral.registers
        for row in register.shows
    )  # fmt: skip
    ahead: dict[int, set[int]] = {}
    for made in rows:
        ahead.setdefault(made.address, set()).update(c.address for c in made.conditions)
    for start in ahead:
        seen: set[int] = set()
        left = set(ahead[start])
        while left:
            address = left.pop()
            if address == start:
                raise BoardError(f"{board.id}: the register at {start:#010x} depends on itself")
            if address not in seen:
                seen.add(address)
                left |= ahead.get(address, set())
    return rows


def _condition(
    board: Board, who: str, c: schema.Condition, names: Mapping[str, int]
) -> Condition:
    if c.of not in names:
        raise BoardError(
            f"{board.id}: {who} needs {c.of}, which no peripheral has",
            "name it PERIPHERAL.REGISTER, as the unicorn section does",
        )
    return Condition(names[c.of], c.mask, *c.bounds(), c.rate_hz or 0, c.before)


def _compile(
    board: Board, peripheral: Peripheral, row: schema.Need, names: Mapping[str, int]
) -> Iterator[Need]:
    def condition(c: schema.Condition) -> Condition:
        return _condition(board, peripheral.name, c, names)

    def address(name: str) -> int:
        return condition(schema.Condition(of=name)).address

    when = tuple(condition(c) for c in row.when)
    spans = [(address(f"{peripheral.name}.{name}"), 4) for name in row.on]
    for low, size in spans or [(peripheral.base, peripheral.size)]:
        yield Need(
            low, low + size, row.access != "write", row.access != "read", when, condition(row),
            row.why, row.of,
        )  # fmt: skip


def _processor(board: Board, names: Mapping[str, int], speaks: Iterable[int]) -> Iterator[Need]:
    """What start-up owes every firmware, asked when it speaks: VTOR, the FPU."""
    table = "VTOR is not the image's vector table: a fault would be taken elsewhere"
    wants = [("SCS.VTOR", 0xFFFFFF80, board.vector_table >> 7, table)]
    if board.fpu is not None:
        wants.append(("SCS.CPACR", 0xF << 20, 0xF,
                      "the floating-point unit is off: code that uses it would fault"))  # fmt: skip
    for name, mask, value, why in wants:
        if name in names:
            must = Condition(names[name], mask, value, value)
            for low in speaks:
                yield Need(low, low + 4, False, True, (), must, why, name)


def first_broken(
    rows: Sequence[Need], address: int, is_write: bool, read: Callable[[Condition], int]
) -> int | None:
    """Index of the first need that this access breaks."""
    return next((i for i, n in enumerate(rows) if n.broken(address, is_write, read)), None)


def conditions(rows: Iterable[Need]) -> list[Condition]:
    """All conditions in the order of ``needs.h``: of each need those of ``when``, then ``must``."""
    return [c for row in rows for c in (*row.when, row.must)]
