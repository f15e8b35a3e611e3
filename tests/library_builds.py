"""Exported libraries built as each kind of project builds them, and run.

In: a folder that ``library.export`` wrote. Out: a program that reads inputs from standard input and
prints a line for each: on this computer, or on an emulated Cortex-M (QEMU with semihosting).
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.patience import PATIENCE_S

PROJECTS = Path(__file__).parent / "projects"


@dataclass(frozen=True)
class Target:
    """Compilers with their flags; ``machine`` is what QEMU emulates, "" for this computer."""

    cc: tuple[str, ...] = ("gcc",)
    cxx: tuple[str, ...] = ("g++",)
    link: tuple[str, ...] = ()
    machine: str = ""

    def flags(self) -> str:
        return " ".join(self.cc[1:])


def _arm(machine: str, *core: str, ram_end: int = 0x20400000) -> Target:
    flags = (*core, "-mthumb", "-mfloat-abi=soft")
    semihosting = PROJECTS / "semihosting"
    return Target(
        ("arm-none-eabi-gcc", *flags),
        ("arm-none-eabi-g++", *flags),
        ("--specs=rdimon.specs", f"-T{semihosting / 'program.ld'}", str(semihosting / "vectors.S"),
         "-Wl,--no-warn-rwx-segments", "-Wl,--gc-sections", "-Wl,-Map,program.map",
         f"-Wl,--defsym=stack_top={ram_end:#x}"),
        machine,
    )  # fmt: skip


HOST = Target()
# With DSP instructions, and without.
M4 = _arm("mps2-an386", "-mcpu=cortex-m4")
M3 = _arm("mps2-an385", "-mcpu=cortex-m3")
M7 = _arm("mps2-an500", "-mcpu=cortex-m7")
# The smallest core: no access that is not aligned (nRF51, 16 KB of RAM).
M0 = _arm("microbit", "-mcpu=cortex-m0", ram_end=0x20004000)


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """What it printed; its words when it fails."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def scores(program: Path, target: Target, images: np.ndarray) -> np.ndarray:
    """int32 scores (N, classes) that the program prints for uint8 images, its classes checked."""
    command = [str(program)]
    if target.machine:
        command = ["qemu-system-arm", "-M", target.machine, "-kernel", str(program), "-display",
                   "none", "-monitor", "none", "-serial", "none",
                   "-semihosting-config", "enable=on,target=native"]  # fmt: skip
    done = subprocess.run(
        command, input=images.tobytes(), capture_output=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr.decode()
    found = []
    for line in done.stdout.decode().split("\r\n" if b"\r\n" in done.stdout else "\n"):
        if not line:
            continue
        head, numbers = re.fullmatch(r"(\d+) [^:]*:((?: -?\d+)+)", line).groups()  # type: ignore[union-attr]
        found.append([int(n) for n in numbers.split()])
        assert int(head) == int(np.argmax(found[-1])), line
    return np.array(found, np.int32)


def _compile(
    target: Target, sources: Sequence[Path], flags: Sequence[str], work: Path,
    cxx: Sequence[str] = ("-std=gnu++17",),
) -> list[Path]:  # fmt: skip
    """Objects of C, C++ and assembly, two at a time; ``cxx``: more flags for C++."""

    def one(source: Path) -> Path:
        made = work / f"{source.name}.o"
        command = [*target.cxx, *cxx] if source.suffix == ".cpp" else [*target.cc]
        run([*command, *flags, "-c", source, "-o", made], work)
        return made

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, sources))


def _link(target: Target, objects: Sequence[Path], work: Path) -> Path:
    """By the C compiler: nothing needs the C++ library."""
    run([*target.cc, *objects, *target.link, "-o", "program"], work)
    return work / "program"


# What Arduino's cores give their compilers (platform.txt: SAM, Mbed OS, STM32duino), with the
# warnings that "all" asks for, as errors.
ARDUINO_FLAGS = (
    "-g", "-Os", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections",
)  # fmt: skip
ARDUINO_CXX = ("-fno-threadsafe-statics", "-fno-rtti", "-fno-exceptions")
ARDUINO_STANDARDS = ("-std=gnu++11", "-std=gnu++14", "-std=gnu++17", "-std=gnu++2a")


def arduino(folder: Path, target: Target, work: Path, standard: str = "-std=gnu++11") -> Path:
    """As arduino-cli does: every source under src/, the sketch behind #include <Arduino.h>."""
    core = PROJECTS / "arduino_core"
    (sketch,) = folder.glob("examples/*/*.ino")
    assert sketch.stem == sketch.parent.name  # the IDE takes no other name
    made = work / "sketch.ino.cpp"
    made.write_text(f"#include <Arduino.h>\n#line 1\n{sketch.read_text()}")
    sources = sorted(p for p in (folder / "src").rglob("*") if p.suffix in (".c", ".cpp", ".S"))
    flags = [*ARDUINO_FLAGS, f"-I{core}", f"-I{folder / 'src'}"]
    c = [s for s in sources if s.suffix != ".cpp"]
    cxx = [*(s for s in sources if s.suffix == ".cpp"), made, core / "main.cpp"]
    objects = _compile(target, [*c, *cxx], flags, work, (standard, *ARDUINO_CXX))
    return _link(target, objects, work)


