"""Format ``junit``: JUnit XML as Jenkins, GitLab and others read it; each check is a test case."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from tinyrobust.escaping import every, xml
from tinyrobust.report.budget import _rows


def render(document: Mapping[str, Any]) -> str:
    """The XML document."""
    document = every(document, xml)
    failed = len(_rows.levels(document, "failed"))
    counts: dict[str, Any] = {
        "tests": str(len(document["checks"])),
        "failures": str(failed),
        "errors": "0",
    }
    top = Xml.Element("testsuites", name="tinyrobust budget", time="0", **counts)
    suite = Xml.SubElement(
        top, "testsuite", name=f"memory of {document['title']}", time="0", skipped="0",
        timestamp=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S"),
        **counts,
    )  # fmt: skip
    properties = Xml.SubElement(suite, "properties")
    for memory, total in document["totals"].items():
        Xml.SubElement(properties, "property", name=f"{memory.lower()}_bytes",
                       value=str(total["used_bytes"]))  # fmt: skip
    for check in document["checks"]:
        case = Xml.SubElement(suite, "testcase", classname=f"budget.{_word(document)}",
                              name=check["name"], time="0")  # fmt: skip
        if check["level"] == "failed":
            failure = Xml.SubElement(case, "failure", type="budget", message=check["message"])
            failure.text = _details(document) or check["message"]
        else:
            Xml.SubElement(case, "system-out").text = check["message"]
    Xml.indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(top, "unicode") + "\n"


def _word(document: Mapping[str, Any]) -> str:
    """A class name: dots part packages."""
    return str(document["title"]).replace(".", "_").replace(" ", "_")


def _details(document: Mapping[str, Any]) -> str:
    """What changed, a line each."""
    if "difference" not in document:
        return ""
    rows = _rows.changed_owners(document)[: _rows.MOST]
    return "\n".join(f"{memory}: {kind} {name} {before} -> {after} ({change})"
                     for memory, kind, name, before, after, change in rows)  # fmt: skip
