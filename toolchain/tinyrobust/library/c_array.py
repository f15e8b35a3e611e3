"""Format ``c-array``: plain sources in one folder, every weight in an array, a Makefile."""

from __future__ import annotations

from tinyrobust.library._format import Format
from tinyrobust.library._package import Package

_NEXT = "make -C {folder}"


def _files(package: Package) -> dict[str, str]:
    def ending(suffix: str) -> list[str]:
        return [source for source in package.compiled if source.endswith(suffix)]

    makefile = package.render(
        "c_array.mk", c_sources=ending(".c"), cxx_sources=ending(".cpp"), asm_sources=ending(".S")
    )
    return {
        **package.sources,
        "main.c": package.render("example_stdio.c"),
        "Makefile": makefile,
    }


format = Format("C arrays, sources and a Makefile", _files, _NEXT, weights_as_code=False)
