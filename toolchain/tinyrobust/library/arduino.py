"""Format ``arduino``: a library in the layout of the Arduino library specification 1.5.

Every source lies flat under ``src/`` and compiles with any core's own flags (C++11 to C++20, -Os);
the sources ask for -O3 themselves. https://arduino.github.io/arduino-cli/latest/library-specification
"""

from __future__ import annotations

from tinyrobust.escaping import properties as properties_text
from tinyrobust.library._format import Format
from tinyrobust.library._package import Package

_NEXT = "copy {folder} to the sketchbook's libraries/{name}, then File > Examples > {name}"
# Every core of 32 bits that we know of; the IDE warns about others.
_ARCHITECTURES = (
    "mbed,mbed_edge,mbed_giga,mbed_nano,mbed_nicla,mbed_opta,mbed_portenta,mbed_rp2040,esp32,nrf52,"
    "renesas_portenta,renesas_uno,rp2040,sam,samd,stm32,STM32,teensy"
)


def _files(package: Package) -> dict[str, str]:
    name, facts = package.name, package.facts
    sketch = f"{name}_serial"
    properties = {
        "name": f"tinyrobust_{name}",
        "version": facts["version"],
        "author": "tinyrobust",
        "maintainer": "tinyrobust",
        "sentence": f"The network {properties_text(facts['model'])}, with its kernels.",
        "paragraph": f"{facts['input_bytes']} bytes in, {facts['output_words']} out, an arena of "
        f"{facts['arena_bytes']} bytes. Integers only, no heap.",
        "category": "Data Processing",
        "url": "https://arduino.github.io/arduino-cli/latest/library-specification/",
        "architectures": _ARCHITECTURES,
        "includes": package.public,
        "license": "Apache-2.0",
    }
    upper = facts["NAME"]
    words = [(f"{name}_t", "KEYWORD1"), (f"{name}_status", "KEYWORD1")]
    words += [(f"{name}_{function}", "KEYWORD2") for function in (
        "init", "input", "invoke", "scores", "argmax", "label", "status_text")]  # fmt: skip
    words += [(f"{upper}_{constant}", "LITERAL1") for constant in (
        "OK", "ARENA_TOO_SMALL", "ARENA_MISALIGNED", "NOT_READY", "ARENA_BYTES", "ARENA_ALIGN",
        "ARENA_ALIGNED", "INPUT_BYTES", "CLASSES")]  # fmt: skip
    return {
        **package.placed("src"),
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        "keywords.txt": "".join(f"{word}\t{kind}\n" for word, kind in words),
        f"examples/{sketch}/{sketch}.ino": package.render("arduino.ino", include_arduino=False),
    }


format = Format("Arduino library (1.5 layout)", _files, _NEXT, optimise=True, code_in_ram=(
    "Arduino's cores on Mbed OS lock RAM against execution, and a library does not know its core"
))  # fmt: skip
