"""Format ``github``: workflow commands, which GitHub shows as annotations of the run.

The step's summary and outputs are written by the command (``STEP_SUMMARY``, ``outputs``).
https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyrobust.escaping import github, github_line, github_property
from tinyrobust.report.budget import _rows

STEP_SUMMARY, STEP_OUTPUT = "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"  # files named by the runner
_COMMANDS = {"failed": "error", "warning": "warning"}


def render(document: Mapping[str, Any]) -> str:
    """One command for each check that failed or is worth a warning, and one line for people."""
    lines = [github_line(_rows.headline(document))]
    for check in _rows.levels(document, "failed", "warning"):
        title = f"Memory of {document['title']}"
        lines.append(
            f"::{_COMMANDS[check['level']]} title={github_property(title)}"
            f"::{github(check['message'])}"
        )
    if "difference" in document and any(document["difference"]["totals"].values()):
        lines.append(
            f"::notice title={github_property('Memory has changed')}"
            f"::{github(_rows.headline(document))}"
        )
    return "\n".join(lines) + "\n"


def outputs(document: Mapping[str, Any]) -> str:
    """The step's outputs, a ``name=value`` a line."""
    values: dict[str, Any] = {"fits": "true" if document["fits"] else "false"}
    for memory, total in document["totals"].items():
        values[f"{memory.lower()}-bytes"] = total["used_bytes"]
    if "difference" in document:
        values["flash-change"] = document["difference"]["totals"]["flash"]
        values["ram-change"] = document["difference"]["totals"]["RAM"]
    return "".join(f"{name}={value}\n" for name, value in values.items())
