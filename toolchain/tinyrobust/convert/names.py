"""What hls4ml and its users call this back end; imports nothing, so that everyone may read it."""

from __future__ import annotations

BACKEND = "CortexM"
