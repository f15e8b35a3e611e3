"""The plug-in beside the rest of hls4ml: whatever is imported first, and whatever is converted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_models import Net
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.train, pytest.mark.slow]
_REGISTERED = "; from hls4ml.backends import *; print('cortexm' in get_available_backends())"


@pytest.mark.parametrize(
    "first",
    ["tinyrobust.convert.backend", "tinyrobust.convert.depthwise", "hls4ml.backends", "hls4ml"],
)
def test_the_back_end_is_there_whatever_is_imported_first(first: str) -> None:
    code = f"import {first}; import hls4ml, tinyrobust.convert.backend" + _REGISTERED
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "plugin" not in done.stdout
    assert done.stdout.strip().endswith("True")


def of_vivado(model: Any, folder: Path) -> dict[str, Any]:
    """What hls4ml's back end Vivado makes of ``model``: layers, types, and all weights."""
    import hls4ml

    config = hls4ml.utils.config_from_keras_model(model, granularity="name", backend="Vivado")
    made = hls4ml.converters.convert_from_keras_model(
        model, hls_config=config, backend="Vivado", output_dir=str(folder), io_type="io_stream"
    )
    return {
        layer.name: {
            "kind": layer.class_name,
            "type": str(layer.get_output_variable().type.precision),
            "weights": {
                name: [str(w.type.precision), np.asarray(w.data, np.float64).round(9).tolist()]
                for name, w in layer.weights.items()
            },
        }
        for layer in made.get_layers()
    }


def network() -> Any:
    """Layers that the plug-in's own passes may touch, of which Vivado's are to keep their form."""
    from qkeras import quantized_bits

    net = Net((6, 6, 3), seed=4)
    net.conv("eight", 4, kernel_quantizer=quantized_bits(8, 0, alpha="auto"), use_bias=True)
    net.norm("eight_bn")
    net.act("eight_act")
    net.depthwise("narrow", depthwise_quantizer=quantized_bits(4, 0, alpha="auto"))
    net.act("narrow_act")
    net.depthwise("plain", depthwise_quantizer=quantized_bits(6, 1, alpha=1))
    net.act("plain_act")
    net.layer("Flatten", name="flat")
    net.dense("dense", 3)
    net.layer("Softmax", name="softmax")
    return net.model()


_WITHOUT = """
import importlib.metadata, json, pathlib, sys
importlib.metadata.entry_points = lambda **_: importlib.metadata.EntryPoints()
import hls4ml
from tests.convert import test_plugin
assert "cortexm" not in hls4ml.backends.get_available_backends()
made = test_plugin.of_vivado(test_plugin.network(), pathlib.Path(sys.argv[1]))
pathlib.Path(sys.argv[1], "made.json").write_text(json.dumps(made))
"""


def test_vivado_s_conversion_is_the_same_with_and_without_the_plug_in(tmp_path: Path) -> None:
    from tinyrobust.convert import plugin

    alone = tmp_path / "alone"
    alone.mkdir()
    code = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, str(alone)], cwd=code, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    plugin.ensure_registered()
    beside = json.loads(json.dumps(of_vivado(network(), tmp_path / "beside")))
    assert beside == json.loads((alone / "made.json").read_text())
    assert any(np.ptp(w[1]) for layer in beside.values() for w in layer["weights"].values())
