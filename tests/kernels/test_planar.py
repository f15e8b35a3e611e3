"""The layout planar4: packing and unpacking, borders and seams, against its definition."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tinyrobust import resources
from tinyrobust.kernels import planar

SHAPES = [(1, 1, 1), (3, 2, 5), (4, 4, 2), (5, 7, 3), (2, 10, 6), (6, 13, 4), (4, 32, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_words_are_where_the_definition_says(shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    values = np.random.default_rng(1).integers(1, 256, shape).astype(np.uint8)
    buffer = planar.pack(values)
    assert buffer.size == planar.count(shape, "u8")
    lane = planar.lane_words(width)
    for y in range(-1, height + 1):
        for c in range(channels):
            for x in range(-1, lane + 1):
                word = ((y + 1) * channels + c) * planar.row_words(width) + x + 1
                for byte in range(4):
                    px = byte * lane + x
                    inside = 0 <= y < height and 0 <= px < width
                    assert buffer[4 * word + byte] == (values[y, px, c] if inside else 0)
    assert np.array_equal(planar.unpack(buffer, shape), values)


@pytest.mark.parametrize("shape", SHAPES)
def test_accumulators_come_back(shape: tuple[int, int, int]) -> None:
    values = np.random.default_rng(2).integers(-32768, 32768, shape).astype(np.int16)
    buffer = planar.pack(values)
    assert buffer.size == planar.count(shape, "i16")
    assert np.array_equal(planar.unpack(buffer, shape), values)
    lane = planar.lane_words(shape[1])
    y, x, c = (n - 1 for n in shape)
    group = ((c // 4 * shape[0] + y) * lane + x % lane) * 16
    assert buffer[group + c % 4 * 4 + (0, 2, 1, 3)[x // lane]] == values[y, x, c]


def test_the_device_closes_tensors_the_same_way(tmp_path: Path) -> None:
    firmware = resources.root() / "firmware"
    shim = tmp_path / "shim.cpp"
    shim.write_text(
        '#include "runtime/planar.hpp"\n'
        'extern "C" void close_(uint8_t* t, size_t h, size_t w, size_t c) '
        "{ tr::planar_close(t, h, w, c); }\n"
        'extern "C" size_t byte_(size_t w, size_t n, size_t y, size_t c, size_t x) '
        "{ return tr::planar_byte(w, n, y, c, x); }\n"
        'extern "C" size_t element_(size_t h, size_t w, size_t y, size_t c, size_t x) '
        "{ return tr::planar_element16(h, w, y, c, x); }\n"
    )
    library = tmp_path / "shim.so"
    subprocess.run(
        ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", f"-I{firmware}", str(shim),
         str(firmware / "runtime/planar.cpp"), "-o", str(library)], check=True,
    )  # fmt: skip
    device = ctypes.CDLL(str(library))
    for shape in SHAPES:
        height, width, channels = shape
        values = np.random.default_rng(3).integers(1, 256, shape).astype(np.uint8)
        buffer = planar.pack(values)
        numbers = planar.pack(np.arange(values.size, dtype=np.int16).reshape(shape))
        y, x, c = (n - 1 for n in shape)
        assert buffer[device.byte_(width, channels, y, c, x)] == values[y, x, c]
        assert numbers[device.element_(height, width, y, c, x)] == values.size - 1
        spoiled = np.full(buffer.size, 0xA5, np.uint8).reshape(height + 2, channels, -1, 4)
        inner = buffer.reshape(spoiled.shape)[1:-1, :, 1:-1]
        spoiled[1:-1, :, 1:-1] = inner
        lane = planar.lane_words(width)
        beyond = np.arange(4)[None] * lane + np.arange(lane)[:, None] >= width
        spoiled[1:-1, :, 1:-1][:, :, beyond] = 0x77
        spoiled = np.ascontiguousarray(spoiled)
        device.close_(ctypes.c_void_p(spoiled.ctypes.data), *(ctypes.c_size_t(n) for n in shape))
        assert np.array_equal(spoiled.ravel(), buffer)
