"""One way to find plug-in parts: every module of a package, each holding one thing.

A package that keeps one thing per file calls ``discover(package, attribute)``; adding a file
adds the thing. An import that fails raises: nothing is skipped silently.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Any


@cache  # asked at every step of an attack's progress, and a package's files stay as they are
def module_names(package: str) -> tuple[str, ...]:
    """Names of the public modules directly in ``package``, sorted, without importing them."""
    path = importlib.import_module(package).__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def discover(package: str, attribute: str) -> dict[str, Any]:
    """Import every module of ``package`` that defines ``attribute``; module name -> its value."""
    found: dict[str, Any] = {}
    for name in module_names(package):
        module = importlib.import_module(f"{package}.{name}")
        if hasattr(module, attribute):
            found[name] = getattr(module, attribute)
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, then the whole list."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"did you mean '{close[0]}'? " if close else ""
    return f"{guess}known: {', '.join(names) or 'none'}"
