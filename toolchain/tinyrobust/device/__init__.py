"""Stage ``device``: talk to a board, virtual or real, over a serial port.

In: a port and images. Out: scores, cycles, tensors, memory marks, hashes. The wire protocol is
specified in ``firmware/protocol/PROTOCOL.md``; both sides' constants are compared by a test.
"""

from tinyrobust.device.session import Batch, Session
from tinyrobust.device.wire import Hello, Inference, LinkStats, MemoryMarks, Step

__all__ = ["Batch", "Hello", "Inference", "LinkStats", "MemoryMarks", "Session", "Step"]
