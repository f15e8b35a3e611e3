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
    "code",
    "weights",
    "tables",
    "arena",
    "scratch",
    "buffers",
    "data",
    "stack",
    "code_ram",
    "hot_code",
]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Setting = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Address = Annotated[int, Field(ge=0, lt=1 << 32)]


# Of a vector table (DDI0403, "Vector Table Offset Register"; Armv6-M: 256 bytes).
VECTOR_ALIGNMENT = 256


class At(ValueError):
    """A contradiction in a board file; ``where`` is the path of the field to point at."""

    def __init__(self, message: str, *where: str | int) -> None:
        super().__init__(message)
        self.where = where


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
    ecc: Literal[32, 64, 128, 256] | None = None
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


# What each flasher's row needs, then what else it may have; others than these may have any key.
_FLASHER_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pyocd": (("target",), ()),
    "openocd": (("config",), ("interface",)),
    "st-flash": ((), ()),
    "stm32cubeprogrammer": ((), ()),
    "dfu-util": (("usb",), ("alt", "touch")),
    "bossac": (("usb",), ("offset", "touch")),
    "arduino-cli": (("fqbn",), ()),
    "uf2": (("volume", "family"), ("touch",)),
    "gdb": ((), ("remote",)),
    "virtual": ((), ()),
}


class Flasher(_Strict):
    """One way to program the board; the first one that is installed is the default."""

    id: Identifier
    target: str | None = None  # pyocd: its own name of the chip
    config: str | None = None  # openocd: a configuration file of its own
    interface: str | None = None  # openocd: the probe's file, where config is a target's
    usb: UsbId | None = None  # dfu-util, bossac: the boot loader's ids
    alt: Annotated[int, Field(ge=0, le=255)] = 0  # dfu-util: alternate setting, the flash
    offset: Address = 0  # bossac: where in the flash the image starts, bytes
    # dfu-util, bossac, uf2: the USB port of the running firmware (an Arduino sketch) that calls the
    # boot loader when it is opened and closed at 1200 baud; null: bossac takes the board's serial
    # port, the others call nothing.
    touch: UsbId | None = None
    fqbn: Annotated[str, Field(pattern=r"^[^:\s]+:[^:\s]+:[^:\s]+(:[^:\s]+)?$")] | None = None
    volume: str | None = None  # uf2: label of the boot loader's drive
    family: Address | None = None  # uf2: family id (the UF2 specification's families.json)
    remote: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\[\]-]+:\d+$")] | None = (
        None  # gdb: HOST:PORT of the stub
    )

    @model_validator(mode="after")
    def _keys_of_this_flasher(self) -> Flasher:
        if self.id not in _FLASHER_KEYS:
            return self
        needed, optional = _FLASHER_KEYS[self.id]
        for key in needed:
            if getattr(self, key) is None:
                raise ValueError(f"flasher {self.id} needs '{key}'")
        allowed = ("id", *needed, *optional)
        for key, field in type(self).model_fields.items():
            if key not in allowed and getattr(self, key) != field.default:
                raise ValueError(
                    f"flasher {self.id} has no key '{key}'; its keys are {', '.join(allowed)}"
                )
        return self


class Budget(_Strict):
    """What an image may use; at most what the board has, less what the owner wants to keep."""

    flash_bytes: Annotated[int, Field(gt=0)]
    ram_bytes: Annotated[int, Field(gt=0)]
    stack_bytes: Annotated[int, Field(gt=0, multiple_of=32)]  # reserved for the stack


class ClockTree(_Strict):
    """How ``clock_hz`` comes about, for people; the port's clock.cpp does it.

    ``flash_wait_states`` and ``voltage`` are those of the data sheet at ``clock_hz``.
    """

    source: str  # the oscillator and who drives it
    pll: str  # factors, as "8 MHz / 1 * 120 / 2"
    buses: str = ""
    flash_wait_states: Annotated[int, Field(ge=0, le=31)] | None = None
    voltage: str = ""  # supply and voltage scale, over-drive
    caches: str = ""  # caches, prefetch, flash accelerator: what is on


class Proven(_Strict):
    """What this project has run on the real board. Whatever is not named was never run there."""

    firmware: bool = False
    flashers: list[Identifier] = []


class Follow(_Strict):
    """Bits that follow other bits of the same register: ``width`` bits at ``to`` copy ``of``."""

    of: Annotated[int, Field(ge=0, le=31)]
    to: Annotated[int, Field(ge=0, le=31)]
    width: Annotated[int, Field(ge=1, le=8)] = 1


