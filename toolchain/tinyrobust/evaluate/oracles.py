"""Which Victim an evaluation attacks: who answers the questions, by name.

In: a name of ORACLES, the Model, a session with the board. Out: a Victim.

* ``interpreter``: the interpreter;
* ``native``: the same integers by vector code for this very processor, several times faster;
* ``host``: the firmware's C++ compiled for this computer; the same integers;
* ``device``: the board itself, over its serial link; the same integers, if it is right;
* ``qkeras``: the QKeras model that the Graph was converted from, scores and gradients both. Its
  floats are not the device's integers, so its attacks transfer to the device more or less well.
"""

from __future__ import annotations

from typing import Any

from tinyrobust import attacks
from tinyrobust.attacks import DeviceOracle, GraphVictim, HostOracle, NativeOracle, Victim
from tinyrobust.errors import TinyRobustError
from tinyrobust.graph.model import Model

ORACLES = ("interpreter", "native", "host", "device", "qkeras")


def fastest() -> str:
    """The oracle that attacks use when nothing is said."""
    return "native" if NativeOracle.available() else "interpreter"


def victim_for(oracle: str, model: Model, session: Any = None) -> Victim:
    """The Victim that ``oracle`` names; ``session`` is needed for ``device``.

    Raises TinyRobustError for another name, or when ``qkeras`` finds no trained model or no
    TensorFlow; BuildError when ``native`` or ``host`` finds no compiler.
    """
    if oracle in ("interpreter", "none"):
        return GraphVictim(model.graph)
    if oracle == "native":
        return GraphVictim(model.graph, NativeOracle(model.graph))
    if oracle == "host":
        return GraphVictim(model.graph, HostOracle(model.graph))
    if oracle == "device":
        return GraphVictim(model.graph, DeviceOracle(session, session.reconnect))
    if oracle == "qkeras":
        return attacks.keras_victim(model)
    raise TinyRobustError(f"no oracle '{oracle}'", f"one of {', '.join(ORACLES)}")
