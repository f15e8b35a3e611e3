"""What can compute a layer: every kernel that accepts it, in every variant and layout.

In: layers of a Graph, a core, forced choices. Out: Options with their predicted costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tinyrobust.errors import BudgetError, GraphError
from tinyrobust.graph.nodes import Graph
from tinyrobust.kernels import PLAIN, Cost, Kernel, Layer, Way, candidates, catalogue, predict, ways
from tinyrobust.kernels.catalogue import refusal
from tinyrobust.kernels.predict import code_pieces, overlap
from tinyrobust.registry import nearest

EVERY = "*"  # in place of a layer's name in `force`


@dataclass(frozen=True, eq=False)
class Option:
    """A kernel that accepts a layer, in one way, with what it costs there.

    ``code``: bytes of flash of the pieces of its code, each once in an image. ``overlap``: see
    kernel.yaml.
    """

    kernel: Kernel
    cost: Cost
    code: Mapping[str, int]
    way: Way = PLAIN
    overlap: int | None = None

    @property
    def label(self) -> str:
        """The choice as ``--kernel`` takes it: ``conv2d_x_u8`` or ``conv2d_x_u8:split=288``."""
        settings = [f"{name}={value}" for name, value in self.way.variant.items()]
        for port, layouts in self.kernel.file.layout.model_dump().items():
            if len(layouts) > 1:
                settings.append(f"{port}={getattr(self.way.ports, port)}")
        return f"{self.kernel.id}:{','.join(settings)}" if settings else self.kernel.id


def of_layer(layer: Layer, graph: Graph, core: str) -> list[Option]:
    """Every option of ``layer``. Raises GraphError when there is none."""
    return [
        Option(
            kernel, predict(kernel, layer, graph, core, way), code_pieces(kernel, core), way,
            overlap(kernel, layer, graph, core, way),
        )
        for kernel in candidates(layer, graph, core)
        for way in ways(kernel, layer, graph, core)
    ]  # fmt: skip


def distinct(row: Sequence[Option]) -> list[Option]:
    """``row`` without variants that cost what another one of the same kernel costs."""
    seen = {(o.kernel.id, o.way.ports, o.cost, o.overlap): o for o in reversed(row)}
    return [o for o in row if o in seen.values()]


def forced(
    layers: Sequence[Layer],
    options: Sequence[Sequence[Option]],
    force: Mapping[str, str],
    graph: Graph,
    core: str,
) -> list[list[Option]]:
    """``options`` with only what ``force`` allows for its layers.

    ``force`` maps layer names to a kernel's id, or to its id and some of its settings:
    ``id:split=288,source=planar4``. The name EVERY means all layers that accept it and have no
    entry of their own. Raises GraphError for an unknown layer, kernel or setting, BudgetError for
    a kernel that does not accept its layer.
    """
    by_name = {layer.name: (layer, row) for layer, row in zip(layers, options, strict=True)}
    allowed = {name: list(row) for name, (_, row) in by_name.items()}
    for name, text in _spread(force, options, layers).items():
        if name not in by_name:
            raise GraphError(f"no layer '{name}' to force a kernel on", nearest(name, by_name))
        layer, row = by_name[name]
        allowed[name] = _matching(layer, row, text, graph, core)
    return [allowed[layer.name] for layer in layers]


def _spread(
    force: Mapping[str, str], options: Sequence[Sequence[Option]], layers: Sequence[Layer]
) -> dict[str, str]:
    """``force`` with EVERY replaced by the layers that it stands for."""
    text = force.get(EVERY)
    named = {name: wanted for name, wanted in force.items() if name != EVERY}
    if text is None:
        return named
    kernel = text.partition(":")[0]
    takers = [layer.name for layer, row in zip(layers, options, strict=True)
              if any(o.kernel.id == kernel for o in row)]  # fmt: skip
    if not takers:
        every = sorted({o.kernel.id for row in options for o in row})
        raise GraphError(f"no layer accepts a kernel '{kernel}'", nearest(kernel, every))
    return {**dict.fromkeys(takers, text), **named}


def _matching(
    layer: Layer, row: Sequence[Option], text: str, graph: Graph, core: str
) -> list[Option]:
    name, _, settings = text.partition(":")
    fitting = sorted({o.kernel.id for o in row})
    if name not in catalogue():
        raise GraphError(f"no kernel '{name}' for layer '{layer.name}'", nearest(name, fitting))
    if name not in fitting:
        reason = refusal(catalogue()[name], layer, graph, core)
        raise BudgetError(
            f"kernel '{name}' does not accept layer '{layer.name}': {reason}",
            f"kernels that do: {', '.join(fitting)}",
        )
    mine = [o for o in row if o.kernel.id == name]
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        mine = [o for o in mine if _settings(o).get(key) == value]
    if not mine:
        labels = [o.label for o in row if o.kernel.id == name]
        raise GraphError(f"no '{text}' for layer '{layer.name}'", nearest(text, labels))
    return mine


def _settings(option: Option) -> dict[str, str]:
    variant = {name: str(value) for name, value in option.way.variant.items()}
    return {**asdict(option.way.ports), **variant}
