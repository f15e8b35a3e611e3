"""A campaign: many boards, one fault each, and what became of the classes.

In: a Graph built for a board, images, which kinds of faults how often, a seed. Out: a Result with a
Tally per kind. Every fault has a virtual board of its own, which runs the very bytes that would be
flashed and is asked over its serial link as a real one is, so that "no answer" is what a host sees.

What may become of a fault, the worst of its images:

* ``wrong class``: an answer came, and another class than without the fault;
* ``other scores``: the class is the same, a score is not;
* ``no effect``: every score is the same;
* ``fault``: the core stopped or was reset (on the virtual board: what silicon forbids);
* ``no answer``: it hangs, or its link does.

The last two are noticed by any host. Of flips in flash a host that asks for the image's hash is
told each; ``hash_told`` counts those where the board still answered that and the hash differed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import device, virtual
from tinyrobust.boards import Board
from tinyrobust.errors import DeviceFault, LinkError, ProtocolError, TinyRobustError
from tinyrobust.faults.targets import (
    FLASH_KINDS,
    KINDS,
    RUN_KINDS,
    FlashBit,
    Instructions,
    arena,
    draw_bit,
    every_bit,
    flash_regions,
    ranges_of_code,
)
from tinyrobust.image import Image
from tinyrobust.image.elf import Elf
from tinyrobust.statistics import wilson
from tinyrobust.virtual import Injection

WRONG, OTHER, NONE, FAULT, SILENT = (
    "wrong class", "other scores", "no effect", "fault", "no answer",
)  # fmt: skip
OUTCOMES = (WRONG, OTHER, NONE, FAULT, SILENT)
EXHAUSTIVE_BYTES = 256  # a region of at most so many is tried bit by bit, where that is asked for
_ERASED = 0xFF

UInt8 = npt.NDArray[np.uint8]
Progress = Callable[[str, int, int], None]


@dataclass
class Tally:
    """Faults of one kind by outcome; ``not_reached``: the instruction did not run again, so there
    was no fault (in no other count). ``bits``: how many there are to flip, of flash."""

    kind: str
    bits: int | None = None
    exhaustive: bool = False
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    not_reached: int = 0
    hash_told: int = 0
    worst: list[dict[str, Any]] = field(default_factory=list)  # faults that gave a wrong class

    @property
    def faults(self) -> int:
        """How many were put in."""
        return sum(self.outcomes.values())

    def as_json(self) -> dict[str, Any]:
        """Plain data with 95 % intervals (Wilson) of the shares."""
        shares = {}
        for outcome, count in self.outcomes.items():
            low, high = wilson(count, self.faults)
            shares[outcome] = {
                "faults": count, "share": count / max(self.faults, 1), "low": low, "high": high,
            }  # fmt: skip
        return {
            "kind": self.kind, "faults": self.faults, "bits": self.bits,
            "exhaustive": self.exhaustive, "outcomes": shares, "not_reached": self.not_reached,
            "hash_told": self.hash_told, "wrong_class_at": self.worst,
        }  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A campaign: ``instructions`` of one inference that faults were drawn from."""

    tallies: tuple[Tally, ...]
    images: int
    instructions: int


def campaign(
    built: Image, board: Board, images: UInt8, counts: Mapping[str, int], *, seed: int = 0,
    exhaustive: bool = False, timeout_s: float = 5.0,
    progress: Progress = lambda kind, done, total: None,
) -> Result:  # fmt: skip
    """``counts`` faults by kind, each on a board of its own that is shown ``images``.

    With ``exhaustive`` regions of flash of at most EXHAUSTIVE_BYTES are tried bit by bit instead.
    ``timeout_s``: how long an answer may take. Raises TinyRobustError for an unknown kind or an
    empty region, BoardError for a board that runs no faults, and what building on a sound board
    raises.
    """
    for kind in counts:
        if kind not in KINDS:
            raise TinyRobustError(f"no kind of fault '{kind}'", f"one of {', '.join(KINDS)}")
    elf = Elf(built.elf)
    with tempfile.TemporaryDirectory(prefix="tinyrobust-faults-") as folder:
        runs = _Runs(built, board, elf, images, timeout_s, Path(folder))
        instructions = runs.profile()
        random = np.random.default_rng(seed)
        tallies = []
        for kind, count in counts.items():
            tally = Tally(kind)
            faults = _faults(kind, count, tally, elf, board, instructions, random, exhaustive)
            for done, fault in enumerate(faults):
                progress(kind, done, len(faults))
                runs.judge(fault, tally)
            progress(kind, len(faults), len(faults))
            tallies.append(tally)
    return Result(tuple(tallies), len(images), instructions.total)


