"""What a library holds, whatever its format: sources by flat name, and the facts about the model.

In: a Plan. Out: a Package. The generated model is split: arrays go to a C file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from tinyrobust import __version__, codegen, escaping, memory, resources
from tinyrobust.boards import Board
from tinyrobust.boards.schema import Budget, Memory, Serial
from tinyrobust.codegen import text
from tinyrobust.graph.base import aligned
from tinyrobust.graph.int8 import InputInt8
from tinyrobust.graph.nodes import Graph, Port
from tinyrobust.graph.ports import input_bytes, input_type, result_type
from tinyrobust.kernels import Ports, Way, catalogue, overlap, predict
from tinyrobust.kernels.layers import ELEMENT_BYTES
from tinyrobust.kernels.variables import FEATURES
from tinyrobust.library._flatten import Flattened, licence, renamed
from tinyrobust.memory.arena import ALIGN

PORTABLE_CORE = "host"  # plain C++: what every core can run
_GENERIC_BYTES = 16 << 20
_C_TYPES = {"u8": "uint8_t", "i8": "int8_t", "i16": "int16_t", "i32": "int32_t"}
_ARRAY = re.compile(
    r"^TR_(?:WEIGHTS|TABLES) constexpr (\w+) (\w+)\[\] = \{\n(.*?)\};\n", re.MULTILINE | re.DOTALL
)
_NUMBERS = re.compile(r"\w+_t")  # arrays of these can stand in a C file
_OWN_SECTION = re.compile(r'section\("\.rodata[^"]*"\), ')
_CODE_RAM = (".sbss.tr_code_ram", ".bss.tr_code_ram")  # zeroed by any start-up code


@dataclass(frozen=True, eq=False)
class Package:
    """``name``: the first word of everything it defines. ``sources``: file name -> text, all for
    one folder; ``public`` is the header that its users include. ``facts``: what templates say
    about the model."""

    name: str
    graph: Graph
    plan: memory.Plan
    sources: dict[str, str]
    facts: dict[str, Any]

    @property
    def public(self) -> str:
        """File name of the public header."""
        return f"{self.name}.h"

    @property
    def compiled(self) -> list[str]:
        """Names of the sources that a build compiles."""
        return [name for name in self.sources if not name.endswith((".h", ".hpp"))]

    def render(self, template: str, **more: Any) -> str:
        """The text of ``templates/<template>.j2``."""
        return _render(template, {**self.facts, **more})

    def placed(self, folder: str) -> dict[str, str]:
        """The sources as files of ``folder``."""
        return {f"{folder}/{name}": content for name, content in self.sources.items()}


def generic_board(core: str) -> Board:
    """A board of no particular make with ``core`` and 16 MiB of each memory."""
    return Board(
        id=core,
        title=f"any {core}",
        mcu=core,
        core=core,  # type: ignore[arg-type]  # checked by the model
        port="none",
        memories=[
            Memory(name="FLASH", origin=0, length=_GENERIC_BYTES, kind="flash",
                   use=["code", "weights", "tables"]),
            Memory(name="RAM", origin=0x20000000, length=_GENERIC_BYTES, kind="ram",
                   use=["stack", "data", "buffers", "arena", "scratch", "code_ram"]),
        ],
        flash_word_bytes=4,
        clock_hz=1,
        cycle_counter="none",
        serial=Serial(device="none"),
        budget=Budget(flash_bytes=_GENERIC_BYTES, ram_bytes=_GENERIC_BYTES, stack_bytes=8192),
        sources=["none: not a board that exists"],
    )  # fmt: skip


def package(
    plan: memory.Plan, *, name: str, model: str, version: str, optimise: bool = False
) -> Package:
    """The library called ``name`` of ``plan``.

    ``optimise`` puts a request for -O3 into the sources, for builds that give no options.
    Raises BuildError when a source is missing.
    """
    generated = codegen.generate(plan)
    graph = plan.graph
    facts = _facts(plan, name, model, version)
    body, arrays = _split(generated.files[codegen.MODEL_FILE])
    firmware = resources.root() / "firmware"
    kept = [p for p in generated.sources if p.name != "runtime.cpp"]
    flat = Flattened(name, body, kept, generated.include_dirs)
    if f"{name}_planar.hpp" not in "".join(
        content for file, content in flat.files().items() if f"{name}_planar." not in file
    ):
        kept = [p for p in kept if p != firmware / "runtime" / "planar.cpp"]
        flat = Flattened(name, body, kept, generated.include_dirs)
    sources = {
        f"{name}.h": _render("api.h", facts),
        f"{name}.cpp": _render("api.cpp", facts),
        f"{name}_config.h": _render("config.h", facts),
        **_data(name, arrays),
        f"{name}_model.cpp": _model(flat, body, arrays, facts),
        **flat.files(),
    }
    sections = f"{name}_sections.hpp"
    plain = _OWN_SECTION.sub("", sources[sections])  # they are for our linker script and report
    old, new = (renamed(part, name) for part in _CODE_RAM)
    sources[sections] = plain.replace(old, new)
    if optimise:
        request = _render("optimise.h", facts)
        sources = {n: _behind_licence(t, request) if n.endswith(".cpp") else t
                   for n, t in sources.items()}  # fmt: skip
    return Package(name, graph, plan, sources, facts)


def _facts(plan: memory.Plan, name: str, model: str, version: str) -> dict[str, Any]:
    graph = plan.graph
    source, scores = graph.input, graph.output
    height, width, channels = aligned(source.shape)
    shapes = ["x".join(map(str, graph.tensor[p.tensor].shape)) for p in graph.results]
    return {
        "classifier": graph.classifier,
        "inputs": [_port(graph, port, port.name) for port in graph.inputs],
        "outputs": [_port(graph, port, None) for port in graph.results],
        "states": bool(graph.states),
        "output_words": f"{scores.size} scores" if graph.classifier else " and ".join(shapes),
        "output_bytes": sum(plan.places[p.tensor].bytes for p in graph.results),
        "name": name,
        "NAME": name.upper(),
        "model": escaping.Foreign(model),
        "version": version,
        "tool_version": __version__,
        "graph": graph,
        "core": plan.core,
        "board": plan.board,
        "height": height,
        "width": width,
        "channels": channels,
        "input_bytes": input_bytes(graph),
        "classes": scores.size,
        "labels": [text.string(label) for label in graph.labels],
        "arena_bytes": max(plan.arena_bytes, ALIGN),
        "arena_align": ALIGN,
        "int8": graph.family == "tflite",
        "input_scale": source.scale,
        "input_zero_point": source.zero_point + 128,  # of the uint8 that the device takes
        "score_scale": repr(float(scores.scale if scores.scale is not None
                                  else 2.0**-scores.frac_bits)),
        "score_zero_point": scores.zero_point if scores.scale is not None else 0,
        "has_dsp": "dsp" in FEATURES[plan.core],
        "needs_dsp": _needs_dsp(plan),
        "code_ram_bytes": plan.executable_bytes,
        "kernels": sorted({step.kernel for step in plan.steps}),
    }  # fmt: skip


def _port(graph: Graph, port: Port, entry: str | None) -> dict[str, Any]:
    """What headers say of an input (``entry``: its name) or an output."""
    tensor = graph.tensor[port.tensor]
    shifted = entry is not None and isinstance(graph.node[entry], InputInt8)
    kind = input_type(graph, entry) if entry is not None else result_type(graph, port.tensor)
    return {
        "name": escaping.Foreign(port.name),
        "type": _C_TYPES[kind],
        "shape": " x ".join(map(str, tensor.shape)),
        "bytes": tensor.size * ELEMENT_BYTES[kind],
        "scale": tensor.scale,
        "zero_point": tensor.zero_point + (128 if shifted else 0),
    }


def _needs_dsp(plan: memory.Plan) -> bool:
    """The plan's buffers are too small for the kernels' portable form, or it makes Arm code."""
    if "dsp" not in FEATURES[plan.core]:
        return False
    if plan.executable_bytes:
        return True
    for layer, step in zip(plan.layers, plan.steps, strict=True):
        kernel = catalogue()[step.kernel]
        way = Way(step.variant, Ports(**step.layout))
        cost = predict(kernel, layer, plan.graph, PORTABLE_CORE, way)
        ways = [
            overlap(kernel, layer, plan.graph, core, way) for core in (PORTABLE_CORE, plan.core)
        ]
        if (
            kernel.file.accepts.features
            or cost.scratch_bytes > step.scratch_bytes
            or ways[0] != ways[1]  # how far the output must stay from the source
        ):
            return True
    return False


def _split(model: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The generated model without its arrays of numbers, and those: (C type, name, numbers)."""
    arrays = [(m[1], m[2], m[3]) for m in _ARRAY.finditer(model) if _NUMBERS.fullmatch(m[1])]
    body = _ARRAY.sub(lambda m: "" if _NUMBERS.fullmatch(m[1]) else m[0], model)
    return body, arrays


