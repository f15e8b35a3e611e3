"""``engine.cpp`` as a loaded library, compiled once for this processor."""

from __future__ import annotations

import ctypes
import shutil
from functools import cache
from pathlib import Path

from tinyrobust.errors import BuildError
from tinyrobust.image import compilers
from tinyrobust.image.objects import Source, compile_all
from tinyrobust.writing import scratch

_SOURCE = Path(__file__).with_name("engine.cpp")
# Contraction: products of integers are exact either way, and gradients need no more than floats.
# Nothing here traps or reads errno, which GCC must know to vectorise a floor.
_FLAGS = (
    "-O3", "-ffp-contract=fast", "-fno-trapping-math", "-fno-math-errno", "-Wno-psabi",
)  # fmt: skip


def available() -> bool:
    """Whether this computer has a compiler for it."""
    return shutil.which("g++") is not None


def check() -> None:
    """Raise BuildError where the engine cannot be had; compile it if need be."""
    library()


@cache
def library() -> ctypes.CDLL:
    """The engine; raises BuildError where there is no C++ compiler or it fails."""
    compiler = compilers.host(shared=True, tuned=True)
    with scratch("native") as name:
        folder = name.resolve()
        source = Source(_SOURCE, "native/engine.cpp", _FLAGS)
        (made,) = compile_all([source], compiler, [], folder)
        target = folder / "engine.so"
        compiler.run([*compiler.link_flags, str(made.path), "-o", target.name], folder, "the link")
        try:
            return ctypes.CDLL(str(target))
        except OSError as error:
            raise BuildError(f"cannot load {target.name}: {error}") from error