def _faults(
    kind: str, count: int, tally: Tally, elf: Elf, board: Board, instructions: Instructions,
    random: np.random.Generator, exhaustive: bool,
) -> Sequence[FlashBit | Injection]:  # fmt: skip
    if kind in RUN_KINDS:
        where = arena(elf) if kind == "arena" else (0, 1)
        return [instructions.draw(kind, random, where) for _ in range(count)]
    regions = flash_regions(elf, board)[kind]
    size = sum(region.bytes for region in regions)
    if not size:
        raise TinyRobustError(
            f"the image has no {kind} in flash", f"leave it out of --kinds {','.join(FLASH_KINDS)}"
        )
    tally.bits = 8 * size
    tally.exhaustive = exhaustive and size <= EXHAUSTIVE_BYTES
    if tally.exhaustive:
        return list(every_bit(regions))
    return [draw_bit(regions, random) for _ in range(count)]


class _Runs:
    """Boards with one fault each, held against a sound one."""

    def __init__(
        self, built: Image, board: Board, elf: Elf, images: UInt8, timeout_s: float, folder: Path
    ) -> None:
        self.built, self.board, self.elf = built, board, elf
        self.images, self.timeout_s, self.folder = images, timeout_s, folder
        content = built.bin.read_bytes()
        before = board.image_origin - board.flash.origin
        self.flash = bytes([_ERASED]) * before + content
        self.scores: npt.NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self.hash = ""

    def profile(self) -> Instructions:
        """The sound board: its scores, its hash, and what ran in the inferences."""
        wanted = virtual.Profile(self.folder / "profile", ranges_of_code(self.elf, self.board))
        wanted.create()
        with (
            virtual.start(self.board, self.built, profile=wanted) as running,
            device.Session.open(
                running.port, timeout_s=10 * self.timeout_s, fault=running.fault
            ) as session,
        ):
            before = wanted.read()
            self.scores = session.infer_many(self.images).scores
            after = wanted.read()
            self.hash = session.image_hash()
        return Instructions(before, after)

    def judge(self, fault: FlashBit | Injection, tally: Tally) -> None:
        """Run one fault and count what it did."""
        flash: Path | None = None
        injection = fault if isinstance(fault, Injection) else None
        if isinstance(fault, FlashBit):
            content = bytearray(self.flash)
            content[fault.address - self.board.flash.origin] ^= 1 << fault.bit
            flash = self.folder / "flash.bin"
            flash.write_bytes(content)
        outcome, reached, told = self._run(flash, injection)
        if not reached:
            tally.not_reached += 1
            return
        tally.outcomes[outcome] += 1
        tally.hash_told += told
        if outcome == WRONG:
            tally.worst.append(asdict(fault))

    def _run(self, flash: Path | None, injection: Injection | None) -> tuple[str, bool, bool]:
        """What became of it; whether the fault has happened; whether the hash tells it."""
        running = virtual.start(self.board, self.built, flash_file=flash, injection=injection)
        with running:
            outcome, told = self._ask(running, flash is not None)
            reached = injection is None or running.is_injected()
        return outcome, reached or outcome in (FAULT, SILENT), told

    def _ask(self, running: virtual.VirtualBoard, hashed: bool) -> tuple[str, bool]:
        try:
            with device.Session.open(
                running.port, timeout_s=self.timeout_s, fault=running.fault
            ) as session:
                scores = session.infer_many(self.images).scores
                told = hashed and session.image_hash() != self.hash
        except DeviceFault:
            return FAULT, False
        except (LinkError, ProtocolError):
            return (FAULT if running.fault() is not None else SILENT), False
        if (scores.argmax(1) != self.scores.argmax(1)).any():
            return WRONG, told
        return (NONE if np.array_equal(scores, self.scores) else OTHER), told
