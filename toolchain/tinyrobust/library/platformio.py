"""Format ``platformio``: a library with ``library.json`` and two example projects.

https://docs.platformio.org/en/latest/manifests/library-json/index.html
"""

from __future__ import annotations

import json

from tinyrobust.escaping import line
from tinyrobust.library._format import Format
from tinyrobust.library._package import Package

_NEXT = "cd {folder}/examples/serial && pio run"
_SERIAL = """; SPDX-License-Identifier: Apache-2.0
; pio run -e ENVIRONMENT -t upload; any other board of 32 bits with an Arduino core will do.
[env]
framework = arduino
monitor_speed = 115200
lib_deps = symlink://../..

[env:nucleo_h743zi]
platform = ststm32
board = nucleo_h743zi

[env:nano33ble]
platform = nordicnrf52
board = nano33ble

[env:due]
platform = atmelsam
board = due

[env:pico]
platform = raspberrypi
board = pico
"""
_STDIO = """; SPDX-License-Identifier: Apache-2.0
; pio run && .pio/build/native/program < INPUTS
[env:native]
platform = native
lib_deps = symlink://../..
"""


def _files(package: Package) -> dict[str, str]:
    name, facts = package.name, package.facts
    examples = {
        "examples/serial/platformio.ini": _SERIAL,
        "examples/serial/src/main.cpp": package.render("arduino.ino", include_arduino=True),
        "examples/stdio/platformio.ini": _STDIO,
        "examples/stdio/src/main.c": package.render("example_stdio.c"),
    }
    manifest = {
        "$schema": "https://raw.githubusercontent.com/platformio/platformio-core/develop/platformio/"
        "assets/schema/library.json",
        "name": f"tinyrobust_{name}",
        "version": facts["version"],
        "description": f"The network {line(facts['model'])}, with its kernels: "
        f"{facts['input_bytes']} bytes in, {facts['output_words']} out, integers only",
        "keywords": ["machine learning", "tinyml", "neural network"],
        "license": "Apache-2.0",
        "headers": package.public,
        "frameworks": "*",
        "platforms": "*",
        "build": {
            "srcDir": "src",
            "includeDir": "include",
            # behind the project's own: the kernels are written for -O3
            "flags": ["-O3"],
        },
        "examples": [
            {"name": folder.partition("/")[2], "base": folder,
             "files": sorted(path.removeprefix(f"{folder}/")
                             for path in examples if path.startswith(f"{folder}/"))}
            for folder in ("examples/serial", "examples/stdio")
        ],
    }  # fmt: skip
    placed = package.placed("src")
    public = placed.pop(f"src/{package.public}")
    return {
        **placed,
        f"include/{package.public}": public,
        "library.json": json.dumps(manifest, indent=2) + "\n",
        **examples,
    }


format = Format("PlatformIO library", _files, _NEXT, code_in_ram=(
    "a library for any PlatformIO project does not know whether its framework lets RAM be executed"
))  # fmt: skip
