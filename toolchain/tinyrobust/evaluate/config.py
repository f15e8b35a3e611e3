"""What an evaluation depends on, in one frozen value with a hash.

In: names, hashes, sizes, seed. Out: a Config; two runs with equal ``sha256`` may share records.
"""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import tinyrobust
from tinyrobust.artefact import canonical_json, sha256
from tinyrobust.attacks import Settings
from tinyrobust.errors import TinyRobustError

BATCH_IMAGES = 100  # images crafted and classified between two records


@dataclass(frozen=True)
class Series:
    """One pass over the samples: clean (``attack`` None, eps 0), or one attack at one size, in
    one norm ("linf" or "l2"), targeted or not."""

    attack: str | None = None
    eps_255: float = 0
    norm: str = "linf"
    targeted: bool = False

    @property
    def key(self) -> str:
        """``clean`` or ``<attack>[_l2][_targeted]_eps<k>``, as in an adversarial file."""
        return "clean" if self.attack is None else f"{self.search}_eps{self.eps_255:g}"

    @property
    def search(self) -> str:
        """The key without the size: what a minimum-norm attack does once for all sizes."""
        norm = "" if self.norm == "linf" else f"_{self.norm}"
        return f"{self.attack}{norm}{'_targeted' if self.targeted else ''}"

    @classmethod
    def parse(cls, key: str) -> Series:
        """The Series of a key; raises TinyRobustError when it is none."""
        if key == "clean":
            return cls()
        found = _KEY.fullmatch(key)
        size = float(found["size"]) if found else 0.0
        norm = (found["norm"] if found else None) or "linf"
        if not found or (norm == "linf" and size > 255):
            raise TinyRobustError(f"'{key}' is not <attack>[_l2][_targeted]_eps<0..255>")
        whole = int(size) if size == int(size) else size
        return cls(found["attack"], whole, norm, bool(found["targeted"]))


_KEY = re.compile(
    r"(?P<attack>.+?)(?:_(?P<norm>l2))?(?P<targeted>_targeted)?_eps(?P<size>[0-9]+(?:\.[0-9]+)?)"
)


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
    oracle: str = "interpreter"  # who answers what attacks ask
    steps: int | None = None  # None: each attack's own
    queries: int | None = None
    surrogate: str | None = None
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

    def settings(self, series: Series) -> Settings:
        """How the attack of ``series`` is run."""
        return Settings(series.norm, series.targeted, self.steps, self.queries, self.surrogate)

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
