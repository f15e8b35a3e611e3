"""Runs a compiled hls4ml C simulation in a process of its own.

In: the folder of a compiled simulation, and images in a .npy file. Out: a .npz file with the
simulation's real values, float64: ``scores``, and with ``--trace`` each layer under its name.
A process of its own, because hls4ml's code keeps its line buffers in static variables (so it is
not safe in threads) and leaves the process when a weight file is missing. Needs numpy only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import codecache
from tinyrobust.errors import BuildError

MANIFEST = "simulation.json"
_DOUBLE = ctypes.c_double


class _Traced(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p)]


def simulate(folder: Path, values: npt.NDArray[np.float64], trace: bool) -> dict[str, Any]:
    """Real values of ``scores`` (and of every traced layer) for inputs (N, H, W, C), one by one."""
    manifest = json.loads((folder / MANIFEST).read_text())
    if not intact(folder):
        raise SystemExit(f"{folder / manifest['library']} is not the library that was compiled")
    library = ctypes.CDLL(str(folder / manifest["library"]))
    top = getattr(library, f"{manifest['project']}_double")
    top.restype = None
    top.argtypes = [np.ctypeslib.ndpointer(_DOUBLE, flags="C_CONTIGUOUS")] * 2
    shapes: dict[str, list[int]] = manifest["layers"] if trace else {}
    out: dict[str, Any] = {"scores": np.zeros((len(values), manifest["classes"]))}
    out |= {name: np.zeros((len(values), *shape)) for name, shape in shapes.items()}
    records = (_Traced * len(shapes))()
    if trace:
        library.allocate_trace_storage.argtypes = [ctypes.c_size_t]
        library.allocate_trace_storage(ctypes.sizeof(_DOUBLE))
    for i, value in enumerate(values):
        top(np.ascontiguousarray(value, np.float64), out["scores"][i])
        if trace:
            library.collect_trace_output(records)
        for record in records:
            name = record.name.decode()
            data = ctypes.cast(record.data, ctypes.POINTER(_DOUBLE))
            out[name][i] = np.ctypeslib.as_array(data, shape=tuple(shapes[name]))
    return out


def intact(folder: Path) -> bool:
    """Whether the library in ``folder`` is there, the user's own and what was compiled."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        codecache.trusted(folder / manifest["library"], manifest["library_sha256"])
    except (OSError, ValueError, KeyError, TypeError, BuildError):
        return False
    return True


def main() -> None:
    """``python -m tinyrobust.convert.simulation FOLDER IN.npy OUT.npz [--trace]``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trace", action="store_true")
    args = parser.parse_args()
    np.savez(args.out, **simulate(args.folder, np.load(args.images), args.trace))


if __name__ == "__main__":
    main()
