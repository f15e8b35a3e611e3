"""Packing ``compiled``: weights as code, the text that ``firmware/runtime/class_compiled.hpp``
reads.

In: a layer and its Graph. Out: C++: one function per block of channels, and the list of them.
"""

from __future__ import annotations

from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import Layer, compiled
from tinyrobust.kernels.compiled import REACH, Block

_FAR = 4096  # what a load cannot reach is added in steps that an instruction can hold


def code(layer: Layer, graph: Graph, symbol: str) -> str:
    """Functions ``tr_<symbol>_block<n>`` and the list ``<symbol>_blocks`` of them, which stand
    outside any namespace."""
    found = compiled.blocks(layer, graph)
    names = [f"{symbol}_block{i:03d}" for i in range(len(found))]
    parts = [_block(block, name) for block, name in zip(found, names, strict=True)]
    entries = ", ".join(f"tr_{name}" for name in names)
    parts.append(f"TR_TABLES constexpr tr::CompiledBlock {symbol}_blocks[] = {{{entries}}};\n")
    return "".join(parts)


def _block(block: Block, name: str) -> str:
    lines = [f"TR_BLOCK({name})"]
    lines += [f"TR_START({j}, {dsp})" if dsp else f"TR_ZERO({j})"
              for j, (dsp, _) in enumerate(block.excess)]  # fmt: skip
    first = ""
    for operation, arguments in block.operations:
        if operation == "FRESH":
            first = "0"
            continue
        if operation in ("ADD", "SUB"):
            lines.append(f"TR_{operation}({arguments[0]})")
            continue
        loads = ", ".join(_load(r, o) for r, o in zip("xy", arguments, strict=False))
        lines.append(f"TR_{operation}{first}({loads})")
        first = ""
    lines += [f"TR_EXCESS({j}, {plain})" for j, (_, plain) in enumerate(block.excess)]
    return "\n".join([*lines, f"TR_END({name})\n"])


def _load(register: str, offset: int) -> str:
    if offset < REACH:
        return f"TR_N({register}, {offset})"
    return f"TR_F({register}, {offset // _FAR * _FAR}, {offset % _FAR})"
