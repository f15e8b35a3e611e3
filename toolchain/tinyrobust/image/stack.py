"""The deepest the stack can get, proved from what the compiler wrote.

In: objects with GCC's call graphs (``-fcallgraph-info=su,da``) and the linked ELF. Out: a bound in
bytes with the chain of calls that reaches it. Frames come from the compiler; library functions are
read from their instructions. An indirect call goes to every function of the family declared for
its caller (a kernel's goes also to every function of its own file whose address is taken). A
function whose address is taken and that no family holds, recursion, or a frame of unknown size is
a BuildError, so the bound never rests on a guess.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from tinyrobust.errors import BuildError
from tinyrobust.image.elf import Elf
from tinyrobust.image.objects import Object

# Caller (any of these names; the compiler may inline the first into the second) -> its targets.
FAMILIES: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = (
    (frozenset({"tr_invoke"}), re.compile(r"layer\d+_run|\w+_step")),  # steps, and step hooks
    # compiled weights
    (frozenset({"conv2d_tcc_u8", "depthwise_conv2d_tcc_u8"}), re.compile(r"tr_layer\d+_block\d+")),
    (frozenset({"dispatch", "tr_protocol_feed"}), re.compile(r"do_\w+")),  # commands
)
ENTRIES = frozenset({"Reset_Handler", "tr_fault_handler"})  # in the vector table
ENTRY = "main"  # Reset_Handler itself uses no stack (ports/cortexm/startup.S)
# One fault on top of the deepest call: the extended frame of 26 words and the aligner (DDI0403,
# "Stack alignment on exception entry" and "Floating-point extension"); interrupts stay off.
EXCEPTION_BYTES = 27 * 4
KERNELS = "kernels/"
INDIRECT = "__indirect_call"

_NODE = re.compile(r'^node: \{ title: "([^"]+)" label: "([^"]*)"')
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_FRAME = re.compile(r"(\d+) bytes \((static|dynamic|dynamic,bounded)\)")
_BASE = re.compile(r"([A-Za-z_]\w*)\s*(?:\(|$)")
# Relocations that are calls or jumps (ELF for the Arm Architecture, "Relocation types"): PC24,
# THM_CALL, CALL, JUMP24, THM_JUMP24, THM_JUMP19, THM_JUMP11, THM_JUMP8, and NONE.
_CALL_TYPES = frozenset({0, 1, 10, 28, 29, 30, 51, 102, 103})


@dataclass(frozen=True)
class Bound:
    """``bytes`` of stack at most; ``path``: the calls from main() to the deepest point."""

    bytes: int
    path: tuple[str, ...]


@dataclass
class _Function:
    base: str  # name without namespace and parameters
    frame: int | None = None
    source: str = ""  # of its definition
    calls: set[str] = field(default_factory=set)


def bound(elf: Elf, objects: Iterable[Object]) -> Bound:
    """The stack bound of an image. Raises BuildError when it cannot be proved."""
    functions: dict[str, _Function] = {}
    linked = {s.name for s in elf.symbols if s.kind == "STT_FUNC"}
    taken: dict[str, set[str]] = {}  # by the source that takes the address
    for item in objects:
        _read_calls(item, functions)
        found = {key for key in _address_taken(item) if key.rsplit(":", 1)[-1] in linked}
        taken.setdefault(item.source.name, set()).update(found)
    _resolve_indirect(functions, taken)
    _read_library(elf, functions)
    depth, path = _deepest(ENTRY, functions, {}, ())
    return Bound(depth + EXCEPTION_BYTES, (*path, "fault"))


def _key(title: str, item: Object) -> str:
    """Local functions are titled ``file:symbol``; the file becomes the source's name."""
    return f"{item.source.name}:{title.rsplit(':', 1)[1]}" if ":" in title else title


