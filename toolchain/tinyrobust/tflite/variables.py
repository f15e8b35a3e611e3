"""Resource variables of a ``.tflite`` file as states of the Graph.

In: CALL_ONCE, VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE in the file's order, and the nodes that
the other operators became. Out: a State for every variable that is read, an Assign for each that
gets another value. A variable that was assigned is that value to whoever reads it later in the same
run; so an Assign may stand where nobody needs the state's memory for what it was before.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

import numpy as np

from tinyrobust.graph import int8
from tinyrobust.graph.base import Node, Reshape, Tensor
from tinyrobust.tflite.context import RANGES, Unsupported, graph_shape, graph_tensor, quote
from tinyrobust.tflite.file import File, FileOperator, FileTensor

OPERATORS = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
_DTYPES = {"INT8": np.int8, "INT16": np.int16, "INT32": np.int32}


@dataclass
class Variables:
    """What is known of a file's variables so far; ``file`` with the subgraphs that CALL_ONCE names.

    ``handles``: variable by the tensor that names it; ``initial``: its first values; ``current``:
    the Graph's tensor that it is now; ``states``: by variable its State.
    """

    file: File
    handles: dict[int, str] = field(default_factory=dict)
    initial: dict[str, FileTensor] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    states: dict[str, int8.State] = field(default_factory=dict)

    def take(
        self, operator: FileOperator, names: MutableMapping[int, str]
    ) -> tuple[int8.State, Tensor] | None:
        """Follow one operator; the State and its tensor where one is read for the first time.

        ``names`` gives the Graph's names of the file's tensors; what is read gets its own there.
        Raises Unsupported.
        """
        if operator.code == "CALL_ONCE":
            self._call(operator)
        elif operator.code == "VAR_HANDLE":
            self.handles[self._one(operator.outputs)] = _name(operator)
        elif operator.code == "ASSIGN_VARIABLE":
            if len(operator.inputs) != 2:
                raise Unsupported(f"has {len(operator.inputs)} inputs; need 2")
            if self.file.tensors[operator.inputs[1]].constant:
                raise Unsupported("assigns a constant")
            self.current[self._variable(operator)] = names[operator.inputs[1]]
        else:
            return self._read(operator, names)
        return None

    def _one(self, indices: tuple[int, ...]) -> int:
        if len(indices) != 1:
            raise Unsupported(f"has {len(indices)} outputs; need 1")
        return indices[0]

    def _variable(self, operator: FileOperator) -> str:
        found = self.handles.get(operator.inputs[0]) if operator.inputs else None
        if found is None:
            raise Unsupported("its variable has no VAR_HANDLE")
        return found

    def _call(self, operator: FileOperator) -> None:
        """The values that a subgraph gives variables before the first run."""
        number = int(operator.options.get("InitSubgraphIndex", 0))
        if not 1 <= number <= len(self.file.others):
            raise Unsupported(f"calls subgraph {number} of {len(self.file.others) + 1}")
        called = self.file.others[number - 1]
        handles: dict[int, str] = {}
        for step in called.operators:
            if step.code == "VAR_HANDLE":
                handles[self._one(step.outputs)] = _name(step)
                continue
            if step.code != "ASSIGN_VARIABLE" or len(step.inputs) != 2:
                raise Unsupported(f"calls subgraph {number}, which has {step.code}")
            value = called.tensors[step.inputs[1]]
            if not value.constant or step.inputs[0] not in handles:
                raise Unsupported(f"calls subgraph {number}, which assigns what is no constant")
            self.initial[handles[step.inputs[0]]] = value

    def _read(
        self, operator: FileOperator, names: MutableMapping[int, str]
    ) -> tuple[int8.State, Tensor] | None:
        name, index = self._variable(operator), self._one(operator.outputs)
        out = self.file.tensors[index]
        if name in self.current:
            names[index] = self.current[name]
            return None
        if out.type not in RANGES:
            raise Unsupported(f"{quote(out)} is {out.type}; need {', '.join(RANGES)}")
        shape = graph_shape(out)
        value = self.initial.get(name)
        if value is None:
            raise Unsupported(f"no CALL_ONCE gives {quote(out)} its first value")
        if value.type != out.type or value.size != out.size:
            raise Unsupported(f"{quote(out)} begins as {value.type} {value.shape}")
        tensor = graph_tensor(names[index], shape, out)
        initial = np.ascontiguousarray(value.values.astype(_DTYPES[out.type]).reshape(shape))
        state = int8.State(f"state_{len(self.states)}", (), tensor.name, initial)
        self.states[name] = state
        self.current[name] = tensor.name
        return state, tensor

    def assigned(self, nodes: list[Node], tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Put the Assigns into ``nodes``, each as early as it may stand; the tensors they make.

        Raises Unsupported where two variables exchange their values.
        """
        waiting = {
            name: state for name, state in self.states.items()
            if self.current[name] != state.output
        }  # fmt: skip
        made = []
        while waiting:
            roots = _roots(nodes)
            # One that takes another's state must come before that one is assigned.
            ready = [
                name for name in waiting
                if not any(
                    roots.get(self.current[other]) == waiting[name].output
                    for other in waiting if other != name
                )
            ]  # fmt: skip
            if not ready:
                raise Unsupported("variables exchange their values")
            name = ready[0]
            state, value = waiting.pop(name), self.current[name]
            tensor = tensors[state.output]
            after = max(
                i for i, node in enumerate(nodes)
                if node.output == value
                or any(roots.get(source) == state.output for source in node.inputs)
                or node is state
            )  # fmt: skip
            new = Tensor(
                f"{state.name}.next", tensor.shape, tensor.lo, tensor.hi, 0, tensor.scale,
                tensor.zero_point,
            )  # fmt: skip
            made.append(new)
            assign = int8.Assign(f"assign_{state.name}", (value, state.output), new.name)
            nodes.insert(after + 1, assign)
        return made


def _name(operator: FileOperator) -> str:
    """What a handle refers to: its container and its name there."""
    parts = (operator.options.get(key) for key in ("Container", "SharedName"))
    return "/".join(p.decode("utf-8", "replace") if isinstance(p, bytes) else "" for p in parts)


def _roots(nodes: list[Node]) -> dict[str, str]:
    """The state's tensor of every tensor that is a state or a reshape of one."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, int8.State):
            found[node.output] = node.output
        elif isinstance(node, Reshape) and node.inputs[0] in found:
            found[node.output] = found[node.inputs[0]]
    return found
