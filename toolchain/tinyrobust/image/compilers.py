"""The compilers of the image stage, and the flags they get.

In: a Board. Out: a ``Compiler`` that is installed, with its flags and version.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinyrobust.boards import Board
from tinyrobust.boards.cores import CORES, Core
from tinyrobust.errors import BuildError, TinyRobustError

ARM_PACKAGES = "sudo apt-get install -y gcc-arm-none-eabi libnewlib-arm-none-eabi"
HOST_PACKAGES = "sudo apt-get install -y g++"

# Freestanding C++17 without exceptions, RTTI, static destructors or unwind tables; every warning
# is an error; every function's stack frame and calls are written beside its object.
LANGUAGE = (
    "-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics",
    "-fno-use-cxa-atexit", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
    "-ffunction-sections", "-fdata-sections", "-fstack-usage", "-fcallgraph-info=su,da",
    "-Wall", "-Wextra", "-Wconversion", "-Wvla", "-Werror", "-g",
)  # fmt: skip
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler driver with the flags of one target."""

    program: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    version: str

    def run(self, arguments: list[str], cwd: Path, what: str) -> str:
        """Run it; returns what it printed.

        Raises BuildError with its last lines on failure, TinyRobustError when the disk is full.
        """
        try:
            done = subprocess.run(
                [self.program, *arguments],
                cwd=cwd,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            raise BuildError(
                f"cannot run {self.program}: {error.strerror}",
                "check that it is installed and may be run: tinyrobust doctor",
            ) from error
        output = done.stdout + done.stderr
        if done.returncode != 0:
            if (full := os.strerror(errno.ENOSPC)) in output:
                raise TinyRobustError(
                    f"{self.program} cannot write what it makes of {what}: {full}",
                    "free some disk space (also the cache, the temporary folder) and run again",
                )
            tail = "\n".join(output.strip().splitlines()[-12:])
            raise BuildError(f"{self.program} failed on {what}:\n{tail}")
        return output


def for_board(board: Board) -> Compiler:
    """The compiler that builds images for ``board``; raises BuildError when it is missing."""
    return host() if board.is_host else for_core(board.core)


def for_core(core: Core) -> Compiler:
    """The cross compiler for an Arm core; raises BuildError when it is missing."""
    # The firmware computes in integers only. The soft-float convention keeps GCC from moving
    # integers through floating-point registers; start-up switches the FPU on all the same.
    target = [*CORES[core].flags, "-mthumb", "-ffreestanding", "-mfloat-abi=soft"]
    # newlib gives <string.h>; its functions are not linked (ports/cortexm/memory.cpp).
    link = ["-nostdlib", "-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]
    return _compiler("arm-none-eabi-g++", (*target, *LANGUAGE), (*target, *link), ARM_PACKAGES)


def host(*, sanitize: bool = False, shared: bool = False, tuned: bool = False) -> Compiler:
    """The native compiler, for board ``host`` and for the host library; ``tuned`` to this very
    processor, whose name is among the flags, so that no cached object is used on another one."""
    extra = (*(SANITIZERS if sanitize else ()), *(("-fPIC",) if shared else ()))
    if tuned:
        extra = (*extra, "-march=native", f"-DTR_TUNED_FOR=0x{_processor():08x}")
    link = ("-Wl,--gc-sections", *extra, *(("-shared",) if shared else ()))
    return _compiler("g++", (*LANGUAGE, *extra), link, HOST_PACKAGES)


@cache
def _processor() -> int:
    """A number for this processor's instruction set."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor(), platform.node()]
    wanted = ("flags", "Features", "CPU part", "model name")
    kept = [line for line in lines if line.startswith(wanted)] or lines
    return zlib.crc32("\n".join(sorted(set(kept))).encode())


def _compiler(
    program: str, flags: tuple[str, ...], link_flags: tuple[str, ...], packages: str
) -> Compiler:
    if shutil.which(program) is None:
        raise BuildError(f"the compiler {program} is not installed", packages)
    return Compiler(program, flags, link_flags, _version(program, packages))


@cache
def _version(program: str, packages: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{program} --version failed: {error}", packages) from error
    return done.stdout.splitlines()[0]
