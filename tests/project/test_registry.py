"""Plug-in parts are found by their files, and looked for once."""

from __future__ import annotations

import pkgutil
from typing import Any

import pytest

from tinyrobust import attacks
from tinyrobust.registry import module_names


def test_a_package_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    known = pkgutil.iter_modules
    monkeypatch.setattr(pkgutil, "iter_modules", lambda path: seen.append(path) or known(path))
    module_names.cache_clear()
    for _ in range(3):  # an attack's progress asks thousands of times a second
        assert attacks.get("pgd").name == "pgd"
    assert len(seen) == 1
    assert module_names("tinyrobust.attacks") == tuple(attacks.names())
