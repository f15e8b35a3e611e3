"""What flashing and talking to boards needs on this machine; the facts behind ``doctor --board``.

In: boards. Out: flashers and what they see, rules, permissions, each with what to type.
"""

from __future__ import annotations

import getpass
import grp
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyrobust.boards import Board
from tinyrobust.cli._doctor import Item
from tinyrobust.flash import flashers as all_flashers
from tinyrobust.flash import udev
from tinyrobust.flash._ask import remembering

_MODEM_MANAGER = ("/usr/sbin/ModemManager", "/usr/bin/ModemManager", "/sbin/ModemManager")


@dataclass(frozen=True)
class Seen:
    """Something plugged in, as a flasher sees it; ``boards`` are what it may be."""

    flasher: str
    id: str
    description: str
    boards: tuple[str, ...]


def flashers(boards: Sequence[Board]) -> list[Item]:
    """The flashers of ``boards``, in their order: where they are, or how to get them."""
    found = []
    for name in dict.fromkeys(row.id for board in boards for row in board.flashers):
        tool = all_flashers().get(name)
        if tool is not None and not tool.virtual:
            users = [b.id for b in boards if name in [row.id for row in b.flashers]]
            few = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
            detail = f"{tool.where()} (needs {tool.needs})"
            found.append(Item(f"flasher {name}", bool(tool.where()), detail, few, tool.missing()))
    return found


def seen(boards: Sequence[Board]) -> list[Seen]:
    """What the installed flashers see plugged in, by their own lists."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    with remembering():
        for board in boards:
            for row in board.flashers:
                tool = all_flashers().get(row.id)
                if tool is None or tool.virtual or tool.missing():
                    continue
                for device in tool.devices(board, row) or ():
                    row_of = found.setdefault((row.id, device.id), (device.description, []))
                    row_of[1].append(board.id)
    return [Seen(*key, text, tuple(names)) for key, (text, names) in found.items()]


def permissions(boards: Sequence[Board], ports: Sequence[str]) -> list[Item]:
    """Group, rules, ports that cannot be opened, ModemManager: Linux only."""
    if not sys.platform.startswith("linux"):
        return []
    return [_group(), *_rules(boards), *_closed(ports), *_modem_manager(boards)]


def _group() -> Item:
    user = getpass.getuser()
    what = "opening serial ports"
    try:
        group = grp.getgrnam(udev.GROUP)
    except KeyError:
        how = "this system calls it otherwise (uucp on Arch): see ls -l /dev/ttyACM0"
        return Item(f"group {udev.GROUP}", False, "", what, how)
    if os.geteuid() == 0 or group.gr_gid in os.getgroups():
        return Item(f"group {udev.GROUP}", True, f"{user} may open serial ports", what, "")
    if user in group.gr_mem:
        return Item(f"group {udev.GROUP}", False, "", what, "log out and in again: it is new")
    how = f"sudo usermod -aG {udev.GROUP} {user}, then log out and in again"
    return Item(f"group {udev.GROUP}", False, "", what, how)


def _rules(boards: Sequence[Board]) -> list[Item]:
    """One row for each USB device."""
    wanted = {need.name: need for board in boards for need in udev.needs(board)}
    rows = []
    for need in wanted.values():
        file = udev.covering(need)
        rows.append(Item(
            f"usb {need.name}", file is not None, f"{need.what}: {file}", need.what,
            f"tinyrobust doctor --udev | sudo tee {udev.FILE}; {udev.APPLY}",
        ))  # fmt: skip
    return rows


def _closed(ports: Sequence[str]) -> list[Item]:
    return [
        Item(f"port {port}", False, "", "talking to the board there",
             f"ls -l {port}; be in the group that it shows, or install the rules above")
        for port in ports
        if not os.access(port, os.R_OK | os.W_OK)
    ]  # fmt: skip


def _modem_manager(boards: Sequence[Board]) -> list[Item]:
    if not any(Path(path).exists() for path in _MODEM_MANAGER) or not any(
        board.serial.usb_ids for board in boards
    ):
        return []
    told = any(
        "ID_MM_DEVICE_IGNORE" in file.read_text(errors="replace")
        for file in (Path(udev.FILE),)
        if file.is_file()
    )
    return [Item(
        "ModemManager", told, "leaves the boards alone", "undisturbed serial ports",
        f"it writes to new serial ports for some seconds: install the rules ({udev.FILE}), "
        "or sudo systemctl stop ModemManager",
    )]  # fmt: skip
