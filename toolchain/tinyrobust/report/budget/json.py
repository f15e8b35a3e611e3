"""Format ``json``: the document itself, which is also what ``--baseline`` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def render(document: Mapping[str, Any]) -> str:
    """The document as indented JSON."""
    return json.dumps(document, indent=2) + "\n"
