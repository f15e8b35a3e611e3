"""Hostile texts through every format's escape, read back by the format's own program or parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tinyrobust import escaping

HOSTILE = [
    'a"b', "a;touch pwned;", "$(touch pwned)", "a\n::error::pwn", "-rf", "$$(shell touch pwned)",
    "${PWN}", "$ENV{HOME}", "@PWN@", "{{7*7}}", "a\\b", "a\\", "a\\\n", "<x>alert(1)<y>",
    "##[error]x",
    "a\x1b[31mb", "a*b", "*/ int evil; /*", "// */", "??/", "a??/", "]]>", "%0A::error::x", "`id`",
    "``", "|x|", "[x](javascript:alert)", "![x](y)", "# x", "- x", "+ x", "> x", "1. x", "1) x",
    "===", "---", "~~~", "```", "_x_", "__x__", "conv_1_x", "&lt;", "&#60;", "$x$", "\u202egpj.exe",
    "\u2028", "\x00", "\x7f", "\x85", "\ufffe", "\ud800", "ü€😀", "'", "''", "!", "#[[", "[[ ]]",
    "",
    " ", "    x", "x#y", "x %s %n", "<!--", "-->", "https://x.invalid/<b>", "<https://x.invalid>",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join),
    st.text(st.characters(), max_size=30),
)
few = settings(max_examples=60, deadline=None)


@few
@given(TEXTS)
def test_a_line_is_one_visible_line(text: str) -> None:
    shown = escaping.line(text)
    assert shown.isprintable() and len(shown.splitlines()) <= 1
    assert "\u202e" not in shown
    assert escaping.line(shown) == shown


@few
@given(TEXTS)
def test_xml_is_read_back(text: str) -> None:
    top = ElementTree.Element("a", b=escaping.xml(text))
    top.text = escaping.xml(text)
    back = ElementTree.fromstring(ElementTree.tostring(top, "utf-8"))
    assert (back.text or "") == escaping.xml(text)
    assert escaping.xml("plain <text> & ü\n") == "plain <text> & ü\n"


@few
@given(TEXTS)
def test_yaml_is_read_back(text: str) -> None:
    assert yaml.safe_load(f"a: {escaping.yaml(text)}\nb: 1\n") == {"a": escaping.line(text), "b": 1}


def _tokens(source: str) -> list[str]:
    """Types of all tokens, inline ones too, of CommonMark with tables and strikethrough."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [
        inner.type for token in parser.parse(source) for inner in (token, *(token.children or []))
    ]


def _text(source: str) -> str:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return "".join(
        inner.content for token in parser.parse(source) for inner in token.children or []
    )  # fmt: skip


@few
@given(TEXTS)
@example("a\\|b")
def test_markdown_is_plain_text_in_every_place(text: str) -> None:
    made, plain = escaping.markdown(text), escaping.line(text).strip()
    assert _text(f"x {made} y") == f"x {plain} y" or not plain
    if not plain:
        return
    paragraph = {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}
    assert set(_tokens(made)) <= paragraph and _text(made) == plain
    assert set(_tokens(f"# {made}")) <= {
        "heading_open",
        "heading_close",
        "inline",
        "text",
        "text_special",
    }
    table = _tokens(f"| a | b |\n| --- | --- |\n| {made} | c |\n")
    assert table.count("td_open") == 2 and not {"html_inline", "link_open", "em_open"} & {*table}


def test_markdown_leaves_names_as_they_are() -> None:
    for name in ("conv_1", "nucleo-h743", "8/255 (L2)", "0.5-0.7 %", "a.b:c", "shapes-small on x"):
        assert escaping.markdown(name) == name


@few
@given(TEXTS)
def test_markdown_code_and_blocks(text: str) -> None:
    code = escaping.markdown_code(text)
    assert set(_tokens(f"x {code} y")) <= {
        "paragraph_open",
        "inline",
        "text",
        "code_inline",
        "paragraph_close",
    }
    block = "\n".join(escaping.markdown_block(text))
    assert _tokens(block) == ["fence"]


@few
@given(TEXTS)
def test_github_commands_are_none(text: str) -> None:
    shown = escaping.github_line(text)
    assert not shown.startswith("::") and "##[" not in shown and "\n" not in shown
    message = escaping.github(text)
    assert "\n" not in message and "\r" not in message
    assert not set(",:\n\r") & set(escaping.github_property(text))


def test_shell_words_are_read_back(tmp_path: Path) -> None:
    words = [word for word in HOSTILE if "\x00" not in word and "\ud800" not in word]
    script = "printf '%s\\0' " + " ".join(map(escaping.shell, words)) + "\n"
    assert script.isprintable() or script[:-1].isprintable()
    done = subprocess.run(["bash", "-c", script], capture_output=True, cwd=tmp_path, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words
    assert not list(tmp_path.iterdir())


def test_makefiles(tmp_path: Path) -> None:
    lines = [f"V{i} := {escaping.make(text)}\n# {escaping.hash_comment(text)}\n"
             for i, text in enumerate(HOSTILE)]  # fmt: skip
    lines.append("$(foreach i,$(NUMBERS),$(info <$(V$(i))>))\nall:\n\t@true\n")
    (tmp_path / "Makefile").write_text("".join(lines))
    numbers = " ".join(str(i) for i in range(len(HOSTILE)))
    done = subprocess.run(
        ["make", "-s", f"NUMBERS={numbers}", "PWN=pwned"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wanted = [f"<{escaping.line(t).replace(chr(92), '/').lstrip()}>" for t in HOSTILE]
    assert done.stdout.splitlines() == wanted
    assert [p.name for p in tmp_path.iterdir()] == ["Makefile"]


def test_cmake_scripts(tmp_path: Path) -> None:
    script = tmp_path / "hostile.cmake"
    script.write_text("".join(
        f'# {escaping.hash_comment(text)}\n#{escaping.hash_comment(text)}\n'
        f'set(V "{escaping.cmake(text)}")\nlist(LENGTH V n)\nmessage(STATUS "${{n}} ${{V}}")\n'
        for text in HOSTILE
    ))  # fmt: skip
    done = subprocess.run(["cmake", "-P", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [row.removeprefix("-- ") for row in done.stdout.splitlines()]
    wanted = [escaping.cmake(text) for text in HOSTILE]
    assert shown == [f"{int(bool(text))} {text}" for text in wanted]
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.cmake"]


def test_comments_of_c(tmp_path: Path) -> None:
    source = "".join(
        f"/* {escaping.comment(t)} */ int a{i};\n// {escaping.comment(t)}\nint b{i};\n"
        for i, t in enumerate(HOSTILE)
    )
    flags = ["-std=c++11", "-trigraphs", "-Wall", "-Wcomment", "-Werror", "-fsyntax-only", "-xc++"]
    done = subprocess.run(["g++", *flags, "-"], input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["g++", *flags[:-2], "-E", "-P", "-xc++", "-"], input=source, capture_output=True, text=True
    )
    assert done.stdout.count("int ") == 2 * len(HOSTILE)


@few
@given(TEXTS)
def test_kconfig_and_properties_stay_one_value(text: str) -> None:
    shown = escaping.kconfig(text)
    assert not set('"\\$\n') & set(shown)
    assert "\n" not in escaping.properties(text)


def test_every_text_of_a_document() -> None:
    document = {"a": ["<b>", 1, None], "<c>": {"d": ("<", 0.5)}}
    assert json.dumps(escaping.every(document, escaping.markdown)) == json.dumps(
        {"a": ["&lt;b>", 1, None], "&lt;c>": {"d": ["&lt;", 0.5]}}
    )
