"""Stage ``report``: figures -> JSON, Markdown, HTML and JUnit XML.

In: the dict of ``evaluate.summarise``, schema ``tinyrobust.evaluate/1``. Out: four files in a
folder: ``report.json`` (that dict), ``report.md``, ``report.html`` (self-contained), ``junit.xml``.
"""

from __future__ import annotations

from tinyrobust.report.comparison_page import ComparisonFiles, write_comparison
from tinyrobust.report.words import rows, statements
from tinyrobust.report.write import Files, write

__all__ = ["ComparisonFiles", "Files", "rows", "statements", "write", "write_comparison"]
