"""Which spectral features there are, and the numbers that both arithmetics share.

In: the kind of features and their bands. Out: their shape, the cache's key, the filters, the cosine
transform, gains and offsets in float64; ``_features.py`` computes with them in float,
``_fixed_features.py`` in integers. The parameters are MLPerf Tiny's (Banbury et al. 2021,
arXiv:2106.07597; keyword spotting).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

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
