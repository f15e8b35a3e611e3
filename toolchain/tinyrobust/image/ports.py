"""What a port says of itself in ``firmware/ports/<port>/port.yaml``, and the folders of an image.

In: a Board. Out: the folders of ``firmware/ports`` whose code its image is made of, and the
board's settings, checked against those that the port wants. A port without the file shares
nothing and wants nothing.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tinyrobust import resources, yamlfile
from tinyrobust.boards import Board
from tinyrobust.boards.schema import At
from tinyrobust.errors import BoardError, BuildError
from tinyrobust.registry import nearest


class PortFile(BaseModel):
    """``uses``: folders with code that several families share. ``settings``: what the board file
    has to say under ``settings``, each with its meaning; those of ``uses`` are wanted too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    uses: list[str] = []
    settings: dict[str, str] = {}


def port_file(port: str) -> PortFile:
    """What the port called so says of itself; raises BuildError when that is damaged."""
    path = resources.root() / "firmware" / "ports" / port / "port.yaml"
    return yamlfile.load(path, PortFile, BuildError) if path.is_file() else PortFile()


def ports() -> list[str]:
    """Names of all ports."""
    return sorted(p.parent.name for p in (resources.root() / "firmware").glob("ports/*/port.cpp"))


def known_ports() -> list[str]:
    """Names that a board file may give: folders with a ``port.cpp``, or that use one."""
    folders = sorted(p.name for p in (resources.root() / "firmware" / "ports").iterdir())
    uses = {name: set(port_file(name).uses) for name in folders}
    own, shared = set(ports()), set().union(*uses.values())
    return [name for name in folders if name in own - shared or own & uses[name]]


def core_folders(board: Board) -> tuple[str, ...]:
    """Folders of ``firmware/ports`` beside the port's own: what it shares with other families, and
    what belongs to the core."""
    if board.is_host:
        return ()
    name = board.traits.architecture
    core = (name, "cortexm") if name == "armv6m" else (name, "mainline", "cortexm")
    return (*port_file(board.port).uses, *core)


def wrong_settings(board: Board) -> list[tuple[At, str]]:
    """What the board's ``settings`` lack or have too many, each with a hint."""
    file = port_file(board.port)
    wanted = dict(file.settings)
    for name in file.uses:
        wanted |= port_file(name).settings
    found = [
        (At(f"settings.{name} is missing: {meaning}", "settings"), "")
        for name, meaning in wanted.items() if name not in board.settings
    ]  # fmt: skip
    return found + [
        (At(f"port '{board.port}' has no setting '{name}'", "settings", name),
         nearest(name, wanted))
        for name in board.settings if name not in wanted
    ]  # fmt: skip


def check(board: Board) -> None:
    """Raise BoardError for a port that is not there, or settings that are not what it wants."""
    if board.port not in known_ports():
        raise BoardError(
            f"board '{board.id}': no port '{board.port}'", nearest(board.port, known_ports())
        )
    for said, hint in wrong_settings(board):
        raise BoardError(f"board '{board.id}': {said}", hint)
