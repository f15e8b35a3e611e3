"""Resource variables: what survives from run to run, step by step, in every engine of this computer
against the reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tests.tflite_models import Op, T, constant, write
from tinyrobust import boards, device, graph, image, virtual
from tinyrobust.errors import ConvertError, GraphError
from tinyrobust.graph import int8, ports
from tinyrobust.graph.file import from_bytes, to_bytes
from tinyrobust.tflite import importer as tflite
from tinyrobust.tflite.reference import Reference


def handle(name: str, index: int) -> Op:
    return Op("VAR_HANDLE", [], [index], "VarHandleOptions", {"SharedName": name})


def streaming(size: int = 4) -> bytes:
    """A window of the last four inputs of ``size`` elements, a dense layer over it, and the sum of
    all that it gave. The window is read before it is assigned and needed after that."""
    rng = np.random.default_rng(0)
    shape = (1, 4, size)
    tensors = [
        T((1, 1, size), 0.1, 3, name="x"), T((), type="RESOURCE"), T((), type="RESOURCE"),
        T((1, 3, size), 0.1, 3, name="past"), T(shape, 0.1, 3, name="window"),
        T((1, 3, size), 0.1, 3, name="next"), T((1, 4 * size), 0.1, 3), T((1, 5), 0.2, -5),
        T((1, 5), 0.4, 2, name="before"), T((1, 5), 0.4, 2, name="total"),
        constant(rng.integers(-127, 128, (5, 4 * size), dtype=np.int8), 0.02),
        *(constant(np.array(v, np.int32)) for v in ([0, 1, 0], [1, 4, size], [1, 1, 1])),
        constant(np.array([1, 4 * size], np.int32)),
    ]  # fmt: skip
    ops = [
        Op("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}),
        handle("memory", 1), handle("total", 2),
        Op("READ_VARIABLE", [1], [3], "ReadVariableOptions"),
        Op("CONCATENATION", [3, 0], [4], "ConcatenationOptions", {"Axis": 1}),
        Op("STRIDED_SLICE", [4, 11, 12, 13], [5], "StridedSliceOptions"),
        Op("ASSIGN_VARIABLE", [1, 5], [], "AssignVariableOptions"),
        Op("RESHAPE", [4, 14], [6]),
        Op("FULLY_CONNECTED", [6, 10], [7], "FullyConnectedOptions",
           {"FusedActivationFunction": 0}),
        Op("READ_VARIABLE", [2], [8], "ReadVariableOptions"),
        Op("ADD", [7, 8], [9], "AddOptions"),
        Op("ASSIGN_VARIABLE", [2, 9], [], "AssignVariableOptions"),
    ]  # fmt: skip
    initial = {
        "memory": constant(np.full((1, 3, size), 3, np.int8), 0.1, 3),
        "total": constant(np.arange(-2, 3, dtype=np.int8).reshape(1, 5), 0.4, 2),
    }
    return write(tensors, ops, [0], [9], initial=initial)


NET = tflite.from_bytes(streaming(), name="net")


def steps(count: int, seed: int = 0) -> np.ndarray:
    return ports.random_samples(NET, count, seed)


def test_states_are_part_of_the_graph() -> None:
    assert [node.initial.ravel()[:5].tolist() for node in NET.nodes if isinstance(node, int8.State)
            ] == [[3] * 5, [-2, -1, 0, 1, 2]]  # fmt: skip
    assert len(NET.states) == 2 and sum(n.op == "assign" for n in NET.nodes) == 2
    again = from_bytes(to_bytes(NET))
    assert again.sha256 == NET.sha256 and np.array_equal(
        graph.run(again, steps(5)), graph.run(NET, steps(5))
    )


def test_a_sequence_goes_on_where_it_was() -> None:
    samples = steps(20)
    whole, states = graph.run(NET, samples), graph.begin(NET)
    parts = [graph.advance(NET, samples[i : i + 7], states) for i in range(0, 20, 7)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(graph.trace(NET, samples)[NET.results[0].tensor].reshape(20, -1), whole)
    past = samples.reshape(20, 4)[-3:].astype(int) - 128
    assert np.array_equal(states[NET.states[0].tensor].reshape(3, 4), past)


def test_the_library_keeps_states_and_resets_them(tmp_path: Path) -> None:
    samples = steps(200)
    expected, states = graph.run(NET, samples), graph.begin(NET)
    model = image.HostModel(image.host_library(NET, tmp_path))
    found = [model.predict(samples[i : i + 9]) for i in range(0, 200, 9)]
    assert np.array_equal(np.concatenate(found), expected)
    graph.advance(NET, samples, states)
    assert np.array_equal(model.states(), np.concatenate([v.ravel() for v in states.values()]))
    model.reset_state()
    assert np.array_equal(model.predict(samples), expected)


def test_a_process_board_runs_each_step_once_and_large_outputs_come_in_pieces(
    tmp_path: Path,
) -> None:
    """Over the protocol: sequences, states, reset; a sequence cut in two is the same one."""
    net = tflite.from_bytes(streaming(600), name="net")  # 1,800 bytes of state: two pieces
    samples = ports.random_samples(net, 12, 1)
    expected, states = graph.run(net, samples), graph.begin(net)
    graph.advance(net, samples, states)
    board = boards.load("host")
    built = image.build(net, board, tmp_path, model_name="net")
    with (
        virtual.start(board, built) as running,
        device.Session.open(running.port, timeout_s=PATIENCE_S) as session,
    ):
        assert session.hello.state_bytes == 1800 + 5 and session.hello.max_batch == 1
        assert [t.name for t in session.hello.states] == [p.name for p in net.states]
        first = session.infer_many(samples[:5]).scores
        second = session.infer_many(samples[5:]).scores
        assert np.array_equal(np.concatenate([first, second]), expected)
        flat = np.concatenate([value.ravel() for value in states.values()])
        assert np.array_equal(session.states(), flat)
        session.reset_state()
        assert np.array_equal(session.infer_many(samples).scores, expected)


@pytest.mark.train
def test_two_hundred_steps_equal_the_reference() -> None:
    samples = steps(200, 3)
    assert np.array_equal(Reference(streaming(), NET).scores(samples), graph.run(NET, samples))


def exchange(crossed: bool) -> bytes:
    """Two variables that take each other's values, or one the other's."""
    tensors = [T((1, 2), 0.1, name="x"), T((), type="RESOURCE"), T((), type="RESOURCE"),
               T((1, 2), 0.1), T((1, 2), 0.1), T((1, 2), 0.1, name="y"), T((1, 2), 0.1),
               T((1, 2), 0.1, name="z")]  # fmt: skip
    ops = [
        Op("CALL_ONCE", [], [], "CallOnceOptions", {"InitSubgraphIndex": 1}),
        handle("a", 1), handle("b", 2),
        Op("READ_VARIABLE", [1], [3], "ReadVariableOptions"),
        Op("READ_VARIABLE", [2], [4], "ReadVariableOptions"),
        Op("MAXIMUM", [3, 0], [5], "MaximumMinimumOptions"),
        Op("ASSIGN_VARIABLE", [2, 3], [], "AssignVariableOptions"),
        Op("ASSIGN_VARIABLE", [1, 4 if crossed else 0], [], "AssignVariableOptions"),
        Op("READ_VARIABLE", [2], [6], "ReadVariableOptions"),
        Op("MINIMUM", [6, 5], [7], "MaximumMinimumOptions"),
    ]  # fmt: skip
    values = np.array([[5, -5]], np.int8)
    return write(tensors, ops, [0], [7], initial={n: constant(values, 0.1) for n in "ab"})


def test_a_delay_line_is_moved_in_the_right_order() -> None:
    net = tflite.from_bytes(exchange(crossed=False), name="net")
    samples = np.array([[1, 2], [3, 4], [5, 6]], np.uint8).reshape(3, 1, 1, 2) + np.uint8(128)
    states = graph.begin(net)
    graph.advance(net, samples, states)
    assert [v.ravel().tolist() for v in states.values()] == [[5, 6], [3, 4]]


def test_what_cannot_be_a_state_is_named() -> None:
    with pytest.raises(ConvertError, match="exchange their values"):
        tflite.from_bytes(exchange(crossed=True), name="net")
    with pytest.raises(GraphError, match="too late"):
        _late()


def _late() -> None:
    import dataclasses

    nodes = list(NET.nodes)
    at = next(i for i, n in enumerate(nodes) if n.op == "assign")
    reader = next(i for i, n in enumerate(nodes) if nodes[at].inputs[1] in n.inputs)
    nodes.insert(at + 1, dataclasses.replace(nodes[reader], name="again", output="again"))
    tensor = NET.tensor[NET.nodes[reader].output]
    tensors = (*NET.tensors, dataclasses.replace(tensor, name="again"))
    dataclasses.replace(NET, nodes=tuple(nodes), tensors=tensors)
