"""Stage ``boards``: what a board file says. In: ``boards/<id>.yaml``. Out: a frozen ``Board``.

Every figure in a board file comes from a document named in its ``sources``; comments beside the
figure say which one. A board of a known MCU family needs no other file.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tinyrobust.boards.cores import CORES, Core, Traits

MemoryKind = Literal["flash", "ram", "itcm", "dtcm"]
Use = Literal[
    "code", "weights", "tables", "arena", "scratch", "buffers", "data", "stack", "code_ram"
]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Address = Annotated[int, Field(ge=0, lt=1 << 32)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Memory(_Strict):
    """A stretch of address space. ``use`` says what the build may put there.

    Where several memories allow a use, the first one listed in which it fits is taken.
    """

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    origin: Address
    length: Annotated[int, Field(gt=0, le=1 << 32)]  # bytes
    kind: MemoryKind
    # Width in bits of a write that makes the memory's error correction valid; null: no ECC.
    ecc: Literal[32, 64, 256] | None = None
    use: list[Use] = []

    @property
    def end(self) -> int:
        """First address after the memory."""
        return self.origin + self.length


class UsbId(_Strict):
    """USB vendor and product of the serial port, by which ``doctor`` recognises a board."""

    vid: Annotated[int, Field(ge=0, le=0xFFFF)]
    pid: Annotated[int, Field(ge=0, le=0xFFFF)]


class Serial(_Strict):
    """The serial port that the protocol runs over."""

    device: str  # the peripheral and its pins, for people
    baud_default: Annotated[int, Field(gt=0)] = 115200
    baud_max: Annotated[int, Field(gt=0)] = 115200
    usb_ids: list[UsbId] = []


class Flasher(_Strict):
    """One way to program the board; the first one that is installed is the default."""

    id: Identifier
    target: str | None = None  # the flasher's own name of the chip
    config: str | None = None  # a configuration file of the flasher


class Budget(_Strict):
    """What an image may use; at most what the board has, less what the owner wants to keep."""

    flash_bytes: Annotated[int, Field(gt=0)]
    ram_bytes: Annotated[int, Field(gt=0)]
    stack_bytes: Annotated[int, Field(gt=0, multiple_of=32)]  # reserved for the stack


class Follow(_Strict):
    """Bits that follow other bits of the same register: ``width`` bits at ``to`` copy ``of``."""

    of: Annotated[int, Field(ge=0, le=31)]
    to: Annotated[int, Field(ge=0, le=31)]
    width: Annotated[int, Field(ge=1, le=8)] = 1


class Register(_Strict):
    """A register of a virtual peripheral: its reset value, and bits that hardware would set."""

    name: str
    offset: Annotated[int, Field(ge=0)]
    reset: Address = 0
    ones: Address = 0  # bits that always read as one
    follows: list[Follow] = []


class Peripheral(_Strict):
    """A peripheral as the virtual board sees it.

    ``model`` names the behaviour: ``registers`` only remembers what was written and applies
    ``registers`` below; the others are written out in ``virtual/``. ``text`` fills a ``rom``.
    """

    name: str
    base: Address
    size: Annotated[int, Field(gt=0)]
    model: Literal[
        "registers", "stm32-usart", "cmsdk-uart", "cmsdk-timer", "armv7m-scs", "armv7m-dwt", "rom"
    ] = "registers"
    registers: list[Register] = []
    text: str | None = None


class Unicorn(_Strict):
    """What the Unicorn virtual board maps besides the memories.

    A board whose ``virtual`` is another kind runs on Unicorn for counting only.
    """

    peripherals: list[Peripheral]


class Board(_Strict):
    """One board: memories, core, clock, serial port, flashers, budget.

    ``port`` is the folder of ``firmware/ports``; ``fpu`` is what gcc's ``-mfpu`` calls the
    floating-point unit (start-up switches it on; the firmware itself computes in integers).
    ``virtual`` says how the firmware runs without the hardware. ``clock_hz`` is the core clock
    after start-up, the highest of the silicon revisions; the device reports its own in ``hello``.
    """

    id: Identifier
    title: str
    mcu: str
    core: Core
    fpu: Literal["fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16"] | None = None
    port: Identifier
    virtual: Literal["unicorn", "qemu", "host"] | None = None
    qemu_machine: str | None = None
    unicorn: Unicorn | None = None
    memories: Annotated[list[Memory], Field(min_length=1)]
    flash_word_bytes: Annotated[int, Field(ge=4, multiple_of=4)]
    flash_sector_bytes: Annotated[int, Field(gt=0)] | None = None
    clock_hz: Annotated[int, Field(gt=0)]
    cycle_counter: Literal["dwt", "timer", "none"]
    serial: Serial
    flashers: list[Flasher] = []
    budget: Budget
    sources: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Board:
        names = [m.name for m in self.memories]
        if len(set(names)) != len(names):
            raise ValueError("two memories have the same name")
        by_origin = sorted(self.memories, key=lambda m: m.origin)
        for low, high in itertools.pairwise(by_origin):
            if low.end > high.origin:
                raise ValueError(f"memories {low.name} and {high.name} overlap")
        for use in ("code", "weights", "tables", "arena", "buffers", "data", "stack"):
            if not self.placed(use):
                raise ValueError(f"no memory has use '{use}'")
        if self.virtual == "qemu" and not self.qemu_machine:
            raise ValueError("virtual: qemu needs qemu_machine")
        if self.virtual == "unicorn" and self.unicorn is None:
            raise ValueError("virtual: unicorn needs the unicorn section")
        if self.budget.flash_bytes > self.flash.length:
            raise ValueError(f"budget.flash_bytes is more than {self.flash.name} has")
        return self

    def placed(self, use: str) -> list[Memory]:
        """Memories that allow ``use``, in the order of preference."""
        return [m for m in self.memories if use in m.use]

    @property
    def flash(self) -> Memory:
        """The memory that holds the image."""
        return self.placed("code")[0]

    @property
    def traits(self) -> Traits:
        """What follows from the core."""
        return CORES[self.core]

    @property
    def is_host(self) -> bool:
        """A Linux process instead of a microcontroller."""
        return self.core == "host"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return self.model_dump(mode="json")
