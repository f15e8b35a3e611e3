"""What ports say of themselves (port.yaml), the settings of boards, and code that ports share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.graphs import tiny_graph
from tinyrobust import boards, image, resources
from tinyrobust.errors import BoardError
from tinyrobust.image import compilers, ports
from tinyrobust.image.build import board_text
from tinyrobust.image.objects import Source, compile_all

NAMES = [n for n in boards.names() if not boards.load(n).is_host]
FOLDER = resources.root() / "firmware" / "ports"
F446 = (resources.root() / "boards" / "nucleo-f446.yaml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_board_gives_its_port_what_it_wants(name: str) -> None:
    board = boards.load(name)
    assert not ports.wrong_settings(board)
    ports.check(board)


def test_folders_that_are_only_shared_are_no_ports() -> None:
    shared = {folder for port in ports.known_ports() for folder in ports.port_file(port).uses}
    assert "stm32" in shared
    assert not shared & set(ports.known_ports())
    assert {boards.load(name).port for name in boards.names()} <= set(ports.known_ports())


@pytest.mark.parametrize("port", ports.known_ports())
def test_what_a_port_uses_is_there(port: str) -> None:
    for folder in ports.port_file(port).uses:
        assert any((FOLDER / folder).glob("*.cpp"))


def test_every_setting_is_read_by_some_code_and_the_other_way_round() -> None:
    for port in ports.known_ports():
        file = ports.port_file(port)
        text = "".join(
            p.read_text() for f in (port, *file.uses) for p in sorted((FOLDER / f).glob("*.[ch]pp"))
        )
        said = set(file.settings).union(*(ports.port_file(f).settings for f in file.uses))
        assert set(re.findall(r"tr_setting_(\w+)", text)) == said, port


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  uart_rx: PA3\n", "", "settings.uart_rx is missing: pin of its RX"),
        ("  uart_rx: PA3\n", "  uart_rxx: PA3\n  uart_rx: PA3\n",
         r"no setting 'uart_rxx'; did you mean 'uart_rx'"),
        ("port: stm32f4\n", "port: stm32f5\n", r"no port 'stm32f5'; did you mean 'stm32"),
        ("port: stm32f4\n", "port: stm32\n", "no port 'stm32'; "),
    ],
)  # fmt: skip
def test_a_board_that_does_not_suit_its_port_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in F446
    (tmp_path / "mine.yaml").write_text(F446.replace(old, new, 1))
    board = boards.load(tmp_path / "mine.yaml")
    with pytest.raises(BoardError) as caught:
        image.build(tiny_graph(), board, tmp_path / "out", model_name="tiny")
    assert re.search(message, str(caught.value))


def test_settings_become_constants() -> None:
    text = board_text(boards.load("nucleo-f446"))
    assert 'const char tr_setting_uart_tx[] = "PA2";' in text
    assert "const uint32_t tr_setting_uart_base = 0x40004400;" in text
    assert "const uint32_t tr_board_flash_bytes = 0x80000;" in text


def test_shared_code_is_compiled_for_each_family(tmp_path: Path) -> None:
    """Two families have headers of the same name: the kept object of one is not the other's."""
    compiler = compilers.for_board(boards.load("nucleo-f446"))
    source = Source(FOLDER / "stm32" / "stm32.cpp", "ports/stm32/stm32.cpp", ("-O2",))
    objects = []
    for family in ("stm32f4", "stm32l4", "stm32f4"):
        include = [FOLDER.parent / "include", *(FOLDER / f for f in (family, "stm32", "cortexm"))]
        made = compile_all([source], compiler, include, tmp_path / family)
        objects.append(made[0].path.read_bytes())
    assert objects[0] != objects[1]
    assert objects[0] == objects[2]
