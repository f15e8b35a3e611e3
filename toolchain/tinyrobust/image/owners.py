"""Whose bytes are whose: every item of an Accounting belongs to a layer, a kernel, or another part.

In: an Accounting, and what a build knows of its layers. Out: Owned items. Firmware of ours is known
by its objects; a program of somebody else that holds an exported library by the library's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinyrobust.image.account import PADDING, UNNAMED, Accounting, Item
from tinyrobust.kernels import catalogue

# In the order in which reports show them.
KINDS = ("layer", "kernel", "runtime", "protocol", "port", "library", "other", "stack", "padding")
_LAYER = re.compile(r"(?<![A-Za-z])layer(\d\d+)")
_LIBRARY = re.compile(
    r"^(lib(?:gcc|c|c_nano|g|m|nosys|rdimon|stdc\+\+|supc\+\+))\.a\(|^([SM]?crt\w*)\.o$"
)
_STACKS = (".tr_stack", "._user_heap_stack", ".stack", ".stack_dummy")
_TAIL = ".tr_tail"
_SCRIPT = "linker script"


@dataclass(frozen=True)
class Owned:
    """An item with its owner: ``kind`` is one of KINDS, ``owner`` its name, ``part`` what the bytes
    are: code, weights, tables, strings, data."""

    section: str
    address: int
    bytes: int
    symbol: str
    kind: str
    owner: str
    part: str


def owned(accounting: Accounting, layers: Sequence[Mapping[str, str]] = ()) -> list[Owned]:
    """Every item with its owner. ``layers``: the steps of image.json (``name`` and ``symbol``);
    without them layers are called as their symbols."""
    names = {step["symbol"]: step["name"] for step in layers}
    kernels = sorted(catalogue(), key=len, reverse=True)
    kinds = {s.name: s.kind for s in accounting.sections}
    mapped = any(item.origin for item in accounting.items)
    found = []
    for item in accounting.items:
        kind, owner = _owner(item, names, kernels)
        if owner == _SCRIPT and not mapped:
            kind, owner = "other", "unnamed"
        found.append(Owned(
            item.section, item.address, item.bytes, item.symbol, kind, owner,
            _part(item, kinds[item.section]),
        ))  # fmt: skip
    return found


def _owner(item: Item, names: Mapping[str, str], kernels: Iterable[str]) -> tuple[str, str]:
    if item.section in _STACKS:
        return "stack", "stack"
    if item.symbol == PADDING or item.section == _TAIL:
        return "padding", "alignment"
    layer = _LAYER.search(item.symbol)
    if layer is not None and not item.symbol.startswith("tr_port"):
        return "layer", names.get(layer[0], layer[0])
    library = _LIBRARY.match(item.origin)
    if library is not None:
        return "library", library[1] or library[2]
    if item.origin == "linker stubs":  # jumps that are too far for an instruction
        return "library", "linker stubs"
    if item.origin:
        return _of_object(item, kernels)
    return _of_symbol(item, kernels)


def _of_object(item: Item, kernels: Iterable[str]) -> tuple[str, str]:
    member = re.search(r"\(([^)]*)\)$", item.origin)
    stem = re.split(r"\.(?:cpp|c|cc|S|o|obj)\b", member[1] if member else item.origin)[0]
    for prefix in ("kernels_", ""):
        for kernel in kernels:
            if prefix and stem.startswith(f"{prefix}{kernel}_"):
                return "kernel", kernel
            if not prefix and re.search(rf"(?:^|_){kernel}$", stem):
                return "kernel", kernel
    if stem == "generated_tr_image" or item.symbol.endswith("tr_arena"):
        return "runtime", "arena"
    if "tr_code_ram" in item.symbol:
        return "runtime", "code in RAM"
    if stem == "generated_model" or stem.endswith("_model"):
        return "runtime", "model table"
    if stem == "generated_tr_board":
        return "port", "board"
    if stem.startswith("app_"):
        return "port", "app"
    for kind in ("runtime", "protocol"):
        if stem.startswith(f"{kind}_"):
            return kind, kind
    if stem.startswith("ports_"):
        return "port", stem.split("_")[1]
    return _of_symbol(item, kernels, stem)


def _of_symbol(item: Item, kernels: Iterable[str], stem: str = "") -> tuple[str, str]:
    """The owner by the symbol's name alone, mangled or not."""
    for kernel in kernels:
        if re.search(rf"{len(kernel)}{kernel}(?![a-z0-9_])|^{kernel}$", item.symbol):
            return "kernel", kernel
    if re.search(r"^tr_|_tr_|\d\w*_tr\d|^_ZN2tr", item.symbol):
        return "runtime", "runtime"
    if item.symbol == UNNAMED and not stem:
        return "port", _SCRIPT
    return "other", stem or "symbols"


def _part(item: Item, kind: str) -> str:
    if item.symbol.rpartition("_")[2] == "weights" or "_weightsE" in item.symbol:
        return "weights"
    if item.section == ".tr_weights" or ("weights" in item.symbol and _LAYER.search(item.symbol)):
        return "weights"
    if item.section == ".tr_tables":
        return "tables"
    if kind in ("data", "bss"):
        return "data"
    return "constants" if item.section.startswith(".rodata") else "code"
