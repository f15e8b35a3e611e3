"""The schema of ``firmware/kernels/<id>/kernel.yaml``; this docstring is its specification.

Formulas are expressions (``expression.py``) over the variables that ``predict.variables`` gives
for a layer, and over the names in ``let``. Keys:

* ``id``: the folder's name, ``<op>_<weights>_<activations>`` (no weights part where there are
  none), and the name of the C++ function ``tr::<id>``. ``op``: the Graph operation it computes.
* ``accepts``: element types of the source and of a residual's operand, what may become of the
  accumulators (``finish``), core features needed, and ``where``: conditions that must be nonzero.
* ``packing``: the weight packer in ``codegen/packers/`` (null without weights).
* ``in_place``: what the output may lie over: ``source`` or ``operand``, elements no smaller than
  the output's (``operand``: of the same size, because tiles are not finished in order).
* ``flash``: ``code_bytes`` of the kernel's object per core, measured; ``weights`` and ``tables``
  (constants and parameters) in bytes, formulas.
* ``let``: named formulas that the others may use (each over the layer's variables only).
* ``scratch_bytes``: formula.
* ``instructions``: per group of cores, a sum of terms ``each * of``: ``each`` is fitted to
  counted runs, ``of`` a formula; ``error_percent`` is the largest error of the fit over the
  calibration layers (``tests/kernels/calibrate.py``). Under ``host`` stand the figures of plain
  C++ on a core without DSP instructions.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from tinyrobust.kernels import expression

Element = Literal["u8", "i8", "i16", "i32"]
Core = Literal["cortex-m4", "cortex-m7", "host"]


def _checked(text: str) -> str:
    expression.names(text)  # raises ValueError when it is not an expression
    return text


Formula = Annotated[str, AfterValidator(_checked)]

# What a layer is described by; predict.variables() gives every one of them.
VARIABLES = frozenset({
    "in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "inputs", "outputs", "pixels",
    "kernel_h", "kernel_w", "stride_y", "stride_x", "taps", "nonzero", "sign_pairs", "shared_pairs",
    "macs",
    "edge_pixels", "border_pixels", "residual", "raw", "scores", "wide", "operand_wide",
    "input_max", "average",
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


class Flash(_Strict):
    """Bytes of flash."""

    code_bytes: dict[Core, Annotated[int, Field(ge=0)]]
    weights: Formula = "0"
    tables: Formula


class Term(_Strict):
    """``each`` instructions for every one ``of`` something."""

    each: float
    of: Formula


class Instructions(_Strict):
    """The instruction count on some cores."""

    cores: Annotated[list[Core], Field(min_length=1)]
    terms: dict[str, Term]
    error_percent: Annotated[float, Field(ge=0)]


class KernelFile(_Strict):
    """One kernel.yaml."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)+$")]
    op: Literal["input", "conv2d", "dense", "requantize", "pool2d", "global_average_pool"]
    summary: str
    accepts: Accepts
    packing: str | None = None
    in_place: list[Literal["source", "operand"]] = []
    flash: Flash
    scratch_bytes: Formula = "0"
    instructions: Annotated[list[Instructions], Field(min_length=1)]
    sources: Annotated[list[str], Field(min_length=1)]
    let: dict[str, Formula] = {}

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = VARIABLES | set(self.let)
        formulas = [self.flash.weights, self.flash.tables, self.scratch_bytes]
        formulas += [t.of for group in self.instructions for t in group.terms.values()]
        for text, allowed in [(f, known) for f in (*formulas, *self.accepts.where)] + [
            (f, VARIABLES) for f in self.let.values()
        ]:
            unknown = expression.names(text) - allowed
            if unknown:
                raise ValueError(f"'{text}': unknown variable {sorted(unknown)}")
        return self
