"""The memory budget as text: one file per format, each with ``render``.

In: a document of ``evaluate.budget``. Out: text for a terminal, a code host, or continuous
integration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinyrobust.registry import discover

Render = Callable[[Mapping[str, Any]], str]


def formats() -> dict[str, Render]:
    """``render`` of every format by its name on the command line."""
    return discover("tinyrobust.report.budget", "render")
