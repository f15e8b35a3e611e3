"""JUnit XML, for continuous integration: each promise of an evaluation is a test case.

In: the evaluation's figures. Out: XML text. Failures: integers that differ from the
interpreter's, an unfinished evaluation, memory over budget. Signs of gradient masking are failures
too: the accuracy beside them is not to be trusted; a check that was not measured is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from tinyrobust.escaping import every, xml
from tinyrobust.report.words import effort_rows, interval, masking_rows, memory_rows, size
from tinyrobust.units import percent


def render(figures: Mapping[str, Any]) -> str:
    """The XML document."""
    figures = every(figures, xml)
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
        if "attack" in series:
            (row,) = effort_rows({"attacks": [series]})
            output.text += "".join(
                f"; {words}{row[key]}" for key, words in (
                    ("queries", "queries per image: "), ("oracle", "answered by "),
                    ("norms", "distance of 255: "), ("notes", ""),
                ) if row[key]
            )  # fmt: skip
    for row in figures["worst"]:
        case = _case(suite, name, f"worst of the suite at {size(row)}", 0.0, "")
        text = f"{percent(row['accuracy'])} ({interval(row)}) of {row['samples']:,} images"
        Xml.SubElement(case, "system-out").text = f"{text}; {', '.join(row['of'])}"
    for row in memory_rows(figures):
        over = f"needs {row['used']:,} B, budget {row['budget']:,} B"
        _case(suite, name, f"memory {row['name']}", 0.0,
              over if row["used"] > row["budget"] else "")  # fmt: skip
    for check in masking_rows(figures):
        case = _case(suite, name, f"masking: {check['name']}", 0.0, check["text"])
        if check["status"] == "not measured":
            Xml.SubElement(case, "skipped", message="not measured")
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
