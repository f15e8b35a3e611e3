"""Stage ``library``: a network as source code for other people's projects.

In: a Graph, a core or a board, a format. Out: a folder with the model, the kernels it uses, a C
interface, an example and a manifest; nothing of the firmware's protocol and ports.

A file of this package that defines ``format`` is the format called so (``_`` becomes ``-``). What
formats share is in ``_package.py`` (what there is to write) and ``_write.py`` (how).
"""

from __future__ import annotations

from tinyrobust.library._format import Format, formats
from tinyrobust.library._measure import Taken, measure
from tinyrobust.library._package import Package, generic_board, package
from tinyrobust.library._write import VERSION, Library, aim_of, check, export

__all__ = [
    "VERSION", "Format", "Library", "Package", "Taken", "aim_of", "check", "export", "formats",
    "generic_board", "measure", "package",
]  # fmt: skip
