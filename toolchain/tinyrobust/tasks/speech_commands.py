"""``speech_commands``: one-second clips of spoken words (Warden 2018), as spectral features.

Comes in: a folder in the official layout, ``speech_commands*`` under ``$TINYROBUST_DATA`` or the
cache folder (or that folder itself). Goes out: uint8 features and labels.

The name says words and features: ``speech_commands:WORDS:FEATURES``. WORDS are joined by ``+``
(``yes+no+unknown+silence``), or ``digits``, or ``keywords``: the twelve classes of MLPerf Tiny.
FEATURES are ``mfcc`` (49x10) or ``log_mel`` (49x40; ``log_mel10`` has 10 bands), in float by
librosa, or with ``_integer`` behind the name from integers alone, as in front of a device. Left
out, they are ``keywords`` and ``mfcc``. The train split ends with the clips of the official
validation list.

Samples and features are kept in the cache folder, named by all that they depend on.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyrobust import artefact
from tinyrobust.errors import TaskError
from tinyrobust.tasks import _clips, _data, _features, _spectrum
from tinyrobust.tasks._spectrum import Features, Samples
from tinyrobust.tasks._task import Images, Labels, Perturbation, Split

WORDS = {
    "digits": (
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ),
    "keywords": (
        "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes",
        _clips.SILENCE, _clips.UNKNOWN,
    ),
}  # fmt: skip
FEATURES = {
    "mfcc": Features(),
    "log_mel": Features("log_mel"),
    "log_mel10": Features("log_mel", 10),
}
FEATURES |= {f"{name}_integer": replace(kind, integer=True) for name, kind in FEATURES.items()}
Wave = npt.NDArray[np.float32]
NOISE_LEVEL = 0.1  # of full scale: the loudest background noise that training mixes in


@dataclass(frozen=True)
class SpeechCommands:
    """The task; see the module's text."""

    name: str = "speech_commands"
    labels: tuple[str, ...] = WORDS["keywords"]
    features: Features = FEATURES["mfcc"]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Frames, coefficients, 1."""
        return self.features.shape

    def with_options(self, text: str) -> SpeechCommands:
        """The task that the name with options ``WORDS:FEATURES`` says.

        Raises TaskError for words that are no folder names, twice the same, or unknown features.
        """
        words, _, features = text.partition(":")
        labels = WORDS.get(words, tuple(words.split("+")) if words else self.labels)
        if len(labels) < 2 or len(set(labels)) < len(labels) or not all(map(str.isalnum, labels)):
            raise TaskError(
                f"task {self.name}:{text} does not name two or more different words",
                f"for instance {self.name}:yes+no or {self.name}:digits",
            )
        if features and features not in FEATURES:
            raise TaskError(
                f"task {self.name}:{text} has unknown features '{features}'",
                f"known: {', '.join(FEATURES)}",
            )
        kind = FEATURES[features] if features else self.features
        return replace(self, name=f"{self.name}:{text}", labels=labels, features=kind)

    def in_integers(self) -> SpeechCommands:
        """The same task with features from integers alone."""
        kind = replace(self.features, integer=True)
        features = next(name for name, value in FEATURES.items() if value == kind)
        words = (*self.name.split(":"), "")[1]
        return SpeechCommands().with_options(f"{words}:{features}")

    def where(self) -> str | None:
        """The folder with the clips, if there is one."""
        found = self._folder()
        return None if found is None else str(found)

    def load(self, split: Split, limit: int | None = None) -> tuple[Images, Labels]:
        """Features uint8 [N,49,10,1] and labels int64 [N] of a split, in a fixed order.

        Raises TaskError when clips or lists are missing or broken.
        """
        samples, labels, key = self._samples(split)
        if limit is not None and not 0 <= limit <= len(labels):
            raise TaskError(
                f"{self.name} has {len(labels):,} {split} clips, not {limit:,}",
                "ask for fewer with --samples",
            )
        path = _cache(f"features-{_hash([key, self.features.key])}")
        if path.is_file():
            images: Images = np.load(path, allow_pickle=False)
        else:
            images = _features.compute(samples, self.features)
            _keep(path, images)
        return images[:limit], labels[:limit]

    def perturbed(self, rows: Labels, how: Perturbation, random: np.random.Generator) -> Images:
        """Features of the train clips ``rows``, each shifted in time and with background noise.

        The noise is a piece of ``_background_noise_`` where there is one, else noise with a
        random slope between white and brown.
        """
        samples = self._samples("train")[0][rows].astype(np.float32)
        most = how.shift_ms * _spectrum.RATE // 1000
        shifts = random.integers(-most, most + 1, len(rows))
        samples = np.stack([_shift(row, by) for row, by in zip(samples, shifts, strict=True)])
        if how.noise:
            recorded = _recorded(self._require_folder())
            for row in np.flatnonzero(random.uniform(size=len(samples)) < how.noise):
                samples[row] += _noise(recorded, random)
        whole = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
        return _features.compute(whole, self.features)

    def validation_clips(self) -> int:
        """How many clips at the end of the train split are those of the official list."""
        return _clips.clips(self._require_folder(), self.labels, "train")[1]

    def _samples(self, split: Split) -> tuple[Samples, Labels, str]:
        """Samples (mapped from the cache), labels, and a key of both."""
        return _samples(self._require_folder(), self.labels, split)

    def _folder(self) -> Path | None:
        spoken = set(self.labels) - {_clips.UNKNOWN, _clips.SILENCE}
        for root in _data.folders():
            for folder in (root, *sorted(root.glob("speech_commands*"))):
                lists = all((folder / name).is_file() for name in _clips.LISTS.values())
                if lists and all((folder / word).is_dir() for word in spoken):
                    return folder
        return None

    def _require_folder(self) -> Path:
        folder = self._folder()
        if folder is None:
            roots = " or ".join(map(str, _data.folders()))
            raise TaskError(
                f"{self.name}: no folder speech_commands* under {roots} has validation_list.txt, "
                f"testing_list.txt and a folder for each word",
                "unpack speech_commands_v0.02.tar.gz there, or choose words that are there: "
                "speech_commands:yes+no",
            )
        return folder


task = SpeechCommands()


@lru_cache(maxsize=4)
def _samples(folder: Path, words: tuple[str, ...], split: Split) -> tuple[Samples, Labels, str]:
    chosen, _ = _clips.clips(folder, words, split)
    if not chosen:
        raise TaskError(
            f"speech_commands: {folder} has no {split} clips of {', '.join(words)}",
            "check the words (--task speech_commands:yes,no) and the folder",
        )
    key = _hash([_clips.fingerprint(folder, chosen), _spectrum.RATE, _spectrum.SAMPLES])
    path = _cache(f"samples-{key}")
    if not path.is_file():
        _keep(path, _clips.load(folder, chosen))
    labels = np.array([clip.label for clip in chosen], np.int64)
    return np.load(path, mmap_mode="r", allow_pickle=False), labels, key


@lru_cache(maxsize=4)
def _recorded(folder: Path) -> list[Samples]:
    return _clips.noises(folder)


def _shift(row: Wave, by: int) -> Wave:
    """The samples ``by`` later, silence where there were none."""
    moved = np.zeros_like(row)
    if by >= 0:
        moved[by:] = row[: len(row) - by]
    else:
        moved[:by] = row[-by:]
    return moved


def _noise(recorded: list[Samples], random: np.random.Generator) -> Wave:
    """A second of noise of random loudness, up to NOISE_LEVEL of full scale (root mean square)."""
    if recorded:
        piece = recorded[random.integers(len(recorded))]
        found = _clips.cut(piece, int(random.integers(1 << 30))).astype(np.float64)
    else:
        spectrum = np.fft.rfft(random.normal(size=_spectrum.SAMPLES))
        frequency = np.maximum(np.arange(len(spectrum)), 1)
        found = np.fft.irfft(spectrum / frequency ** random.uniform(0, 1), _spectrum.SAMPLES)
    level = float(np.sqrt(np.mean(found**2))) or 1.0
    return (found * (32768 * NOISE_LEVEL * random.uniform() ** 2 / level)).astype(np.float32)


def _hash(about: object) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]


def _cache(name: str) -> Path:
    return _data.cache_folder() / "speech_commands" / f"{name}.npy"


def _keep(path: Path, array: npt.NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    artefact.write_bytes(path, buffer.getvalue())
