"""What a network is verified with: its task's images, random bytes, or the user's own file.

In: a Graph, and a number of samples or a ``.npy`` or ``.npz`` file. Out: samples as every engine
takes them (``graph/ports.py``), and words for where they came from.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyrobust import tasks
from tinyrobust.errors import GraphError, TaskError
from tinyrobust.graph import Graph, ports
from tinyrobust.graph.base import NO_TASK

SEED = 0
MAX_FILE_BYTES = 1 << 30
Images = npt.NDArray[np.uint8]


def load_images(net: Graph, samples: int) -> tuple[Images, str]:
    """The task's first test images; seeded random ones where the task or its data is missing."""
    reason = ""
    if net.task != NO_TASK:
        try:
            images, _ = tasks.get(net.task).load("test", samples)
            if images.shape[1:] == net.input.shape:
                return images, f"first {len(images):,} test images of {net.task}"
            reason = (
                f" ({net.task} has images {images.shape[1:]}, the model takes {net.input.shape})"
            )
        except TaskError as error:
            reason = f" ({error.message})"
    what = "images" if net.family == "fixed" else "inputs over the whole range"
    return ports.random_samples(net, samples, SEED), f"random {what}, seed {SEED}{reason}"


def read_inputs(path: Path, net: Graph, samples: int) -> tuple[Images, str]:
    """The first ``samples`` inputs of a file. Raises TaskError.

    ``.npy``: uint8 as the device takes them, or, for an int8 model, its own int8 codes; axes of 1
    may be left out or added. ``.npz``: an array (N, ...) for each input by its name, integers or
    real numbers, which are quantised; for a network of several inputs."""
    takes = f"'{net.name}' takes (N, {', '.join(map(str, ports.sample_shape(net)))})"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TaskError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes", "give fewer inputs")
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise TaskError(f"cannot read {path}: {error.strerror or error}", takes) from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise TaskError(f"{path} is no .npy file: {error}", "write it with numpy.save") from error
    if isinstance(values, np.lib.npyio.NpzFile):
        return _named(path, values, net, samples)
    if not isinstance(values, np.ndarray):
        raise TaskError(f"{path} is an archive, not a .npy file", "write it with numpy.save")
    shape = ports.sample_shape(net)
    image = shape == net.input.shape and len(net.inputs) == 1
    kinds = ("uint8", "int8") if net.family == "tflite" and image else ("uint8",)
    if values.dtype.name not in kinds:
        raise TaskError(
            f"{path} holds {values.dtype}, need {' or '.join(kinds)}",
            _how_to_quantise(net) if net.family == "tflite" else takes,
        )
    squeezed = [n for n in values.shape[1:] if n != 1]
    if values.ndim < 1 or squeezed != [n for n in shape if n != 1]:
        raise TaskError(f"{path} has shape {values.shape}", takes)
    if not len(values):
        raise TaskError(f"{path} holds no inputs", takes)
    found = np.array(values[:samples]).reshape(-1, *shape)
    if found.dtype == np.int8:
        found = (found.astype(np.int16) + 128).astype(np.uint8)
    return found.astype(np.uint8), f"first {len(found):,} of {len(values):,} inputs in {path}"


def _named(
    path: Path, archive: np.lib.npyio.NpzFile, net: Graph, samples: int
) -> tuple[Images, str]:
    try:
        values = {name: archive[name][:samples] for name in archive.files}
        found = ports.pack(net, values)
    except (ValueError, OSError, EOFError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise TaskError(f"{path} is damaged: {error}", "write it with numpy.savez") from error
    except GraphError as error:
        raise TaskError(f"{path}: {error.message}", error.hint) from error
    if not len(found):
        raise TaskError(f"{path} holds no inputs", "give an array (N, ...) for each input")
    return found, f"{len(found):,} inputs in {path}"


def _how_to_quantise(net: Graph) -> str:
    tensor = net.input
    if tensor.scale is None or not math.isfinite(tensor.scale):
        return "quantise it as the model's input"
    return (
        f"quantise it as the model's input: int8(round(x / {tensor.scale:.9g}) "
        f"{tensor.zero_point:+d})"
    )
