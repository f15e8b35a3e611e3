"""Clips of a folder in the Speech Commands layout.

Comes in: a folder with one folder of .wav files per word, ``validation_list.txt`` and
``testing_list.txt`` (P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech
Recognition", 2018, arXiv:1804.03209). Goes out: which clips belong to a split, and their samples:
int16 at 16 kHz, one second, shorter clips in the middle of silence.
"""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyrobust.errors import TaskError
from tinyrobust.tasks._spectrum import RATE, SAMPLES, Samples
from tinyrobust.tasks._task import Split

NOISE_FOLDER = "_background_noise_"
UNKNOWN, SILENCE = "unknown", "silence"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_SEED = 59_185  # which clips stand for "unknown" and "silence", and the order of clips


@dataclass(frozen=True)
class Clip:
    """One second to be: a file (relative path), its label, and for silence where it is cut."""

    path: str
    label: int
    start: int | None = None
    gain: float = 1.0


RATES = (1_000, 384_000)  # samples a second of a file; others take for ever to resample


def clips(folder: Path, words: Sequence[str], split: Split) -> tuple[list[Clip], int]:
    """The split's clips in a fixed shuffled order, and how many of them, at the end, are those of
    the validation list (train only).

    ``unknown`` stands for as many clips of all other words as the average word has; ``silence``
    for as many pieces of the background noise. Raises TaskError when a list, a word or the noise
    is missing.
    """
    official = {name: _listed(folder / file) for name, file in LISTS.items()}
    parts = ("train", "validation") if split == "train" else ("test",)
    found: list[Clip] = []
    last = 0
    for part in parts:
        chosen = _part(folder, words, part, official)
        order = np.random.default_rng(_SEED).permutation(len(chosen))
        found += [chosen[i] for i in order]
        last = len(chosen)
    return found, last if split == "train" else 0


def _part(
    folder: Path, words: Sequence[str], part: str, official: dict[str, set[str]]
) -> list[Clip]:
    held = official["validation"] | official["test"]

    def of(word: str) -> list[str]:
        names = sorted(f"{word}/{path.name}" for path in (folder / word).glob("*.wav"))
        if part == "train":
            return [name for name in names if name not in held]
        return [name for name in names if name in official[part]]

    found: list[Clip] = []
    spoken = [word for word in words if word not in (UNKNOWN, SILENCE)]
    for word in spoken:
        if not (folder / word).is_dir():
            raise TaskError(
                f"speech_commands: {folder} has no folder '{word}'",
                "put the word's .wav files there, or choose other words",
            )
        found += [Clip(name, words.index(word)) for name in of(word)]
    average = round(len(found) / max(1, len(spoken)))
    random = np.random.default_rng([_SEED, len(part)])
    if UNKNOWN in words:
        others = sorted(
            path.name for path in folder.iterdir()
            if path.is_dir() and path.name not in words and not path.name.startswith("_")
        )  # fmt: skip
        names = [name for word in others for name in of(word)]
        picked = random.permutation(len(names))[:average]
        found += [Clip(names[i], words.index(UNKNOWN)) for i in picked]
    if SILENCE in words:
        found += _silence(folder, words.index(SILENCE), average, random)
    return found


def _silence(folder: Path, label: int, count: int, random: np.random.Generator) -> list[Clip]:
    noises = sorted((folder / NOISE_FOLDER).glob("*.wav"))
    if not noises:
        raise TaskError(
            f"speech_commands: {folder} has no {NOISE_FOLDER}/*.wav for the class 'silence'",
            "choose words without 'silence', or put the noise there",
        )
    return [
        Clip(f"{NOISE_FOLDER}/{noises[random.integers(len(noises))].name}", label,
             int(random.integers(1 << 30)), float(random.uniform()))
        for _ in range(count)
    ]  # fmt: skip


def _listed(path: Path) -> set[str]:
    try:
        return set(path.read_text("utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            f"speech_commands: cannot read {path}: {error}",
            "the official archive has validation_list.txt and testing_list.txt",
        ) from error


def read(path: Path) -> Samples:
    """All samples of a .wav file, at 16 kHz; raises TaskError unless it is 16-bit mono PCM."""
    try:
        with wave.open(str(path)) as file:
            kind = (file.getnchannels(), file.getsampwidth())
            rate, data = file.getframerate(), file.readframes(file.getnframes())
    except (OSError, EOFError, RuntimeError, wave.Error) as error:  # RuntimeError: a chunk's size
        raise TaskError(
            f"speech_commands: cannot read {path}: {error}", "check the file and its permissions"
        ) from error
    if kind == (1, 2) and not RATES[0] <= rate <= RATES[1]:
        raise TaskError(
            f"speech_commands: {path} has {rate:,} samples a second",
            f"clips have {RATES[0]:,} to {RATES[1]:,}",
        )
    if kind != (1, 2):
        raise TaskError(
            f"speech_commands: {path} has {kind[0]} channels of {8 * kind[1]} bits",
            "clips are 16-bit mono PCM",
        )
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)
    return samples if rate == RATE else resample(samples, rate)


def resample(samples: Samples, rate: int) -> Samples:
    """From ``rate`` to 16 kHz, by librosa's polyphase filter."""
    if not len(samples):
        return samples
    from tinyrobust.tasks._features import _librosa

    found = _librosa().resample(
        samples.astype(np.float64), orig_sr=rate, target_sr=RATE, res_type="polyphase"
    )
    return np.clip(np.rint(found), -32768, 32767).astype(np.int16)


def one_second(samples: Samples) -> Samples:
    """The middle second; a shorter clip stands in the middle of silence."""
    if len(samples) >= SAMPLES:
        start = (len(samples) - SAMPLES) // 2
        return samples[start : start + SAMPLES]
    before = (SAMPLES - len(samples)) // 2
    return np.pad(samples, (before, SAMPLES - len(samples) - before))


def load(folder: Path, chosen: Sequence[Clip]) -> Samples:
    """Samples int16 [N,16000] of the clips."""
    found = np.empty((len(chosen), SAMPLES), np.int16)
    whole: dict[str, Samples] = {}  # noises, which many clips are cut from
    for row, clip in zip(found, chosen, strict=True):
        if clip.start is None:
            row[:] = one_second(read(folder / clip.path))
            continue
        if clip.path not in whole:
            whole[clip.path] = read(folder / clip.path)
        row[:] = np.rint(cut(whole[clip.path], clip.start) * clip.gain).astype(np.int16)
    return found


def cut(noise: Samples, start: int) -> Samples:
    """A second of ``noise`` from ``start`` (modulo what there is), repeated if it is shorter."""
    if len(noise) <= SAMPLES:
        return np.resize(noise, SAMPLES) if len(noise) else np.zeros(SAMPLES, np.int16)
    start %= len(noise) - SAMPLES
    return noise[start : start + SAMPLES]


def noises(folder: Path) -> list[Samples]:
    """The folder's background noises, at 16 kHz; empty if it has none."""
    return [read(path) for path in sorted((folder / NOISE_FOLDER).glob("*.wav"))]


def fingerprint(folder: Path, chosen: Sequence[Clip]) -> str:
    """Changes when a clip's name, place in the order, size or date does."""
    digest = hashlib.sha256()
    for clip in chosen:
        about = (folder / clip.path).stat()
        line: tuple[Any, ...] = (clip, about.st_size, about.st_mtime_ns)
        digest.update(repr(line).encode())
    return digest.hexdigest()
