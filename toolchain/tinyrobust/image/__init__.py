"""Stage ``image``: compile, link and measure what ``codegen`` wrote.

In: a Graph and a Board. Out: an Image (ELF, bin, hex, memory report), or a host library.
"""

from tinyrobust.image.build import Image, build, load, remeasure
from tinyrobust.image.host import HostModel, host_library
from tinyrobust.image.memory_report import MemoryReport

__all__ = ["HostModel", "Image", "MemoryReport", "build", "host_library", "load", "remeasure"]
