"""Spectral features of one second of speech, in float by librosa.

Comes in: int16 samples at 16 kHz [N,16000]. Goes out: uint8 features [N,49,10,1] or
[N,49,bands,1]. The parameters are MLPerf Tiny's (Banbury et al. 2021, arXiv:2106.07597; keyword
spotting): windows of 30 ms (Hann) every 20 ms, power spectrum of 512 points, 40 mel bands from 20
to 4000 Hz, natural logarithm; of its orthonormal DCT-II the first 10 are the MFCC.

``log_mel``: code 0 is silence, ``LOG_TOP`` above it 255. ``mfcc``: coefficient 0 likewise from 0
up, the others around 128 by ``SPANS``. A zero that a convolution pads with is code 0, in training
as on the device.

``_fixed_features.py`` computes the same from integers alone, for the host in front of a device, and
for a device that listens itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tinyrobust.errors import TaskError
from tinyrobust.tasks import _fixed_features
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
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Which features, and by which arithmetic; everything else is fixed above."""

    kind: Kind = "mfcc"
    bands: int = MEL_BANDS
    integer: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, coefficients (or bands), 1."""
        return FRAMES, COEFFICIENTS if self.kind == "mfcc" else self.bands, 1

    @property
    def key(self) -> dict[str, Any]:
        """All that the features depend on, to name a cache file by."""
        key = {
            "kind": self.kind, "bands": self.bands, "rate": RATE, "samples": SAMPLES,
            "fft": [N_FFT, WINDOW, HOP], "mel": [MEL_LOW, MEL_HIGH], "floor": FLOOR,
            "codes": [LOG_TOP, list(SPANS), MIDDLE], "version": 1,
        }  # fmt: skip
        return key | ({"integer": 2} if self.integer else {})


def compute(samples: Samples, features: Features) -> Images:
    """Features of int16 samples [N,16000] by the arithmetic that ``features`` says."""
    if features.integer:
        return _fixed_features.compute(samples, features)
    return in_float(samples, features)


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
        codes = logs @ dct(features.bands) * gains() + offsets()
    return np.clip(np.floor(codes + 0.5), 0, 255).astype(np.uint8)[..., None]


def dct(bands: int) -> Floats:
    """Orthonormal DCT-II [bands, COEFFICIENTS]."""
    n, k = np.arange(bands)[:, None], np.arange(COEFFICIENTS)[None, :]
    matrix = np.sqrt(2.0 / bands) * np.cos(np.pi * k * (2 * n + 1) / (2 * bands))
    matrix[:, 0] /= np.sqrt(2.0)
    return matrix


def gains() -> Floats:
    """Codes per unit of each coefficient."""
    return np.array([255.0 / SPANS[0], *(127.0 / span for span in SPANS[1:])])


def offsets() -> Floats:
    """The code of 0 of each coefficient."""
    return np.array([0.0] + [float(MIDDLE)] * (COEFFICIENTS - 1))


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


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise TaskError(
            "speech features need librosa, not installed here", "pip install 'tinyrobust[audio]'"
        ) from error
    return librosa
