"""The schema of ``firmware/kernels/<id>/kernel.yaml``; this docstring is its specification.

Formulas are expressions (``expression.py``) over the variables that ``variables.py`` gives for a
layer, the kernel's variant, the names that its ``counts`` give, and the names in ``let``. Keys:

* ``id``: the folder's name, ``<op>_<weights>_<activations>`` (no weights part where there are
  none), and the name of the C++ function ``tr::<id>``. ``op``: the Graph operation it computes.
* ``accepts``: element types of the source and of a residual's operand, what may become of the
  accumulators (``finish``), core features needed, and ``where``: conditions that must be nonzero.
* ``packing``: the weight packer in ``codegen/packers/`` (null without weights).
* ``in_place``: what the output may lie over: ``source`` or ``operand``, elements no smaller than
  the output's (``operand``: of the same size, because tiles are not finished in order).
* ``flash``: ``code_bytes`` per core, of the code and constants that only this kernel links, and
  ``shared``: the same of pieces that it shares with other kernels, by name, once in an image; both
  measured. ``weights`` and ``tables`` (constants and parameters of a layer) in bytes, formulas.
* ``variants``: integer parameters of the kernel with the values they may have; every combination
  is a choice of its own, which ``Step.variant`` names and codegen is given.
* ``layout``: for ``source``, ``operand`` and ``output`` the memory layout that the kernel reads or
  writes there (``layouts.py``): ``hwc`` (the default) or ``planar4``, or a list of those it can do,
  each of which is a choice of its own (flags ``planar_source``, ... for the formulas).
* ``overlap``: the output may lie over the source if it starts at least so many bytes before it
  (negative: at most so many after it); a formula, null where it never may.
* ``counts``: a module of ``kernels/counts/`` that counts, from the layer's own weights, what the
  kernel or its generator does with them; the names it gives may be used in formulas.
* ``let``: named formulas that the others may use (each over the names above only).
* ``scratch_bytes``: formula.
* ``code_ram_bytes``: executable bytes while the layer runs, in the one buffer that layers share.
  ``kept_code_bytes``: executable bytes that the layer keeps to itself. Formulas.
* ``scaled``: for a core that ``instructions`` leaves out, which core's terms to take, multiplied by
  one ``factor``, measured on some networks, with the largest error there.
* ``instructions``: per group of cores, a sum of terms ``each * of``: ``each`` is fitted to
  counted runs, ``of`` a formula; ``error_percent`` is the largest error of the fit over the
  calibration layers (``tests/kernels/calibrate.py``). Under ``host`` stand the figures of plain
  C++ on a core without DSP instructions. ``cycles``: the same for the cycle model of a Cortex-M4
  (``virtual/``), for the core ``cortex-m4``; empty where nobody has fitted it.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from typing_extensions import Self

from tinyrobust.boards.cores import Core
from tinyrobust.graph.nodes import NODE_TYPES
from tinyrobust.kernels import expression
from tinyrobust.kernels.layouts import LayoutChange
from tinyrobust.registry import module_names

Element = Literal["u8", "i8", "i16", "i32"]


def _checked(text: str) -> str:
    expression.names(text)  # raises ValueError when it is not an expression
    return text


Formula = Annotated[str, AfterValidator(_checked)]
COUNTS_PACKAGE = "tinyrobust.kernels.counts"


def _known_op(op: str) -> str:
    if op not in NODE_TYPES and op != LayoutChange.op:
        raise ValueError(f"'{op}' is no operation")
    return op


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Layout = Literal["hwc", "planar4"]
Choices = Annotated[list[Layout], BeforeValidator(_as_list), Field(min_length=1)]

# What a layer is described by; variables.py gives every one of them.
VARIABLES = frozenset({
    "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "inputs", "outputs", "pixels",
    "kernel_h", "kernel_w", "stride_y", "stride_x", "pad_top", "pad_left",
    "taps", "nonzero", "sign_pairs", "shared_pairs", "macs",
    "edge_pixels", "border_pixels", "residual", "raw", "scores", "wide", "operand_wide",
    "input_max", "source_16", "average", "dsp", "planar_source", "planar_operand", "planar_output",
    "source_bytes", "operand_bytes", "output_bytes", "cached", "compiled_size",
})  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Accepts(_Strict):
    """Which layers the kernel can compute."""

    source: list[Element]
    operand: list[Element] = []
    finish: list[Literal["none", "raw", "quantise", "scores"]]
    features: list[Literal["dsp"]] = []
    where: list[Formula] = []


class Layouts(_Strict):
    """The layouts that a kernel can read and write, by port."""

    source: Choices = ["hwc"]
    operand: Choices = ["hwc"]
    output: Choices = ["hwc"]


CodeBytes = dict[Core, Annotated[int, Field(ge=0)]]


class Flash(_Strict):
    """Bytes of flash."""

    code_bytes: CodeBytes
    shared: dict[str, CodeBytes] = {}
    weights: Formula = "0"
    tables: Formula


class Term(_Strict):
    """``each`` instructions for every one ``of`` something."""

    each: float
    of: Formula


class Scaled(_Strict):
    """What nobody fitted: ``factor`` times the terms of the core ``of``; ``error_percent`` is the
    largest error of that over the layers it was measured on."""

    of: Core
    factor: Annotated[float, Field(gt=0)]
    error_percent: Annotated[float, Field(ge=0)]


class Instructions(_Strict):
    """The instruction count on some cores."""

    cores: Annotated[list[Core], Field(min_length=1)]
    terms: dict[str, Term]
    error_percent: Annotated[float, Field(ge=0)]


class KernelFile(_Strict):
    """One kernel.yaml."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)+$")]
    op: Annotated[str, AfterValidator(_known_op)]
    summary: str
    accepts: Accepts
    packing: str | None = None
    in_place: list[Literal["source", "operand"]] = []
    variants: dict[str, Annotated[list[int], Field(min_length=1)]] = {}
    layout: Layouts = Layouts()
    overlap: Formula | None = None
    counts: str | None = None
    flash: Flash
    scratch_bytes: Formula = "0"
    code_ram_bytes: Formula = "0"
    kept_code_bytes: Formula = "0"
    instructions: Annotated[list[Instructions], Field(min_length=1)]
    cycles: list[Instructions] = []
    scaled: dict[Core, Scaled] = {}
    sources: Annotated[list[str], Field(min_length=1)]
    let: dict[str, Formula] = {}

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        given = VARIABLES | set(self.variants) | counted_names(self.counts)
        if len(given) < len(VARIABLES) + len(self.variants):
            raise ValueError("a variant has the name of a variable")
        known = given | set(self.let)
        formulas = [self.flash.weights, self.flash.tables, self.scratch_bytes,
                    self.code_ram_bytes, self.kept_code_bytes, self.overlap or "0"]  # fmt: skip
        groups = (*self.instructions, *self.cycles)
        formulas += [t.of for group in groups for t in group.terms.values()]
        for text, allowed in [(f, known) for f in (*formulas, *self.accepts.where)] + [
            (f, given) for f in self.let.values()
        ]:
            unknown = expression.names(text) - allowed
            if unknown:
                raise ValueError(f"'{text}': unknown variable {sorted(unknown)}")
        return self


def counted_names(counts: str | None) -> frozenset[str]:
    """The names that the module ``kernels/counts/<counts>.py`` gives. Raises ValueError when there
    is no such module."""
    if counts is None:
        return frozenset()
    if counts not in module_names(COUNTS_PACKAGE):
        raise ValueError(f"no module '{counts}' in kernels/counts")
    return frozenset(importlib.import_module(f"{COUNTS_PACKAGE}.{counts}").NAMES)
