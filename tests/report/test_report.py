"""Reports: every form holds the figures, and says what was not measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from markdown_it import MarkdownIt

from tests.evaluation import GRAPH, MEMORY, FakeSession, config, samples
from tinyrobust import report
from tinyrobust.cli.main import run as tinyrobust
from tinyrobust.errors import TinyRobustError
from tinyrobust.evaluate import evaluate, journal, summarise
from tinyrobust.report import html, junit, markdown, plots, words


def make(out: Path, device: FakeSession | None = None, **header: Any) -> dict[str, Any]:
    images, labels = samples(GRAPH)
    about = {"about": {"board_title": "ST NUCLEO <H743>"}, "command": "tinyrobust evaluate --x"}
    journal = evaluate(
        config(GRAPH), GRAPH, images, labels, device or FakeSession(GRAPH), out,
        memory=MEMORY, header={**about, "versions": {"numpy": "1", "art": None}, **header},
    )  # fmt: skip
    return summarise(journal.records)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make(tmp_path_factory.mktemp("report"))


class Outside(HTMLParser):
    """Collects whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not str(value).startswith("#"):
                self.found.append(str(value))


def test_the_page_is_self_contained_and_whole(figures: dict[str, Any]) -> None:
    page = html.render(figures)
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert outside.tags.count("svg") == 3
    assert "script" not in outside.tags
    assert "<H743>" not in page and "&lt;H743&gt;" in page
    for row in words.rows(figures):
        assert row["accuracy"] in page
    for wanted in ("virtual board", "no time was measured", GRAPH.sha256, "480 k",
                   "tinyrobust evaluate --x", "0 integers differ"):  # fmt: skip
        assert wanted in page, wanted


def test_the_page_needs_no_memory_and_no_counter(figures: dict[str, Any]) -> None:
    bare = figures | {
        "memory": {}, "attacks": [], "worst": [],
        "cost": figures["cost"] | {"unit": None, "mean": 0, "layers": []},
    }  # fmt: skip
    assert "not counted on this board" in html.render(bare)
    assert markdown.render(bare)
    assert junit.render(bare)


def test_equal_figures_give_equal_plots(figures: dict[str, Any]) -> None:
    assert plots.accuracy(figures) == plots.accuracy(figures)
    assert plots.memory(figures).startswith("<svg")


def test_markdown_holds_the_tables(figures: dict[str, Any]) -> None:
    text = markdown.render(figures)
    assert "| clean | - | 85.0 % |" in text
    assert "| conv1 | conv2d_t2_u8 | 1 k | 400,000 | 83.3 % | 0.1 KiB |" in text
    assert "no time was measured" in text
    widths = {line.count("|") for line in re.findall(r"(?:^\|.*\n)+", text, re.M)[0].splitlines()}
    assert len(widths) == 1


HOSTILE = '"><script>alert(1)</script>|`x`\n::error::y]]>&\x1b[31m$x_1$'


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts of a record are."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, (dict, list)):
            yield from _texts(item, (*path, key))
        elif isinstance(item, str):
            yield (*path, key)


def _rendered_safely(records: list[dict[str, Any]]) -> None:
    figures = summarise(records)
    parsed = MarkdownIt("commonmark").enable("table").parse(markdown.render(figures))
    kinds = {inner.type for token in parsed for inner in (token, *(token.children or []))}
    assert not {"html_block", "html_inline", "link_open", "image"} & kinds
    Xml.fromstring(junit.render(figures))


def _tags(page: str) -> list[str]:
    outside = Outside()
    outside.feed(page)
    return outside.tags


def test_no_text_of_a_record_becomes_markup(tmp_path: Path) -> None:
    """Each text in turn, wherever a record has one; those that the tool refuses are as good."""
    make(tmp_path)
    records = journal.read(tmp_path)
    changed = 0
    for number, record in enumerate(records):
        for path in _texts(record):
            if path in (("type",), ("schema",)):
                continue
            hostile = json.loads(json.dumps(records))
            target = hostile[number]
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = HOSTILE
            try:
                _rendered_safely(hostile)
            except TinyRobustError:
                continue
            changed += 1
            if changed % 10 == 1:  # its plots take long
                page = html.render(summarise(hostile))
                assert "script" not in _tags(page) and "\x1b" not in page
    assert changed > 20


def test_a_real_board_is_reported_with_milliseconds(tmp_path: Path) -> None:
    text = markdown.render(make(tmp_path, FakeSession(GRAPH, is_virtual=False)))
    assert "480 k cycles (1.00 ms at 480 MHz)" in text
    assert "virtual" not in text


def test_junit_counts_what_failed(figures: dict[str, Any], tmp_path: Path) -> None:
    quiet = [check | {"status": "no sign", "texts": []} for check in figures["masking"]]
    quiet[0] |= {"status": "not measured"}
    suite = Xml.fromstring(junit.render(figures | {"masking": quiet}))
    assert suite.get("failures") == "0"
    assert int(suite.get("tests", 0)) == len(suite.findall("testcase")) == 21
    assert [s.get("message") for s in suite.iter("skipped")] == ["not measured"]
    loud = [check | {"status": "sign", "texts": ["weaker < noise"]} for check in quiet[:1]]
    bad = make(tmp_path, FakeSession(GRAPH, wrong=1)) | {"masking": loud}
    bad["memory"]["image"]["flash"] = {"used_bytes": 2, "budget_bytes": 1, "parts": []}
    suite = Xml.fromstring(junit.render(bad))
    assert suite.get("failures") == "3"
    messages = [f.get("message") for f in suite.iter("failure")]
    assert "12 integers differ" in messages
    assert "weaker < noise" in messages


def test_different_integers_are_never_hidden(tmp_path: Path) -> None:
    bad = make(tmp_path, FakeSession(GRAPH, wrong=1))
    assert any("Do not trust" in line for line in report.statements(bad))
    assert "12 integers differ" in html.render(bad)


def test_all_forms_are_written_and_made_again(
    figures: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make(tmp_path)
    files = report.write(made, tmp_path)
    document = json.loads(files.json.read_text())
    assert document["schema"] == "tinyrobust.evaluate/1"
    assert document == json.loads(json.dumps(made))
    before = {p.name: p.read_bytes() for p in (files.html, files.markdown, files.json, files.junit)}
    assert tinyrobust(["report", str(tmp_path / journal.FILE), "--out", str(tmp_path / "b")]) == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()} == before
    capsys.readouterr()
    assert tinyrobust(["report", str(tmp_path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "tinyrobust.evaluate/1"


def test_a_report_without_records_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tinyrobust(["report", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read")


def test_attacks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tinyrobust(["attacks", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tinyrobust.attacks/1"
    assert {"pgd", "square", "fgsm", "noise"} <= {a["name"] for a in found["attacks"]}
    assert tinyrobust(["attacks"]) == 0
    assert "arXiv:1706.06083" in capsys.readouterr().out.replace("\n", "")
