"""Format ``zephyr``: a module for Zephyr's build, with a sample application.

https://docs.zephyrproject.org/latest/develop/modules.html
"""

from __future__ import annotations

from tinyrobust.escaping import yaml
from tinyrobust.library._format import Format
from tinyrobust.library._package import Package

_NEXT = "west build -b BOARD {folder}/samples/serial"


def _files(package: Package) -> dict[str, str]:
    name, facts = package.name, package.facts
    words = {
        "package": f"tinyrobust_{name}",
        "option": f"TINYROBUST_{facts['NAME']}",
        "compiled": package.compiled,
    }
    placed = package.placed("src")
    public = placed.pop(f"src/{package.public}")
    module = (
        "# SPDX-License-Identifier: Apache-2.0\n"
        f"name: {words['package']}\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig\n"
        "samples:\n  - samples\n"
    )
    sample_cmake = (
        "# SPDX-License-Identifier: Apache-2.0\ncmake_minimum_required(VERSION 3.20.0)\n"
        'list(APPEND ZEPHYR_EXTRA_MODULES "${CMAKE_CURRENT_SOURCE_DIR}/../..")\n'
        "find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})\n"
        f"project({name}_serial)\n\ntarget_sources(app PRIVATE src/main.c)\n"
    )
    prj = (
        f"# SPDX-License-Identifier: Apache-2.0\nCONFIG_CPP=y\nCONFIG_{words['option']}=y\n"
        "CONFIG_SERIAL=y\nCONFIG_CONSOLE=y\nCONFIG_UART_CONSOLE=y\nCONFIG_PRINTK=y\n"
        "CONFIG_MAIN_STACK_SIZE=8192\n"
    )
    description = f"The network {facts['model']} on inputs from the console"
    sample = (
        f"# SPDX-License-Identifier: Apache-2.0\nsample:\n  name: {words['package']}\n"
        f"  description: {yaml(description)}\n"
        f"tests:\n  sample.{words['package']}:\n    build_only: true\n    tags: tinyml\n"
    )
    return {
        **placed,
        f"include/{package.public}": public,
        "zephyr/module.yml": module,
        "zephyr/CMakeLists.txt": package.render("zephyr_cmake.txt", **words),
        "zephyr/Kconfig": package.render("zephyr_kconfig", **words),
        "samples/serial/CMakeLists.txt": sample_cmake,
        "samples/serial/prj.conf": prj,
        "samples/serial/sample.yaml": sample,
        "samples/serial/src/main.c": package.render("zephyr_main.c"),
    }


format = Format("Zephyr module", _files, _NEXT, code_in_ram=(
    "Zephyr's memory protection marks RAM as not executable"
))  # fmt: skip
