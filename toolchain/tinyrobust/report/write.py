"""All forms of the report into one folder.

In: the evaluation's figures and a folder. Out: the paths of what was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrobust.artefact import write_json, write_text
from tinyrobust.report import html, junit, markdown


@dataclass(frozen=True)
class Files:
    """Where the report is."""

    html: Path
    markdown: Path
    json: Path
    junit: Path


def write(figures: Mapping[str, Any], folder: Path) -> Files:
    """Write every form, each atomically; raises TinyRobustError when the disk is full."""
    files = Files(
        folder / "report.html", folder / "report.md", folder / "report.json", folder / "junit.xml"
    )
    write_json(files.json, dict(figures))
    write_text(files.markdown, markdown.render(figures))
    write_text(files.html, html.render(figures))
    write_text(files.junit, junit.render(figures))
    return files
