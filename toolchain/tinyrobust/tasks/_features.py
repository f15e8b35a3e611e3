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

from typing import Any

import numpy as np

from tinyrobust.errors import TaskError
from tinyrobust.tasks import _fixed_features
from tinyrobust.tasks._spectrum import (
    FLOOR,
    HOP,
    LOG_TOP,
    MEL_HIGH,
    MEL_LOW,
    N_FFT,
    RATE,
    WINDOW,
    Features,
    Floats,
    Samples,
    dct,
    gains,
    offsets,
)  # fmt: skip
from tinyrobust.tasks._task import Images

_CHUNK = 256


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


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise TaskError(
            "speech features need librosa, not installed here", "pip install 'tinyrobust[audio]'"
        ) from error
    return librosa