def _read_calls(item: Object, functions: dict[str, _Function]) -> None:
    for line in item.calls.splitlines():
        if node := _NODE.match(line):
            title, label = node.groups()
            signature = label.split("\\n")[0]
            found = _BASE.search(signature)
            base = found.group(1) if found else title
            function = functions.setdefault(_key(title, item), _Function(base))
            frame = _FRAME.search(label)
            if frame is None:
                continue
            if frame.group(2) == "dynamic":
                raise BuildError(
                    f"{item.source.name}: {base}() has a stack frame of unknown size",
                    "use fixed-size arrays only",
                )
            function.frame = max(function.frame or 0, int(frame.group(1)))
            function.source = item.source.name
        elif edge := _EDGE.match(line):
            source, target = (_key(name, item) for name in edge.groups())
            functions.setdefault(source, _Function(source)).calls.add(target)


def _address_taken(item: Object) -> set[str]:
    """Functions of (or named in) the object whose address is stored or loaded."""
    found = set()
    with item.path.open("rb") as file:
        elf = ELFFile(file)
        for section in elf.iter_sections():
            if not isinstance(section, RelocationSection):
                continue
            home = elf.get_section(section["sh_info"])
            if not home["sh_flags"] & 2 or home.name.startswith((".ARM.ex", ".eh_frame")):
                continue  # debug information, unwind tables
            symbols = elf.get_section(section["sh_link"])
            assert isinstance(symbols, SymbolTableSection)
            for entry in section.iter_relocations():
                if entry["r_info_type"] in _CALL_TYPES:
                    continue
                symbol = symbols.get_symbol(entry["r_info_sym"])
                if symbol["st_info"]["type"] == "STT_FUNC":
                    local = symbol["st_info"]["bind"] == "STB_LOCAL"
                    found.add(f"{item.source.name}:{symbol.name}" if local else symbol.name)
                elif symbol["st_info"]["type"] == "STT_SECTION":
                    target = elf.get_section(symbol["st_shndx"])
                    if target["sh_flags"] & 4:
                        raise BuildError(
                            f"{item.source.name}: the address of code in {target.name} is taken "
                            "by section, so its function is unknown"
                        )
                elif symbol["st_shndx"] == "SHN_UNDEF" and symbol.name:
                    found.add(symbol.name)  # a function elsewhere, or an object: sorted out later
    return found


def _resolve_indirect(functions: dict[str, _Function], taken: dict[str, set[str]]) -> None:
    """Replace every indirect call by the targets of its caller's family, for a kernel's also by
    those whose address its own source takes."""
    targets: dict[int, set[str]] = {i: set() for i in range(len(FAMILIES))}
    others = [keys for source, keys in taken.items() if not source.startswith(KERNELS)]
    for key in sorted(set().union(*others)):
        base = functions[key].base if key in functions else key.rsplit(":", 1)[-1]
        homes = [i for i, (_, names) in enumerate(FAMILIES) if names.fullmatch(base)]
        if base not in ENTRIES and not homes:
            raise BuildError(
                f"the address of {base}() is taken, and no family of image/stack.py holds it",
                "declare in FAMILIES who calls it",
            )
        for i in homes:
            targets[i].add(key)
    for function in functions.values():
        if INDIRECT not in function.calls:
            continue
        function.calls.discard(INDIRECT)
        homes = [i for i, (callers, _) in enumerate(FAMILIES) if function.base in callers]
        if function.source.startswith(KERNELS):
            function.calls |= taken[function.source]
        elif not homes:
            raise BuildError(
                f"{function.base}() makes an indirect call that no family of image/stack.py holds",
                "declare in FAMILIES what it may call",
            )
        for i in homes:
            function.calls |= targets[i]
    functions.pop(INDIRECT, None)


def _deepest(
    key: str,
    functions: dict[str, _Function],
    known: dict[str, tuple[int, tuple[str, ...]]],
    above: tuple[str, ...],
) -> tuple[int, tuple[str, ...]]:
    if key in known:
        return known[key]
    function = functions.get(key)
    if function is None or function.frame is None:
        raise BuildError(f"the stack frame of {key}() is unknown", "it has no call graph")
    if key in above:
        cycle = " > ".join(functions[k].base for k in (*above[above.index(key) :], key))
        raise BuildError(f"recursion: {cycle}", "the stack of recursive code has no bound")
    best: tuple[int, tuple[str, ...]] = (0, ())
    for callee in sorted(function.calls):
        best = max(best, _deepest(callee, functions, known, (*above, key)), key=lambda d: d[0])
    known[key] = function.frame + best[0], (function.base, *best[1])
    return known[key]


