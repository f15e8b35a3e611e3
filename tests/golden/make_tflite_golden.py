"""Writes ``tflite_operators.npz``: models of one operator with TensorFlow Lite's own outputs, so
that ``make check`` holds the interpreter to them without TensorFlow.

    python -m tests.golden.make_tflite_golden
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.tflite_cases import CASES

FILE = Path(__file__).with_name("tflite_operators.npz")
SCHEMA = "tinyrobust.golden-tflite/1"
SEED, MODELS, INPUTS = 20, 4, 3


def main() -> None:
    from tinyrobust.tflite import importer as tflite
    from tinyrobust.tflite.reference import Reference

    arrays: dict[str, np.ndarray] = {}
    version = ""
    for operator, make in CASES.items():
        rng = np.random.default_rng([SEED, *operator.encode()])
        for i in range(MODELS):
            data = make(rng)
            net = tflite.from_bytes(data, name="case")
            reference = Reference(data, net)
            version = reference.version
            x = rng.integers(0, 256, (INPUTS, *net.input.shape), dtype=np.uint8)
            key = f"{operator}/{i}"
            arrays[f"{key}/model"] = np.frombuffer(data, np.uint8)
            arrays[f"{key}/inputs"] = x
            arrays[f"{key}/scores"] = reference.scores(x).astype(np.int8)
    header = {"schema": SCHEMA, "generator": "TensorFlow Lite BUILTIN_REF", "version": version,
              "seed": SEED, "operators": list(CASES), "models": MODELS}  # fmt: skip
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
