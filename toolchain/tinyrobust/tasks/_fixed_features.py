"""The spectral features of ``_features.py`` from integers alone, as a device could compute them.

Comes in: int16 samples at 16 kHz [N,16000]. Goes out: the same uint8 features as librosa's, but for
what ``difference`` counts. Numpy only, and the same integers on every machine. Every step, with its
format; Qn has n fraction bits, and every product is rounded half up when it is shifted right:

1. Frame: 480 of 512 samples, times the Hann window (Q15 in 16 bits): int16.
2. FFT of 512 real points as 256 complex ones, even and odd samples: radix 2, decimation in time,
   turned by Q15 factors; values are int32 with GUARD fraction bits. A stage at most doubles a
   magnitude: 480 * 2^15 * 2^GUARD stays below 2^31. Then split into 257 bins, rounded to whole.
3. Power: re^2 + im^2, below 2^49: int64.
4. Mel: triangular filters, Q16; by Parseval a sum stays below 2^59: int64. Plus the floor.
5. Binary logarithm, 16 fraction bits, by the leading bit's place and a table of 257 (``log2``),
   less that of the floor: int32.
6. MFCC: orthonormal DCT-II, Q14, sums in int64, back to 16 fraction bits.
7. Codes: times a gain of 12 fraction bits, rounded, plus 128 but for the first coefficient, 0..255.

A table of 256 factors, the window and the filters' 500 weights that are not zero: 3 KB.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tinyrobust.tasks import _spectrum as f
from tinyrobust.tasks._spectrum import WINDOW, Features, Samples, dct, mel_weights
from tinyrobust.tasks._task import Images

Ints = npt.NDArray[np.int64]
Complex = tuple[Ints, Ints]  # real and imaginary parts

GUARD = 6
_POINTS = 256
_TURN_BITS = 15
_WINDOW_BITS = 15
_MEL_BITS = 16
_LOG_BITS = 16
_GAIN_BITS = 12
_DCT_BITS = 14
_SAMPLE_BITS = 15
_CHUNK = 64  # clips at a time


def compute(samples: Samples, features: Features) -> Images:
    """Features uint8 [N,49,coefficients,1] of int16 samples [N,16000]."""
    parts = [_compute(samples[i : i + _CHUNK], features) for i in range(0, len(samples), _CHUNK)]
    return np.concatenate(parts) if parts else np.empty((0, *features.shape), np.uint8)


def _compute(samples: Samples, features: Features) -> Images:
    starts = np.arange(f.FRAMES) * f.HOP + (f.N_FFT - f.WINDOW) // 2
    frames = samples.astype(np.int64)[:, starts[:, None] + np.arange(f.WINDOW)]
    frames = _shifted(frames * _window(), _WINDOW_BITS)
    real, imaginary = spectrum(frames)
    power = real * real + imaginary * imaginary
    floor = round(f.FLOOR * 2.0 ** (2 * _SAMPLE_BITS + _MEL_BITS))
    energy = power @ _mel(features.bands) + floor
    logs = np.maximum(log2(energy) - log2(np.array([floor])), 0)
    if features.kind == "log_mel":
        gain = round(255.0 / f.LOG_TOP * np.log(2.0) * (1 << _GAIN_BITS))
        codes = _shifted(logs * gain, _LOG_BITS + _GAIN_BITS)
    else:
        turned = _shifted(logs @ _dct(features.bands), _DCT_BITS)
        gains = np.rint(f.gains() * np.log(2.0) * (1 << _GAIN_BITS)).astype(np.int64)
        codes = _shifted(turned * gains, _LOG_BITS + _GAIN_BITS) + f.offsets().astype(np.int64)
    return np.clip(codes, 0, 255).astype(np.uint8)[..., None]


def spectrum(frames: Ints) -> Complex:
    """The 257 bins of 512-point Fourier transforms of int16 frames [..., 480], zeros behind them;
    whole numbers, within 1 of the exact ones."""
    wide = np.zeros((*frames.shape[:-1], 2 * _POINTS), np.int64)
    wide[..., : frames.shape[-1]] = frames << GUARD
    real, imaginary = _fft(wide[..., 0::2], wide[..., 1::2])
    back = -np.arange(_POINTS + 1) % _POINTS
    ahead = np.arange(_POINTS + 1) % _POINTS
    # even samples: (Z[k] + Z*[-k]) / 2; odd ones: (Z[k] - Z*[-k]) / 2i; halved at the very end
    even_re, even_im = (
        real[..., ahead] + real[..., back],
        imaginary[..., ahead] - imaginary[..., back],
    )
    odd_re, odd_im = (
        imaginary[..., ahead] + imaginary[..., back],
        real[..., back] - real[..., ahead],
    )
    turned_re, turned_im = _turned(odd_re, odd_im, *_factors(2 * _POINTS, _POINTS + 1))
    return _shifted(even_re + turned_re, GUARD + 1), _shifted(even_im + turned_im, GUARD + 1)


def _fft(real: Ints, imaginary: Ints) -> Complex:
    """Radix 2, decimation in time, of [..., 256]."""
    order = _bit_reversed(_POINTS)
    real, imaginary = real[..., order], imaginary[..., order]
    half = 1
    while half < _POINTS:
        shape = (*real.shape[:-1], _POINTS // (2 * half), 2, half)
        re, im = real.reshape(shape), imaginary.reshape(shape)
        turned = _turned(re[..., 1, :], im[..., 1, :], *_factors(2 * half, half))
        pairs = ((re[..., 0, :], turned[0]), (im[..., 0, :], turned[1]))
        real, imaginary = (
            np.stack([a + b, a - b], axis=-2).reshape(*real.shape[:-1], _POINTS) for a, b in pairs
        )
        half *= 2
    return real, imaginary


def _turned(real: Ints, imaginary: Ints, cosine: Ints, sine: Ints) -> Complex:
    """Times cosine - i sine."""
    return (
        _shifted(real * cosine + imaginary * sine, _TURN_BITS),
        _shifted(imaginary * cosine - real * sine, _TURN_BITS),
    )


@cache
def _factors(points: int, count: int) -> Complex:
    angle = 2 * np.pi * np.arange(count) / points
    scale = 1 << _TURN_BITS
    return np.rint(np.cos(angle) * scale).astype(np.int64), np.rint(np.sin(angle) * scale).astype(
        np.int64
    )


@cache
def _bit_reversed(points: int) -> Ints:
    bits = points.bit_length() - 1
    return np.array([int(f"{i:0{bits}b}"[::-1], 2) for i in range(points)])


@cache
def _window() -> Ints:
    n = np.arange(WINDOW)
    return np.rint((0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW)) * (1 << _WINDOW_BITS)).astype(
        np.int64
    )


@cache
def _mel(bands: int) -> Ints:
    return np.rint(mel_weights(bands).T * (1 << _MEL_BITS)).astype(np.int64)


@cache
def _dct(bands: int) -> Ints:
    return np.rint(dct(bands) * (1 << _DCT_BITS)).astype(np.int64)


def log2(values: Ints) -> Ints:
    """Binary logarithm of positive integers with 16 fraction bits.

    The leading bit's place, and the next 8 bits into a table of 257 whose neighbours are
    interpolated with 16 more.
    """
    place = np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
    place -= (values >> place == 0).astype(np.int64)  # a float may round up to the next power
    left = (values >> np.maximum(place - 24, 0)) << np.maximum(24 - place, 0)
    mantissa = left - (1 << 24)
    index, rest = mantissa >> 16, mantissa & 0xFFFF
    table = _log_table()
    between = table[index] + (((table[index + 1] - table[index]) * rest + (1 << 15)) >> 16)
    return (place << _LOG_BITS) + between


@cache
def _log_table() -> Ints:
    return np.rint(np.log2(1 + np.arange(257) / 256) * (1 << _LOG_BITS)).astype(np.int64)


def _shifted(values: Ints, bits: int) -> Ints:
    return (values + (1 << (bits - 1))) >> bits
