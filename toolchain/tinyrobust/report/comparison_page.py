"""A comparison's reports: compare.json, compare.md, compare.html (self-contained), compare.svg.

In: the figures of ``evaluate.comparison_figures`` and a folder. Out: the paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrobust.artefact import write_json, write_text
from tinyrobust.report import comparison, comparison_plot


@dataclass(frozen=True)
class ComparisonFiles:
    """Where the reports are."""

    html: Path
    markdown: Path
    json: Path
    plot: Path


def write_comparison(figures: Mapping[str, Any], folder: Path) -> ComparisonFiles:
    """Write every form, each atomically; raises TinyRobustError when the disk is full."""
    made = ComparisonFiles(*(folder / f"compare.{end}" for end in ("html", "md", "json", "svg")))
    plot = comparison_plot.draw(figures)
    write_json(made.json, dict(figures))
    write_text(made.markdown, comparison.markdown(figures))
    write_text(made.plot, plot)
    write_text(made.html, render(figures, plot))
    return made


def render(figures: Mapping[str, Any], plot: str) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tinyrobust.report", "."), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("comparison.html.j2").render(
        figures=figures, rows=comparison.table(figures), plot=plot,
        statements=comparison.statements(figures), signs=comparison.signs(figures),
        attacks=comparison.attack_lines(figures),
    )  # fmt: skip
