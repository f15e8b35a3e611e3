"""Numbers for people: bytes inside, KiB on screen; counts with thousands separators."""

from __future__ import annotations


def kib(n_bytes: int) -> str:
    """``n_bytes`` in KiB with one decimal, for example ``"19.5 KiB"``."""
    return f"{n_bytes / 1024:,.1f} KiB"


def count(n: float) -> str:
    """A large count for a screen: ``"3.38 M"``, ``"12.5 k"`` or ``"940"``."""
    for scale, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(n) >= scale:
            return f"{n / scale:.3g}{suffix}"
    return f"{n:g}"


def percent(fraction: float) -> str:
    """A fraction in 0..1 as ``"62.3 %"``."""
    return f"{100 * fraction:.1f} %"
