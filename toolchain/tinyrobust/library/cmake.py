"""Format ``cmake``: a package for ``find_package``, ``add_subdirectory`` and ``FetchContent``."""

from __future__ import annotations

from tinyrobust.library._format import Format
from tinyrobust.library._package import Package

_NEXT = "cmake -S {folder} -B build && cmake --build build && cmake --install build --prefix PREFIX"
_CONFIG = """@PACKAGE_INIT@

include("${{CMAKE_CURRENT_LIST_DIR}}/{package}Targets.cmake")
check_required_components({package})
"""


def _files(package: Package) -> dict[str, str]:
    name = package.name
    words = {
        "package": f"tinyrobust_{name}",
        "target": f"tinyrobust::{name}",
        "compiled": package.compiled,
        "asm_sources": [source for source in package.compiled if source.endswith(".S")],
    }
    placed = package.placed("src")
    public = placed.pop(f"src/{package.public}")
    return {
        **placed,
        f"include/{package.public}": public,
        "CMakeLists.txt": package.render("cmake_lists.txt", **words),
        "cmake/Config.cmake.in": _CONFIG.format(**words),
        "examples/stdio/CMakeLists.txt": package.render("cmake_example.txt", **words),
        "examples/stdio/main.c": package.render("example_stdio.c"),
    }


format = Format("CMake package", _files, _NEXT)
