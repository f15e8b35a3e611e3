"""Stage ``codegen``: C++ tables and an ordered call list from a Plan.

In: a Plan. Out: Generated: the text of the C++ files, the firmware sources they need, and what
each step is. Weight packers are one file each in ``codegen/packers``.
"""

from tinyrobust.codegen.generate import MODEL_FILE, Generated, generate

__all__ = ["MODEL_FILE", "Generated", "generate"]
