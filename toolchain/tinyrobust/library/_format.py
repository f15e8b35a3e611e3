"""What a format is, and which there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinyrobust.library._package import Package
from tinyrobust.registry import discover


@dataclass(frozen=True)
class Format:
    """A way to lay a library out.

    ``files``: path in the folder -> text, for a Package. ``next_step``: what to do with the folder,
    with ``{name}`` for the library's name and ``{folder}``. ``weights_as_code``: kernels may have
    their weights in instructions. ``code_in_ram``: why kernels must not run code that they wrote
    into RAM; "" where they may. ``optimise``: the compiler's options are not ours to give, so the
    sources ask for -O3 themselves.
    """

    title: str
    files: Callable[[Package], dict[str, str]]
    next_step: str
    weights_as_code: bool = True
    code_in_ram: str = ""
    optimise: bool = False


def formats() -> dict[str, Format]:
    """Every format by its name on the command line."""
    found = discover("tinyrobust.library", "format")
    return {name.replace("_", "-"): value for name, value in found.items()}
