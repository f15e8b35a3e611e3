"""Where firmware/, boards/ and models/ are: beside a checkout's toolchain/, or in the wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tinyrobust.errors import TinyRobustError


@cache
def root() -> Path:
    """The folder that holds ``firmware``, ``boards`` and ``models``.

    Raises TinyRobustError when the installation lacks them.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_resources", package.parent.parent):
        if (candidate / "firmware").is_dir() and (candidate / "boards").is_dir():
            return candidate
    raise TinyRobustError(
        f"the installation at {package} has no firmware/ and boards/ folders",
        "install tinyrobust again: pip install --force-reinstall tinyrobust",
    )
