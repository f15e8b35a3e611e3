"""JUnit XML, for continuous integration: each promise of an evaluation is a test case.

In: the evaluation's figures. Out: XML text. Failures: integers that differ from the
interpreter's, an unfinished evaluation, memory over budget. Warnings about gradient masking
are failures too: the accuracy beside them is not to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from tinyrobust.report.words import interval, memory_rows
from tinyrobust.units import percent


def render(figures: Mapping[str, Any]) -> str:
    """The XML document."""
    name = f"{figures['model']}.{figures['board']}"
    suite = Xml.Element("testsuite", name=f"tinyrobust evaluate {name}")
    different = figures["score_differences"]
    _case(suite, name, "scores equal the interpreter's", 0.0,
          f"{different:,} integers differ" if different else "")  # fmt: skip
    _case(suite, name, "evaluation is complete", 0.0,
          "" if figures["complete"] else "batches are missing")  # fmt: skip
    for series in [figures["clean"], *figures["attacks"]]:
        case = _case(suite, name, f"accuracy {series['key']}", series["device_s"], "")
        output = Xml.SubElement(case, "system-out")
        output.text = (
            f"{percent(series['accuracy'])} ({interval(series)}) of {series['samples']:,} images"
        )
    for row in memory_rows(figures):
        over = f"needs {row['used']:,} B, budget {row['budget']:,} B"
        _case(suite, name, f"memory {row['name']}", 0.0,
              over if row["used"] > row["budget"] else "")  # fmt: skip
    _case(suite, name, "no sign of gradient masking", 0.0, "; ".join(figures["warnings"]))
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    Xml.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(suite, "unicode") + "\n"


def _case(suite: Xml.Element, group: str, name: str, seconds: float, fault: str) -> Xml.Element:
    case = Xml.SubElement(suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}")
    if fault:
        Xml.SubElement(case, "failure", message=fault)
    return case
