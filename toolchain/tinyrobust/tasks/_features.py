"""Spectral features of one second of speech: in float by librosa, and in integers.

Comes in: int16 samples at 16 kHz [N,16000]. Goes out: uint8 features [N,49,10,1] or
[N,49,bands,1]. The parameters are MLPerf Tiny's (Banbury et al. 2021, arXiv:2106.07597; keyword
spotting): windows of 30 ms (Hann) every 20 ms, power spectrum of 512 points, 40 mel bands from 20
to 4000 Hz, natural logarithm; of its orthonormal DCT-II the first 10 are the MFCC.

``log_mel``: code 0 is silence, ``LOG_TOP`` above it 255. ``mfcc``: coefficient 0 likewise from 0
up, the others around 128 by ``SPANS``. A zero that a convolution pads with is code 0, in training
as on the device.

``integer`` computes the same from integers alone, for the host in front of a device: products of
16-bit samples with tables of 15 bits, sums of at most 63 bits, logarithms by a table of 256 with
linear interpolation. It is exact on every machine; its distance from librosa is measured by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import TaskError
from tinyrobust.tasks._task import Images

RATE = 16_000
SAMPLES = 16_000
N_FFT, WINDOW, HOP = 512, 480, 320
FRAMES = 1 + (SAMPLES - N_FFT) // HOP
MEL_BANDS, MEL_LOW, MEL_HIGH = 40, 20.0, 4000.0
COEFFICIENTS = 10
FLOOR = 1e-6
LOG_TOP = 18.0
SPANS = (80.0, 30.0, 20.0, 14.0, 12.0, 11.0, 10.0, 9.0, 7.0, 6.5)
MIDDLE = 128
_CHUNK = 256

Kind = Literal["mfcc", "log_mel"]
Samples = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Which features; everything else is fixed above."""

    kind: Kind = "mfcc"
    bands: int = MEL_BANDS

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, coefficients (or bands), 1."""
        return FRAMES, COEFFICIENTS if self.kind == "mfcc" else self.bands, 1

    @property
    def key(self) -> dict[str, Any]:
        """All that the features depend on, to name a cache file by."""
        return {
            "kind": self.kind, "bands": self.bands, "rate": RATE, "samples": SAMPLES,
            "fft": [N_FFT, WINDOW, HOP], "mel": [MEL_LOW, MEL_HIGH], "floor": FLOOR,
            "codes": [LOG_TOP, list(SPANS), MIDDLE], "version": 1,
        }  # fmt: skip


def in_float(samples: Samples, features: Features) -> Images:
    """Features by librosa; raises TaskError without the audio extra."""
    librosa = _librosa()
    parts = []
    for i in range(0, len(samples), _CHUNK):
        spectrum = librosa.feature.melspectrogram(
            y=samples[i : i + _CHUNK].astype(np.float32) / np.float32(32768), sr=RATE,
            n_fft=N_FFT, win_length=WINDOW, hop_length=HOP, center=False, power=2.0,
            n_mels=features.bands, fmin=MEL_LOW, fmax=MEL_HIGH,
        )  # fmt: skip
        logs = np.log(spectrum.astype(np.float64) + FLOOR) - np.log(FLOOR)  # silence is 0
        parts.append(_float_codes(logs.transpose(0, 2, 1), features))
    return np.concatenate(parts) if parts else np.empty((0, *features.shape), np.uint8)


def _float_codes(logs: Floats, features: Features) -> Images:
    if features.kind == "log_mel":
        codes = logs * (255.0 / LOG_TOP)
    else:
        codes = logs @ _dct(features.bands) * _gains() + _offsets()
    return np.clip(np.floor(codes + 0.5), 0, 255).astype(np.uint8)[..., None]


def _dct(bands: int) -> Floats:
    """Orthonormal DCT-II [bands, COEFFICIENTS]."""
    n, k = np.arange(bands)[:, None], np.arange(COEFFICIENTS)[None, :]
    matrix = np.sqrt(2.0 / bands) * np.cos(np.pi * k * (2 * n + 1) / (2 * bands))
    matrix[:, 0] /= np.sqrt(2.0)
    return matrix


def _gains() -> Floats:
    return np.array([255.0 / SPANS[0], *(127.0 / span for span in SPANS[1:])])


def _offsets() -> npt.NDArray[np.float64]:
    return np.array([0.0] + [float(MIDDLE)] * (COEFFICIENTS - 1))


# The integer version. Q15: 15 fraction bits. A sample is Q15 of 1.0.
_SPECTRUM_SHIFT = 14  # cosines are Q14
_MEL_BITS = 16
_LOG_BITS = 16
_GAIN_BITS = 12
_DCT_BITS = 14


def integer(samples: Samples, features: Features) -> Images:
    """The same features from integer arithmetic alone."""
    parts = [_integer(samples[i : i + _CHUNK], features) for i in range(0, len(samples), _CHUNK)]
    return np.concatenate(parts) if parts else np.empty((0, *features.shape), np.uint8)


def _integer(samples: Samples, features: Features) -> Images:
    window, cosines, sines, mel = _tables(features.bands)
    starts = np.arange(FRAMES) * HOP + (N_FFT - WINDOW) // 2
    frames = samples.astype(np.int64)[:, starts[:, None] + np.arange(WINDOW)]
    frames = (frames * window + (1 << 14)) >> 15
    power = _turned(frames, cosines) ** 2 + _turned(frames, sines) ** 2
    energy = _product(power, mel) + round(FLOOR * 2.0 ** (30 + _MEL_BITS))
    logs = log2(energy) - log2(np.array([round(FLOOR * 2.0 ** (30 + _MEL_BITS))]))
    logs = np.maximum(logs, 0)
    if features.kind == "log_mel":
        gain = round(255.0 / LOG_TOP * np.log(2.0) * (1 << _GAIN_BITS))
        codes = _shifted(logs * gain, _LOG_BITS + _GAIN_BITS)
    else:
        turned = _shifted(_whole(logs, np.rint(_dct(features.bands) * (1 << _DCT_BITS))), _DCT_BITS)
        gains = np.rint(_gains() * np.log(2.0) * (1 << _GAIN_BITS)).astype(np.int64)
        codes = _shifted(turned * gains, _LOG_BITS + _GAIN_BITS) + _offsets().astype(np.int64)
    return np.clip(codes, 0, 255).astype(np.uint8)[..., None]


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


@cache
def _tables(bands: int) -> tuple[Ints, Floats, Floats, Floats]:
    """Window Q15 [WINDOW], cosines and sines Q14 [WINDOW, 257], mel weights Q16 [257, bands]."""
    n = np.arange(WINDOW)
    window = np.rint((0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW)) * (1 << 15)).astype(np.int64)
    turn = 2 * np.pi * n[:, None] * np.arange(N_FFT // 2 + 1) / N_FFT
    cosines, sines = (np.rint(f(turn) * (1 << _SPECTRUM_SHIFT)) for f in (np.cos, np.sin))
    return window, cosines, sines, np.rint(mel_weights(bands).T * (1 << _MEL_BITS))


def mel_weights(bands: int) -> Floats:
    """Triangular filters [bands, 257] of equal area on Slaney's mel scale, as librosa's."""
    low, high = _to_mel(np.array([MEL_LOW, MEL_HIGH]))
    edges = _to_hertz(np.linspace(low, high, bands + 2))
    bins = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]


def _to_mel(hertz: Floats) -> Floats:
    """Slaney's scale: 200/3 Hz a mel below 1 kHz, then 27 mels for every factor 6.4."""
    return np.where(
        hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4)
    )


def _to_hertz(mel: Floats) -> Floats:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _turned(frames: Ints, table: Floats) -> Ints:
    return _shifted(_whole(frames, table), _SPECTRUM_SHIFT)


def _whole(values: Ints, table: Floats) -> Ints:
    """Exact product of integers, by float64: every sum stays below 2^53."""
    return (values.astype(np.float64) @ table).astype(np.int64)


def _product(power: Ints, table: Floats) -> Ints:
    """Exact product with sums up to 2^63: the power's high and low halves apart."""
    high, low = power >> 24, power & 0xFFFFFF
    return (_whole(high, table) << 24) + _whole(low, table)


def _shifted(values: Ints, bits: int) -> Ints:
    return (values + (1 << (bits - 1))) >> bits


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise TaskError(
            "speech features need librosa, not installed here", "pip install 'tinyrobust[audio]'"
        ) from error
    return librosa