def platformio(folder: Path, target: Target, work: Path) -> Path:
    """As PlatformIO does: srcDir whole, its flags behind the project's, an archive; the example."""
    manifest = json.loads((folder / "library.json").read_text())
    build = manifest["build"]
    example = folder / "examples" / ("serial" if target.machine else "stdio")
    project = configparser.ConfigParser()
    project.read(example / "platformio.ini")
    links = {project[s]["lib_deps"] for s in project if "lib_deps" in project[s]}
    assert links == {"symlink://../.."}
    assert (example / "../..").resolve() == folder.resolve()
    include = [f"-I{folder / build['includeDir']}", f"-I{folder / build['srcDir']}"]
    sources = sorted((folder / build["srcDir"]).rglob("*"))
    sources = [s for s in sources if s.suffix in (".c", ".cpp", ".S")]
    own = ("-std=gnu++11", *ARDUINO_CXX)  # of the project's framework
    objects = _compile(target, sources, ["-Os", *include, *build["flags"]], work, own)
    archiver = "arm-none-eabi-ar" if target.machine else "ar"
    run([archiver, "rc", "liblibrary.a", *objects], work)
    core = PROJECTS / "arduino_core"
    mains = sorted((example / "src").iterdir())
    mains += [core / "main.cpp"] if target.machine else []
    (work / "project").mkdir()
    program = []
    for i, main in enumerate(mains):  # two may be called main.cpp
        part = work / "project" / str(i)
        part.mkdir()
        program += _compile(target, [main], ["-Os", f"-I{core}", include[0]], part, own)
    return _link(target, [*program, work / "liblibrary.a"], work)


SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"


def c_array(folder: Path, target: Target, work: Path) -> Path:
    """make, in a copy, which make fills: with another compiler where the target has one, else with
    every check of addresses, alignment and arithmetic."""
    run(["cp", "-r", f"{folder}/.", str(work)], work)
    flags = target.flags() if target.machine else SANITIZERS
    run(["make", "-j2", f"CC={target.cc[0]}", f"CXX={target.cxx[0]}", f"FLAGS={flags}",
         "CXXFLAGS=-O1" if not target.machine else "CXXFLAGS=-O3",
         f"LDFLAGS={' '.join(target.link)}"], work)  # fmt: skip
    return work / "example"


def _toolchain(target: Target, work: Path) -> list[str]:
    """CMake's options for the target."""
    if not target.machine:
        return ["-DCMAKE_BUILD_TYPE=MinSizeRel"]
    flags = target.flags()
    # CMake links by the C++ compiler, whose library Debian's package lacks; nothing needs it.
    run(["arm-none-eabi-ar", "rc", "libstdc++.a"], work)
    text = (
        "set(CMAKE_SYSTEM_NAME Generic)\nset(CMAKE_SYSTEM_PROCESSOR arm)\n"
        f"set(CMAKE_C_COMPILER {target.cc[0]})\nset(CMAKE_CXX_COMPILER {target.cxx[0]})\n"
        f'set(CMAKE_C_FLAGS_INIT "{flags}")\nset(CMAKE_CXX_FLAGS_INIT "{flags}")\n'
        f'set(CMAKE_ASM_FLAGS_INIT "{flags}")\n'
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        f'set(CMAKE_EXE_LINKER_FLAGS_INIT "{" ".join(target.link)} -L{work}")\n'
    )
    (work / "toolchain.cmake").write_text(text)
    return [f"-DCMAKE_TOOLCHAIN_FILE={work / 'toolchain.cmake'}", "-DCMAKE_BUILD_TYPE=MinSizeRel"]


def cmake(folder: Path, target: Target, work: Path) -> Path:
    """Configured, built, installed; then the example, which finds the installed package."""
    name = json.loads((folder / "tinyrobust.json").read_text())["name"]
    options = [*_toolchain(target, work), "-G", "Ninja", "-Wdev", "-Werror=dev"]
    run(["cmake", "-S", folder, "-B", work / "build", *options], work)
    run(["cmake", "--build", work / "build", "-j", "2"], work)
    run(["cmake", "--install", work / "build", "--prefix", work / "prefix"], work)
    example = work / "example"
    run(["cp", "-r", folder / "examples" / "stdio", example], work)  # nothing of the library near
    run(["cmake", "-S", example, "-B", work / "project", *options,
         f"-DCMAKE_FIND_ROOT_PATH={work / 'prefix'}", f"-DCMAKE_PREFIX_PATH={work / 'prefix'}"],
        work)  # fmt: skip
    cache = (work / "project" / "CMakeCache.txt").read_text()
    assert f"tinyrobust_{name}_DIR:PATH={work / 'prefix'}" in cache
    run(["cmake", "--build", work / "project"], work)
    return work / "project" / "example"


def zephyr(folder: Path, target: Target, work: Path) -> Path:
    """The sample against a stand-in of Zephyr's CMake functions and of the headers it includes."""
    options = [*_toolchain(target, work), "-G", "Ninja"]
    run(["cmake", "-S", folder / "samples" / "serial", "-B", work / "build", *options,
         f"-DZephyr_DIR={PROJECTS / 'zephyr' / 'cmake'}"], work)  # fmt: skip
    run(["cmake", "--build", work / "build", "-j", "2"], work)
    return work / "build" / "app"


BUILDS: dict[str, Callable[[Path, Target, Path], Path]] = {
    "arduino": arduino, "platformio": platformio, "c-array": c_array, "cmake": cmake,
    "zephyr": zephyr,
}  # fmt: skip


def build(format: str, folder: Path, target: Target, work: Path) -> Path:
    """The program of ``folder``, a library of ``format``, made in the new folder ``work``."""
    work.mkdir(parents=True)
    return BUILDS[format](folder, target, work)
