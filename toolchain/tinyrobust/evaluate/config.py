"""What an evaluation depends on, in one frozen value with a hash.

In: names, hashes, sizes, seed. Out: a Config; two runs with equal ``sha256`` may share records.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import tinyrobust
from tinyrobust.artefact import canonical_json, sha256
from tinyrobust.errors import TinyRobustError

BATCH_IMAGES = 100  # images crafted and classified between two records


@dataclass(frozen=True)
class Series:
    """One pass over the samples: clean (``attack`` None, eps 0), or one attack at one size."""

    attack: str | None = None
    eps_255: int = 0

    @property
    def key(self) -> str:
        """``clean`` or ``<attack>_eps<k>``, as in an adversarial file."""
        return "clean" if self.attack is None else f"{self.attack}_eps{self.eps_255}"

    @classmethod
    def parse(cls, key: str) -> Series:
        """The Series of a key; raises TinyRobustError when it is none."""
        if key == "clean":
            return cls()
        attack, mark, size = key.rpartition("_eps")
        if not mark or not attack or not size.isdecimal() or int(size) > 255:
            raise TinyRobustError(f"'{key}' is not <attack>_eps<0..255>")
        return cls(attack, int(size))


@dataclass(frozen=True)
class Config:
    """Everything that the records depend on."""

    board: str
    model: str
    task: str
    split: str
    samples: int
    seed: int
    attacks: tuple[Series, ...]
    graph_sha256: str
    image_sha256: str
    parameters: Mapping[str, Any] = field(default_factory=dict)  # by Series.key
    adversarial_sha256: str | None = None  # of the replayed file
    data_sha256: str = ""  # of the clean images and labels
    batch_images: int = BATCH_IMAGES
    generator: Mapping[str, str | None] = field(default_factory=dict)  # versions that craft

    def header(self) -> dict[str, Any]:
        """Plain data, for the records."""
        plain = dataclasses.asdict(self)
        return plain | {
            "attacks": [s.key for s in self.attacks],
            "parameters": dict(self.parameters),
        }

    @property
    def sha256(self) -> str:
        """Hash of all of it."""
        return sha256(canonical_json(self.header()).encode())

    @property
    def series(self) -> tuple[Series, ...]:
        """Clean first, then the attacks in order."""
        return (Series(), *self.attacks)


def versions() -> dict[str, str | None]:
    """Versions of what takes part: tinyrobust, Python, numpy, ART, ..."""
    found: dict[str, str | None] = {
        "tinyrobust": tinyrobust.__version__,
        "python": platform.python_version(),
    }
    for package in ("numpy", "scipy", "adversarial-robustness-toolbox", "unicorn", "pyserial"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def generator() -> dict[str, str | None]:
    """The versions that adversarial images depend on."""
    found = versions()
    return {k: found[k] for k in ("tinyrobust", "adversarial-robustness-toolbox")}
