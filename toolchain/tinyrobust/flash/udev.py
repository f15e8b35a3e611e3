"""Stage ``flash``: who may open a board's USB devices on Linux, and the udev rules for it.

In: board files. Out: rules (udev(7)) for the serial ports, probes and boot loaders that they name,
and what this machine's rules already cover.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyrobust.boards.schema import Board, UsbId
from tinyrobust.escaping import hash_comment

FILE = "/etc/udev/rules.d/99-tinyrobust.rules"
GROUP = "dialout"  # Debian's, Ubuntu's and Fedora's group of serial ports; Arch calls it uucp
APPLY = "sudo udevadm control --reload-rules && sudo udevadm trigger"
FOLDERS = tuple(map(Path, (
    "/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d", "/lib/udev/rules.d",
)))  # fmt: skip

_ST_LINKS = (0x3748, 0x374B, 0x374D, 0x374E, 0x374F, 0x3752, 0x3753, 0x3754, 0x3755, 0x3757)
_ST = 0x0483
_SEGGER = 0x1366
_OPEN = f'MODE="0660", GROUP="{GROUP}"'
_NO_MODEM = 'ENV{ID_MM_DEVICE_IGNORE}="1"'


@dataclass(frozen=True)
class Need:
    """A USB device that must be opened: which, and what it is."""

    vid: int
    pid: int
    what: str

    @property
    def name(self) -> str:
        """As lsusb writes it."""
        return f"{self.vid:04x}:{self.pid:04x}"


def needs(board: Board) -> list[Need]:
    """The USB devices that the file of ``board`` names: serial ports, boot loaders, its probe."""
    found: dict[tuple[int, int], str] = {}

    def add(usb: UsbId | None, what: str) -> None:
        if usb is not None:
            found.setdefault((usb.vid, usb.pid), what)

    on_board = any(usb.vid == _ST for usb in board.serial.usb_ids)
    for usb in board.serial.usb_ids:
        add(usb, "ST-LINK and its serial port" if usb.vid == _ST else "serial port")
    for row in board.flashers:
        add(row.usb, f"boot loader, for {row.id}")
        add(row.touch, "serial port of the running firmware")
        if row.id in ("st-flash", "stm32cubeprogrammer") and not on_board:
            for pid in _ST_LINKS:
                add(UsbId(vid=_ST, pid=pid), "ST-LINK")
    return [Need(*usb, what) for usb, what in found.items()]


def has_free_probe(board: Board) -> bool:
    """Whether any CMSIS-DAP or J-Link probe may be wired to ``board``."""
    return any(row.id in ("pyocd", "openocd") for row in board.flashers)


def rules(boards: Sequence[Board]) -> str:
    """A rules file for ``boards``."""
    lines = [
        f"# {Path(FILE).name}: USB devices that tinyrobust flashes and talks to. Install:",
        f"#   tinyrobust doctor --udev | sudo tee {FILE}",
        f"#   {APPLY}",
        f"# and join group {GROUP}: sudo usermod -aG {GROUP} $USER, then log out and in again.",
        "# ID_MM_DEVICE_IGNORE keeps ModemManager from talking to a board as if it were a modem.",
    ]
    told: set[tuple[int, int]] = set()
    for board in boards:
        new = [need for need in needs(board) if (need.vid, need.pid) not in told]
        if new:
            lines += ["", f"# {board.id}: {hash_comment(board.title)}"]
        for need in new:
            told.add((need.vid, need.pid))
            lines += _rules_for(need)
    if any(map(has_free_probe, boards)):
        lines += ["", "# Debug probes of one's own: CMSIS-DAP (DAPLink, Debug Probe), J-Link",
                  *_probe_rules()]  # fmt: skip
    return "\n".join(lines) + "\n"


def _rules_for(need: Need) -> list[str]:
    usb = f'ATTR{{idVendor}}=="{need.vid:04x}", ATTR{{idProduct}}=="{need.pid:04x}"'
    above = usb.replace("ATTR{", "ATTRS{")
    return [
        f"# {hash_comment(need.name)} {hash_comment(need.what)}",
        f'SUBSYSTEM=="usb", {usb}, {_OPEN}, {_NO_MODEM}',
        f'SUBSYSTEM=="tty", {above}, {_OPEN}, {_NO_MODEM}',
    ]


def _probe_rules() -> list[str]:
    return [
        f'SUBSYSTEM=="usb", ATTR{{product}}=="*CMSIS-DAP*", {_OPEN}, {_NO_MODEM}',
        f'SUBSYSTEM=="hidraw", ATTRS{{product}}=="*CMSIS-DAP*", {_OPEN}',
        f'SUBSYSTEM=="tty", ATTRS{{product}}=="*CMSIS-DAP*", {_OPEN}, {_NO_MODEM}',
        f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{_SEGGER:04x}", {_OPEN}, {_NO_MODEM}',
        f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{_SEGGER:04x}", {_OPEN}, {_NO_MODEM}',
    ]


def covering(need: Need, folders: Iterable[Path] = FOLDERS) -> Path | None:
    """The rules file of this machine that gives access to ``need``, if there is one."""
    for folder in folders:
        for file in sorted(folder.glob("*.rules")) if folder.is_dir() else ():
            try:
                text = file.read_text(errors="replace").replace("\\\n", " ")
            except OSError:
                continue
            if any(_covers(line, need) for line in text.splitlines()):
                return file
    return None


def _covers(line: str, need: Need) -> bool:
    """Whether a rule is for this device and changes who may open it."""
    if line.lstrip().startswith("#") or not re.search(r'MODE\s*:?=|TAG\s*\+=\s*"uaccess"', line):
        return False
    found = dict(re.findall(r'ATTRS?\{(id\w+)\}\s*==\s*"([^"]*)"', line))
    return (
        "idVendor" in found
        and _matches(found["idVendor"], f"{need.vid:04x}")
        and _matches(found.get("idProduct", "*"), f"{need.pid:04x}")
    )


def _matches(pattern: str, value: str) -> bool:
    """udev(7): alternatives are divided by |, each is a shell pattern."""
    return any(fnmatch.fnmatchcase(value, part.lower()) for part in pattern.split("|"))
