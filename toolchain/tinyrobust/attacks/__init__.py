"""Stage ``attacks``: one attack per file; an attack sees nothing but a Victim.

In: a Victim (scores, and gradients for white-box attacks), uint8 images, labels, a size and a
seed. Out: ``Crafted``, uint8 images within the size and the valid range. ``registry.discover``
finds every module here that defines ``attack``.

An attack is a subclass of ``Attack`` with one method, ``craft``; the base class keeps the
contract (``_attack.py``). The Adversarial Robustness Toolbox is imported here only, when needed.
"""

from __future__ import annotations

from tinyrobust.attacks._apgd import away as objective_away
from tinyrobust.attacks._apgd import walk as apgd_walk
from tinyrobust.attacks._attack import Attack, Crafted, Job, MinimumNorm, Progress, Settings
from tinyrobust.attacks._norms import distance, within
from tinyrobust.attacks._oracles import (
    DeviceOracle,
    HostOracle,
    InterpreterOracle,
    NativeOracle,
    Oracle,
)
from tinyrobust.attacks._victim import GraphVictim, Victim
from tinyrobust.errors import TinyRobustError
from tinyrobust.graph.model import Model
from tinyrobust.registry import discover, nearest

__all__ = [
    "Attack",
    "Crafted",
    "DeviceOracle",
    "GraphVictim",
    "HostOracle",
    "InterpreterOracle",
    "Job",
    "MinimumNorm",
    "NativeOracle",
    "Oracle",
    "Progress",
    "Settings",
    "Victim",
    "apgd_walk",
    "distance",
    "get",
    "keras_victim",
    "names",
    "objective_away",
    "within",
]


def keras_victim(model: Model) -> Victim:
    """The QKeras model that ``model`` was converted from, as a Victim (``_keras.py``)."""
    from tinyrobust.attacks._keras import KerasVictim

    return KerasVictim(model)


def names() -> list[str]:
    """Names of all attacks."""
    return sorted(discover(__name__, "attack"))


def get(name: str) -> Attack:
    """The attack called ``name``; raises TinyRobustError with the nearest known name."""
    found = discover(__name__, "attack")
    if name not in found:
        raise TinyRobustError(f"no attack '{name}'", nearest(name, found))
    attack: Attack = found[name]
    return attack