class Condition(_Strict):
    """The bits ``mask`` of register ``of`` (PERIPHERAL.REGISTER) are ``value``, or lie between
    ``at_least`` and ``at_most``, or, when nothing is said, are all set; all of them unshifted, as
    the register holds them. ``before``: at a write to this very register, its old bits."""

    of: Annotated[str, Field(pattern=r"^[^.]+\.[^.]+$")]
    mask: Annotated[int, Field(gt=0, lt=1 << 32)] = 0xFFFFFFFF
    value: Address | None = None
    at_least: Address | None = None
    at_most: Address | None = None
    before: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Condition:
        if self.value is not None and (self.at_least, self.at_most) != (None, None):
            raise At("give value, or at_least and at_most", "value")
        for name in ("value", "at_least", "at_most"):
            if (wanted := getattr(self, name) or 0) & ~self.mask:
                raise At(f"{name} {wanted:#x} has bits outside mask {self.mask:#x}", name)
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest value that will do."""
        if self.at_least is not None or self.at_most is not None:
            return self.at_least or 0, self.mask if self.at_most is None else self.at_most
        wanted = self.mask if self.value is None else self.value
        return wanted, wanted


class Reason(Condition):
    """A condition with what a fault report says when it does not hold."""

    why: str = ""


class Need(Reason):
    """A condition that must hold at an access, or hardware would not do what it is asked.

    Checked at reads and writes of the registers ``on`` of this peripheral (of all, when there are
    none), if all of ``when`` hold. It sees the word that is being written.
    """

    on: list[str] = []
    access: Literal["any", "read", "write"] = "any"
    when: list[Condition] = []


class Shown(_Strict):
    """``bits`` read as ones while all of ``when`` hold, as zeros otherwise."""

    bits: Address
    when: Annotated[list[Condition], Field(min_length=1)]


class Register(_Strict):
    """A register of a virtual peripheral: its reset value, and bits that hardware would set."""

    name: str
    offset: Annotated[int, Field(ge=0)]
    reset: Address = 0
    ones: Address = 0  # bits that always read as one
    follows: list[Follow] = []
    shows: list[Shown] = []  # bits that depend on other registers
    constant: bool = False  # writes are ignored


class Peripheral(_Strict):
    """A peripheral as the virtual board sees it.

    ``model`` names the behaviour: ``registers`` only remembers what was written and applies
    ``registers`` below; the others are written out in ``virtual/``. ``text`` fills a ``rom``.

    ``needs``: what must hold before it answers (its clock runs, it is out of reset) or before a
    certain write; an access before is a fault. ``transmits`` and ``receives``: what must hold for a
    UART's bytes to go out on and come in from the board's pins; else they are lost, and in strict
    mode that is a fault. ``clock_hz``: what its baud rate is divided from; in strict mode a rate
    that is not the line's garbles every byte. ``tick_cycles``: core cycles of a timer's tick.
    """

    name: str
    base: Address
    size: Annotated[int, Field(gt=0)]
    model: Literal[
        "registers", "stm32-usart", "cmsdk-uart", "cmsdk-timer", "armv7m-scs", "armv7m-dwt", "rom",
        "nrf52-uart", "stm32f4-usart", "stm32-lpuart", "pl011-uart", "rp2040-timer", "sam3x-uart",
        "sam3x-rstc",
    ] = "registers"  # fmt: skip
    registers: list[Register] = []
    text: str | None = None
    needs: list[Need] = []
    transmits: list[Reason] = []
    receives: list[Reason] = []
    clock_hz: Annotated[int, Field(gt=0)] | None = None
    tick_cycles: Annotated[int, Field(gt=0)] | None = None


class Unicorn(_Strict):
    """What the Unicorn virtual board maps besides the memories.

    A board whose ``virtual`` is another kind runs on Unicorn for counting only.
    """

    peripherals: list[Peripheral]
    # What the boot block must have set up before the flash can be read, on boards that have one.
    boot_ready: list[Reason] = []


class BootBlock(_Strict):
    """The first bytes of the image that the chip's boot ROM copies to ``copy_to`` and runs there
    when the CRC-32 in their last word is right (``boot_block.py``). The vector table follows."""

    bytes: Annotated[int, Field(gt=4, le=4096, multiple_of=256)]
    copy_to: Address


class Board(_Strict):
    """One board: memories, core, clock, serial port, flashers, budget.

    ``port`` is the folder of ``firmware/ports``, and ``settings`` what that wants to know of the
    board (its port.yaml: the UART and its pins, for example); ``fpu`` is what gcc's ``-mfpu`` calls
    the floating-point unit (start-up switches it on; the firmware itself computes in integers).
    ``virtual`` says how the firmware runs without the hardware. ``clock_hz`` is the core clock
    after start-up, the highest of the silicon revisions; the device reports its own in ``hello``.

    ``load_address`` is where the image starts when a bootloader keeps the first bytes of the
    flash; without it the image starts where the flash does. ``stack_guard`` says what catches a
    stack overflow: an MPU region below the stack, a stack limit register, or nothing. ``notes``
    are what somebody with the board in hand should know: jumpers, wires, what is not used.
    """

    id: Identifier
    title: str
    mcu: str
    core: Core
    fpu: Literal["fpv4-sp-d16", "fpv5-sp-d16", "fpv5-d16"] | None = None
    port: Identifier
    settings: dict[Setting, int | str] = {}
    virtual: Literal["unicorn", "qemu", "host"] | None = None
    qemu_machine: str | None = None
    unicorn: Unicorn | None = None
    memories: Annotated[list[Memory], Field(min_length=1)]
    flash_word_bytes: Annotated[int, Field(ge=4, multiple_of=4)]
    flash_sector_bytes: Annotated[int, Field(gt=0)] | None = None
    load_address: Address | None = None
    boot_block: BootBlock | None = None
    clock_hz: Annotated[int, Field(gt=0)]
    clock_tree: ClockTree | None = None
    cycle_counter: Literal["dwt", "timer", "none"]
    stack_guard: Literal["mpu", "limit", "none"] = "mpu"
    serial: Serial
    flashers: list[Flasher] = []
    budget: Budget
    hardware: Proven = Proven()
    notes: list[str] = []
    sources: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Board:
        self._check_memories()
        self._check_virtual()
        self._check_image()
        ids = [row.id for row in self.flashers]
        for i, name in enumerate(ids):
            if name in ids[:i]:
                raise At(f"flasher '{name}' is listed twice", "flashers", i)
        for name in self.hardware.flashers:
            if name not in ids:
                raise At(f"'{name}' is no flasher of this board", "hardware", "flashers")
        return self

    def _check_memories(self) -> None:
        names = [m.name for m in self.memories]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise At(f"two memories have the same name, {name}", "memories", i)
        by_origin = sorted(self.memories, key=lambda m: m.origin)
        for low, high in itertools.pairwise(by_origin):
            if low.end > high.origin:
                raise At(f"memories {low.name} and {high.name} overlap", "memories",
                         self.memories.index(high))  # fmt: skip
        for use in ("code", "weights", "tables", "arena", "buffers", "data", "stack"):
            if not self.placed(use):
                raise At(f"no memory has use '{use}'", "memories")

    def _check_virtual(self) -> None:
        if self.virtual == "qemu" and not self.qemu_machine:
            raise At("virtual: qemu needs qemu_machine", "virtual")
        if self.virtual == "unicorn" and self.unicorn is None:
            raise At("virtual: unicorn needs the unicorn section", "virtual")
        if self.virtual == "qemu" and self.load_address is not None:
            raise At("QEMU starts at the machine's own address: leave load_address out",
                     "load_address")  # fmt: skip

    def _check_image(self) -> None:
        if self.load_address is not None:
            flash = self.flash
            if not flash.origin <= self.load_address < flash.end:
                raise At(
                    f"load_address {self.load_address:#010x} is not in {flash.name} "
                    f"({flash.origin:#010x} to {flash.end:#010x})",
                    "load_address",
                )
            # sectors are erased whole: the bootloader's last one must not be the image's first
            unit = max(VECTOR_ALIGNMENT, self.flash_word_bytes, self.flash_sector_bytes or 0)
            if (self.load_address - flash.origin) % unit:
                raise At(
                    f"load_address must be a multiple of {unit:,} bytes from the start of "
                    f"{flash.name}", "load_address",
                )  # fmt: skip
        if self.budget.flash_bytes > self.image_room:
            kept = "" if self.load_address is None else " behind load_address"
            raise At(
                f"budget.flash_bytes is more than {self.flash.name} has{kept}: "
                f"{self.image_room:,} bytes",
                "budget", "flash_bytes",
            )  # fmt: skip

    def placed(self, use: str) -> list[Memory]:
        """Memories that allow ``use``, in the order of preference."""
        return [m for m in self.memories if use in m.use]

    @property
    def flash(self) -> Memory:
        """The memory that holds the image."""
        return self.placed("code")[0]

    @property
    def image_origin(self) -> int:
        """Address of the image's first byte, its vector table: behind the bootloader, if any."""
        return self.flash.origin if self.load_address is None else self.load_address

    @property
    def vector_table(self) -> int:
        """Address of the vector table: at the image's start, or behind its boot block."""
        return self.image_origin + (self.boot_block.bytes if self.boot_block else 0)

    @property
    def image_room(self) -> int:
        """Bytes of the flash from ``image_origin`` to its end."""
        return self.flash.end - self.image_origin

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
