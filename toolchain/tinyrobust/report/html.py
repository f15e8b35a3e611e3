"""The HTML page: one self-contained file.

In: the evaluation's figures. Out: HTML text; styles and plots are inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.escaping import every, line
from tinyrobust.report import plots
from tinyrobust.report.words import (
    cost,
    effort_rows,
    interval,
    layer_rows,
    masking_rows,
    memory_rows,
    rows,
    size,
    statements,
)
from tinyrobust.units import count, kib, percent


def render(figures: Mapping[str, Any]) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    figures = every(figures, line)  # Jinja escapes what is markup
    environment = Environment(
        loader=PackageLoader("tinyrobust.report", "."), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "percent": percent, "kib": kib, "count": count, "interval": interval, "size": size,
    }  # fmt: skip
    return environment.get_template("page.html.j2").render(
        figures=figures,
        rows=rows(figures),
        statements=statements(figures),
        cost=cost(figures),
        memory=memory_rows(figures),
        layers=layer_rows(figures),
        effort=effort_rows(figures),
        masking=masking_rows(figures),
        plots={
            "accuracy": plots.accuracy(figures),
            "layers": plots.layers(figures),
            "memory": plots.memory(figures),
        },
    )