def _data(name: str, arrays: list[tuple[str, str, str]]) -> dict[str, str]:
    """The arrays as C: header and source."""
    guard = f"{name.upper()}_DATA_H"
    sizes = [numbers.count(",") + 1 for _, _, numbers in arrays]
    declared = "".join(
        f"extern const {ctype} {name}_{array}[{n}];\n"
        for (ctype, array, _), n in zip(arrays, sizes, strict=True)
    )
    defined = "".join(
        f"const {ctype} {name}_{array}[{n}] __attribute__((aligned(4))) = {{\n{numbers}}};\n"
        for (ctype, array, numbers), n in zip(arrays, sizes, strict=True)
    )
    head = licence("weights and tables of the model")
    return {
        f"{name}_data.h": f"{head}#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{declared}\n'
        "#ifdef __cplusplus\n}\n#endif\n#endif\n",
        f"{name}_data.c": f'{head}#include "{name}_data.h"\n\n{defined}',
    }


def _model(
    flat: Flattened, body: str, arrays: list[tuple[str, str, str]], facts: dict[str, Any]
) -> str:
    """The generated model with flat includes and the arrays under their names in C."""
    name = flat.name
    changed = renamed(flat.rewritten(body), name, strings=False)
    for _, array, _ in arrays:
        changed = re.sub(rf"\b{array}\b", f"{name}_{array}", changed)
    head = f'#include "{name}_data.h"\n'
    if facts["needs_dsp"]:
        head += f'#include "{name}_dsp.hpp"\n\n' + _render("needs_dsp.h", facts)
    return licence("the model's layers") + head + changed


def _behind_licence(content: str, request: str) -> str:
    first, end, rest = content.partition("\n")
    return f"{first}{end}{request}{rest}"


def _render(template: str, facts: Mapping[str, Any]) -> str:
    return _environment().get_template(f"{template}.j2").render(facts)


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True,
        lstrip_blocks=True, finalize=escaping.finalize,
    )  # fmt: skip
    for escape in (escaping.comment, escaping.hash_comment, escaping.kconfig, escaping.markdown):
        made.filters[escape.__name__] = escape
    return made
