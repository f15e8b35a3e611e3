"""The hls4ml plug-in ``CortexM``: any QKeras user's way in, and the command line's.

In: a Keras model. Out: an hls4ml ``ModelGraph`` whose back end lowers it to the integer Graph.
hls4ml finds ``register`` through the entry point group ``hls4ml.backends`` (or the environment
variable ``HLS4ML_BACKEND_PLUGINS=tinyrobust.convert.plugin``). Nothing heavy is imported here
before it is used, so that hls4ml may import this module while it is being imported itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinyrobust.convert.names import BACKEND
from tinyrobust.errors import ConvertError
from tinyrobust.train import keras2

TRAIN_HINT = "pip install 'tinyrobust[train]' (Python 3.10 to 3.13)"


def register(register_backend: Callable[..., None], register_writer: Callable[..., None]) -> None:
    """Entry point: the back end ``CortexM``, its writer and its pass, which register themselves.

    hls4ml calls this while it is imported, be it for ``tinyrobust.convert.backend`` itself, which
    is half imported then: it registers at its end, whoever imports it first.
    """
    from tinyrobust.convert import backend, depthwise  # noqa: F401


def ensure_registered() -> None:
    """Register the back end unless hls4ml has found it by itself.

    Raises ConvertError when hls4ml is not installed.
    """
    try:
        import hls4ml  # noqa: F401
    except ImportError as error:
        raise _missing(error) from error
    from tinyrobust.convert import backend, depthwise  # noqa: F401


def _missing(error: ImportError) -> ConvertError:
    return ConvertError(
        f"converting a model needs the training extra: {error.name} is not installed", TRAIN_HINT
    )


def require_qkeras() -> None:
    """Import QKeras; raises ConvertError when the training extra is not installed."""
    keras2.choose()
    try:
        import qkeras  # noqa: F401
    except ImportError as error:
        raise _missing(error) from error


def from_keras(
    model: Any, *, backend: str = BACKEND, hls_config: dict[str, Any] | None = None,
    output_dir: Path, **options: Any,
) -> Any:  # fmt: skip
    """``hls4ml.converters.convert_from_keras_model`` with the checks and errors of this project.

    ``options`` go to the back end: for ``CortexM`` ``model_name``, ``task``, ``labels``,
    ``made_from``, ``board``. Returns the hls4ml ModelGraph. Raises ConvertError naming the layer
    that cannot be converted.
    """
    _refuse_keras3(model)
    require_qkeras()
    ensure_registered()
    import hls4ml

    from tinyrobust.convert.support import check_keras

    with quiet(), keras2.as_keras():
        check_keras(model)
        return hls4ml.converters.convert_from_keras_model(
            model, backend=backend, hls_config=hls_config, output_dir=str(output_dir), **options
        )


def _refuse_keras3(model: Any) -> None:
    """Keras 3, on which HGQ2 and later QKeras build, has other layers with the same names."""
    home = type(model).__module__.split(".")[0]
    version = str(getattr(sys.modules.get(home), "__version__", ""))
    if home == "keras" and version.startswith("3"):
        raise ConvertError(
            f"the model is one of Keras {version}; those of QKeras 0.9 on Keras 2 are converted",
            "HGQ2 and QKeras for Keras 3 are not read; train with QKeras 0.9.0, or with Brevitas "
            "and `tinyrobust convert FILE.onnx`",
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep hls4ml's progress off standard output, and two known warnings off standard error.

    Keras warns that QKeras's quantisers are no constraints; hls4ml divides by the scale of a
    channel without weights (see ``lowering.dead_channels_to_zero``).
    """
    with warnings.catch_warnings(), Path(os.devnull).open("w") as sink:
        warnings.filterwarnings("ignore", message=r".*keras\.constraints\.serialize")
        warnings.filterwarnings("ignore", message="divide by zero", module=r"hls4ml\.")
        with contextlib.redirect_stdout(sink):
            yield
