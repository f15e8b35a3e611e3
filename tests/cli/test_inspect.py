"""`tinyrobust inspect`: facts of the nodes, and an arena over time that is the plan's."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import random_graph
from tests.tflite_cases import CASES
from tinyrobust import boards, memory
from tinyrobust.cli.main import run
from tinyrobust.evaluate import inspection
from tinyrobust.graph import Graph
from tinyrobust.graph.model import load_model
from tinyrobust.kernels import view_roots
from tinyrobust.tflite import importer as tflite


def graphs() -> list[Graph]:
    operators = ("CONV_2D", "ADD", "CONCATENATION", "SPLIT", "RESHAPE SQUEEZE TRANSPOSE")
    rng = np.random.default_rng(3)
    made = [tflite.from_bytes(CASES[name](rng), name="case") for name in operators]
    return [load_model("shapes-small").graph, *(random_graph(i) for i in range(4)), *made]


@pytest.mark.parametrize("net", graphs(), ids=lambda net: net.name)
def test_the_arena_over_time(net: Graph) -> None:
    plan = memory.plan(net, boards.load("nucleo-h743"))
    found = inspection.inspect(plan)
    assert max(b.offset + b.bytes for b in found.blocks) <= plan.arena_bytes
    assert max(found.in_use_bytes) <= plan.arena_bytes
    roots = view_roots(net)
    for i, step in enumerate(plan.steps):
        alive = {b.name for b in found.blocks if b.first <= i <= b.last and b.kind != "scratch"}
        alive |= {name.partition("@")[0] for name in alive}  # a copy in another layout
        assert {roots.get(name, name) for name in step.reads} | {step.output} <= alive
        line = inspection.strip(found.blocks, plan, i, 32)
        assert len(line) == 32 and "#" in line
    for a, b in itertools.combinations(found.blocks, 2):
        apart = a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset
        # Together they lie only where a step writes over what it is the last to read.
        assert apart or a.last <= b.first or b.last <= a.first, (a, b)


def test_nodes_of_a_tflite_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    net = tflite.from_bytes(CASES["CONV_2D int4"](rng), name="case")
    first, conv = inspection.nodes(net)
    assert (first.op, conv.op) == ("input_int8", "conv2d_int8")
    assert conv.weight_bits == 4 and conv.weights == net.nodes[1].arrays["weights"].size
    assert conv.macs == net.macs(net.nodes[1]) > 0 and first.macs == 0
    assert (conv.scale, conv.zero_point) == (net.output.scale, net.output.zero_point)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, drawn, out = (tmp_path / name for name in ("conv.tflite", "arena.svg", "out.json"))
    path.write_bytes(CASES["CONV_2D"](np.random.default_rng(1)))
    command = ["inspect", str(path), "--board", "mps2-an386", "--plot", str(drawn)]
    assert run([*command, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "conv_2d_0" in text and "one inference:" in text and "flash:" in text
    assert drawn.read_text().startswith("<svg")
    result = json.loads(out.read_text())
    assert result["schema"] == "tinyrobust.inspect/1" and result["family"] == "tflite"
    assert [n["op"] for n in result["nodes"]][1] == "conv2d_int8"
    assert len(result["in_use_bytes"]) == len(result["plan"]["steps"])


def test_zoo_models_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "shapes-small"]) == 0
    assert "family 'fixed'" in capsys.readouterr().out