_LABEL = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")


def _read_library(elf: Elf, functions: dict[str, _Function]) -> None:
    """Frames and calls of reached functions that have no call graph (libgcc, assembly)."""
    missing = _without_frame(functions)
    if not missing:
        return
    try:
        listing = subprocess.run(
            ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(elf.path)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"arm-none-eabi-objdump failed: {error}") from error
    bodies = _bodies(listing)
    for symbol in elf.symbols:  # the listing gives one of the names that share an address
        if (symbol.address & ~1) in bodies.at:
            bodies.named.setdefault(symbol.name, bodies.at[symbol.address & ~1])
    linked = {symbol.name for symbol in elf.symbols}
    while missing:
        for name in sorted(missing):
            if name not in linked:  # only a function that was not linked either calls it
                functions.setdefault(name, _Function(name)).frame = 0
                continue
            if name not in bodies.named:
                raise BuildError(f"the stack frame of {name}() is unknown", "it is not in the ELF")
            functions.setdefault(name, _Function(name))
            functions[name].frame, calls = _frame(name, bodies.named[name])
            functions[name].calls |= calls
        missing = _without_frame(functions)


def _without_frame(functions: dict[str, _Function]) -> set[str]:
    """Names reached from the entry whose frame is not known."""
    seen: set[str] = set()
    todo = [ENTRY]
    while todo:
        key = todo.pop()
        if key in seen:
            continue
        seen.add(key)
        todo.extend(functions[key].calls if key in functions else ())
    return {k for k in seen if k not in functions or functions[k].frame is None}


@dataclass(frozen=True)
class _Bodies:
    """Instructions of functions, by name and by address."""

    named: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    at: dict[int, list[tuple[str, str]]] = field(default_factory=dict)


def _bodies(listing: str) -> _Bodies:
    found = _Bodies()
    body: list[tuple[str, str]] = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            body = found.named.setdefault(label.group(2), [])
            found.at[int(label.group(1), 16)] = body
        elif match := re.match(r"^\s*[0-9a-f]+:\t(\S+)\s*([^;@]*)", line):
            body.append((match.group(1), match.group(2).strip()))
    return found


def _frame(name: str, body: list[tuple[str, str]]) -> tuple[int, set[str]]:
    """Sum of everything the instructions push (each at most once: no loop may push), and the
    functions that are called or jumped to."""
    total, calls = 0, set()
    for operation, operands in body:
        if operation in ("push", "stmdb") and ("sp!" in operands or operation == "push"):
            total += 4 * _registers(operands)
        elif operation == "vpush":
            total += (8 if "d" in operands else 4) * _registers(operands)
        elif operation.startswith("sub") and re.match(r"sp,(?: sp,)? #\d+$", operands):
            total += int(operands.rsplit("#", 1)[1])
        elif operation.startswith("str") and (m := re.search(r"\[sp, #-(\d+)\]!", operands)):
            total += int(m.group(1))
        elif operation.startswith(("sub", "mov", "add")) and re.match(r"sp, r", operands):
            raise BuildError(f"the stack frame of library function {name}() has no fixed size")
        if operation.startswith("b") and (m := re.search(r"<([^>+]+)>$", operands)):
            calls.add(m.group(1))
        elif operation.startswith("blx"):
            raise BuildError(f"library function {name}() makes an indirect call")
    calls.discard(name)
    return total, calls


def _registers(operands: str) -> int:
    """How many registers ``{r4, r5-r7, lr}`` names."""
    count = 0
    for part in operands[operands.index("{") + 1 : operands.index("}")].split(","):
        ends = re.findall(r"\d+", part) if "-" in part else []
        count += int(ends[1]) - int(ends[0]) + 1 if len(ends) == 2 else 1
    return count
