"""Atheris on the .tflite reader: anything but a Graph or a ConvertError is a crash.

python -m tests.fuzz.tflite_fuzzer CORPUS -runs=100000 -timeout=5 -rss_limit_mb=1024
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["tinyrobust.tflite", "tinyrobust.graph", "tflite"]):
    import tflite  # noqa: F401  (imported late by the reader; here it is instrumented)

    from tinyrobust.errors import ConvertError
    from tinyrobust.tflite import importer as reader


def one(data: bytes) -> None:
    """One input; the reader's own verdict is all there is."""
    try:
        reader.from_bytes(data, name="fuzz")
    except ConvertError as error:
        assert error.message


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
