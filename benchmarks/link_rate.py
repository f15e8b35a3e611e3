"""Images a second over the link: ``python -m benchmarks.link_rate [--images N]``.

The device's protocol code, built for this computer with sanitizers, answers on a pseudo-terminal;
what is measured is our side and the protocol, not a UART. Prints the median of five batches.
"""

from __future__ import annotations

import argparse
import statistics
import time

from tests import fake_device
from tests.faults.test_link_session import PtyDevice
from tinyrobust.device import Session


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=150)
    count = parser.parse_args().images
    pictures = fake_device.images(count)
    board = PtyDevice()
    rates = []
    try:
        with Session.open(board.port) as session:
            for _ in range(5):
                started = time.monotonic()
                session.infer_many(pictures)
                rates.append(count / (time.monotonic() - started))
    finally:
        board.unplug()
    print(f"{statistics.median(rates):,.0f} images a second of {pictures[0].nbytes:,} B")


if __name__ == "__main__":
    main()
