"""The hls4ml plug-in ``CortexM``: any QKeras user's way in, and the command line's.

In: a Keras model. Out: an hls4ml ``ModelGraph`` whose back end lowers it to the integer Graph.
hls4ml finds ``register`` through the entry point group ``hls4ml.backends`` (or the environment
variable ``HLS4ML_BACKEND_PLUGINS=tinyrobust.convert.plugin``). Nothing heavy is imported here
before it is used, so that hls4ml may import this module while it is being imported itself.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinyrobust.errors import ConvertError

NAME = "CortexM"
TRAIN_HINT = "pip install 'tinyrobust[train]' (Python 3.10 or 3.11)"


def register(register_backend: Callable[..., None], register_writer: Callable[..., None]) -> None:
    """Entry point: tell hls4ml of the back end ``CortexM`` and of its writer."""
    from tinyrobust.convert import depthwise
    from tinyrobust.convert.backend import CortexM, GraphWriter

    register_writer(NAME, GraphWriter)
    register_backend(NAME, CortexM)
    depthwise.register()


def ensure_registered() -> None:
    """Register the back end unless hls4ml has found it by itself.

    Raises ConvertError when the training extra is not installed.
    """
    backends, writers = _hls4ml()
    if NAME.lower() not in backends.get_available_backends():
        register(backends.register_backend, writers.register_writer)


def _hls4ml() -> tuple[Any, Any]:
    os.environ["TF_USE_LEGACY_KERAS"] = "0"  # 1 breaks QKeras on TensorFlow 2.15
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import hls4ml.backends
        import hls4ml.writer.writers
        import qkeras  # noqa: F401
    except ImportError as error:
        raise ConvertError(
            f"converting a model needs the training extra: {error.name} is not installed",
            TRAIN_HINT,
        ) from error
    return hls4ml.backends, hls4ml.writer.writers


def from_keras(
    model: Any, *, backend: str = NAME, hls_config: dict[str, Any] | None = None,
    output_dir: Path, **options: Any,
) -> Any:  # fmt: skip
    """``hls4ml.converters.convert_from_keras_model`` with the checks and errors of this project.

    ``options`` go to the back end: for ``CortexM`` ``model_name``, ``task``, ``labels``,
    ``made_from``, ``board``. Returns the hls4ml ModelGraph. Raises ConvertError naming the layer
    that cannot be converted.
    """
    ensure_registered()
    import hls4ml

    from tinyrobust.convert.support import check_keras

    with quiet():
        check_keras(model)
        return hls4ml.converters.convert_from_keras_model(
            model, backend=backend, hls_config=hls_config, output_dir=str(output_dir), **options
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
