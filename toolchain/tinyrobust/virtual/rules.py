"""Stage ``virtual``: what depends on other registers.

In: a board's peripherals with their ``needs``, ``transmits``, ``receives`` and ``shows``. Out:
``Rule`` rows, which the hooks (``hooks.c``) carry out. Where silicon would hang, drop a write or
run beyond its limits without a word, the virtual board stops and says what is missing: a
peripheral wants its clock, a UART its pins, a clock switch its wait states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tinyrobust.boards import schema
from tinyrobust.boards.schema import Board, Peripheral
from tinyrobust.errors import BoardError
from tinyrobust.registry import nearest

READS, WRITES = 1, 2  # kinds of accesses, shared with hooks.c


@dataclass(frozen=True)
class Condition:
    """``low <= (the register at address & mask) <= high``; of a register that is being written the
    new word counts, or, ``before``, the old one."""

    address: int
    mask: int
    low: int
    high: int
    before: bool = False


class RuleKind(IntEnum):
    """What a rule is about. The numbers are shared with ``hooks.c``."""

    SHOWS = 0  # bits ``size`` of the register at ``base``
    NEEDS = 1  # accesses to the ``size`` bytes at ``base``
    TRANSMITS = 2  # the UART's bytes go out
    RECEIVES = 3  # the UART's bytes come in


@dataclass(frozen=True)
class Rule:
    """Something that is so only while all ``conditions`` hold.

    Of NEEDS the last condition must hold when all before it do, at the kinds of accesses
    ``access``; ``why`` and ``of`` (the name of the last condition's register) are for the report.
    """

    kind: RuleKind
    base: int
    size: int
    conditions: tuple[Condition, ...]
    access: int = READS | WRITES
    why: str = ""
    of: str = ""

    def is_broken(self, read: Callable[[Condition], int]) -> bool:
        """True when the access must not be; ``read`` gives the word of a register."""

        def holds(c: Condition) -> bool:
            return c.low <= read(c) & c.mask <= c.high

        *when, must = self.conditions
        return all(holds(c) for c in when) and not holds(must)

    def text(self) -> str:
        """Why, and what was wanted."""
        wants = _wanted(self.of, self.conditions[-1])
        return f"{self.why} ({wants})" if self.why else wants


def _wanted(name: str, c: Condition) -> str:
    bits = name if c.mask == 0xFFFFFFFF else f"{name} bits {c.mask:#x}"
    if c.low == c.high:
        return f"{bits} must be {c.low:#x}"
    if c.high >= c.mask:
        return f"{bits} must be at least {c.low:#x}"
    if c.low == 0:
        return f"{bits} must be at most {c.high:#x}"
    return f"{bits} must be {c.low:#x} to {c.high:#x}"


def rules(board: Board, names: Mapping[str, int], speaks: Sequence[int]) -> tuple[Rule, ...]:
    """The rules of all peripherals. ``names``: addresses of registers by PERIPHERAL.REGISTER;
    ``speaks``: those whose writing sends a byte.

    Raises BoardError for a register that is not listed, and for bits that depend on themselves.
    """
    assert board.unicorn is not None  # checked by the board's schema

    def address(name: str) -> int:
        return _address(board, names, name)

    def resolve(*found: schema.Condition) -> tuple[Condition, ...]:
        return _resolve(board, names, found)

    made: list[Rule] = []
    for peripheral in board.unicorn.peripherals:
        block = peripheral.base, peripheral.size
        for need in peripheral.needs:
            access = {"any": READS | WRITES, "read": READS, "write": WRITES}[need.access]
            spans = [(address(f"{peripheral.name}.{name}"), 4) for name in need.on] or [block]
            made += [
                Rule(RuleKind.NEEDS, *span, resolve(*need.when, need), access, need.why, need.of)
                for span in spans
            ]
        made += _lines(peripheral, resolve)
        for row in peripheral.registers:
            for shown in row.shows:
                where = peripheral.base + row.offset
                made.append(Rule(RuleKind.SHOWS, where, shown.bits, resolve(*shown.when)))
    _refuse_circles(board, made)
    return (*made, *_processor(board, names, speaks))


def boot_ready(board: Board, names: Mapping[str, int]) -> tuple[Rule, ...]:
    """What the boot block must have set up before the flash can be read."""
    assert board.unicorn is not None  # checked by the board's schema
    return tuple(
        Rule(RuleKind.NEEDS, 0, 0, _resolve(board, names, [row]), why=row.why, of=row.of)
        for row in board.unicorn.boot_ready
    )


def _address(board: Board, names: Mapping[str, int], name: str) -> int:
    if name not in names:
        raise BoardError(
            f"{board.id}: no register {name} for a condition to look at", nearest(name, names)
        )
    return names[name]


def _resolve(
    board: Board, names: Mapping[str, int], found: Sequence[schema.Condition]
) -> tuple[Condition, ...]:
    return tuple(
        Condition(_address(board, names, c.of), c.mask, *c.bounds, c.before) for c in found
    )


def _lines(peripheral: Peripheral, resolve: Callable[..., tuple[Condition, ...]]) -> Iterator[Rule]:
    """One rule for each condition of a UART's two lines, so that a report can name it."""
    for kind, conditions in (
        (RuleKind.TRANSMITS, peripheral.transmits),
        (RuleKind.RECEIVES, peripheral.receives),
    ):
        for c in conditions:
            why = c.why if isinstance(c, schema.Reason) else ""
            yield Rule(kind, peripheral.base, peripheral.size, resolve(c), why=why, of=c.of)


def _processor(board: Board, names: Mapping[str, int], speaks: Sequence[int]) -> Iterator[Rule]:
    """What start-up owes every firmware, asked when it speaks: VTOR, the FPU."""
    table = "VTOR is not the image's vector table: a fault would be taken elsewhere"
    wants = [("SCS.VTOR", 0xFFFFFF80, board.vector_table, table)]
    if board.fpu is not None:
        off = "the floating-point unit is off: code that uses it would fault"
        wants.append(("SCS.CPACR", 0xF << 20, 0xF << 20, off))
    for name, mask, value, why in wants:
        if name in names:
            must = Condition(names[name], mask, value, value)
            for low in speaks:
                yield Rule(RuleKind.NEEDS, low, 4, (must,), WRITES, why, name)


def _refuse_circles(board: Board, made: list[Rule]) -> None:
    needs: dict[int, set[int]] = {}
    for rule in made:
        if rule.kind is RuleKind.SHOWS:
            needs.setdefault(rule.base, set()).update(c.address for c in rule.conditions)
    for start in needs:
        seen: set[int] = set()
        ahead = set(needs[start])
        while ahead:
            address = ahead.pop()
            if address == start:
                raise BoardError(
                    f"{board.id}: the register at {start:#010x} depends on itself",
                    "correct the rule in the board file",
                )
            if address not in seen:
                seen.add(address)
                ahead |= needs.get(address, set())
