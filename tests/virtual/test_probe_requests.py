"""The virtual probe's port: whatever one request says, it is answered, and so is the next."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tinyrobust import boards
from tinyrobust.virtual.debug_target import DebugTarget
from tinyrobust.virtual.probe import _ARGUMENTS, ProbeServer

RANDOM_REQUESTS = 1500
VALUES = [
    None, True, -1, 0, 1, 4, 8, 12, 255, 0xFFFFFFFF, 1 << 32, 1 << 64, 10**400, 1.5, float("nan"),
    float("inf"), "", "x", "write_ap", [], {}, [1], [[1]], [1 << 32], {"a": 1}, [None] * 50,
    "\u202e", [-1], [0] * 300,
]  # fmt: skip


@pytest.fixture(scope="module")
def probe() -> Iterator[ProbeServer]:
    with ProbeServer(DebugTarget(boards.load("nucleo-h743")), 0) as server:
        yield server


class Client:
    """One connection: lines out, answers in."""

    def __init__(self, probe: ProbeServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", probe.port), timeout=60)
        self.stream = self.socket.makefile("rwb")

    def ask(self, line: bytes) -> Any:
        self.stream.write(line + b"\n")
        self.stream.flush()
        return json.loads(self.stream.readline())

    def call(self, name: str, *arguments: Any) -> Any:
        return self.ask(json.dumps({"id": 7, "request": name, "arguments": arguments}).encode())

    def lives(self) -> None:
        assert self.call("read_dp", 0) == {"id": 7, "status": 0, "result": 0x6BA02477}

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.fixture
def client(probe: ProbeServer) -> Iterator[Client]:
    made = Client(probe)
    yield made
    made.close()


def test_only_this_computer_reaches_it(probe: ProbeServer) -> None:
    assert probe._listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("line", [
    b"[" * 100_000, b"{" * 100_000, b'{"a":' * 50_000, b"", b"\0", b"\xff\xfe", b"null", b"[]",
    b"{}", b'{"id": 1}', b'{"id": [], "request": "hello"}', b'{"id": 1, "request": []}',
    b'{"id": 1, "request": "hello", "arguments": {}}', b'{"id": 1, "request": "__init__"}',
    b'{"id": ' + b"9" * 5000 + b', "request": "hello"}',
])  # fmt: skip
def test_a_line_that_is_no_request_is_answered(client: Client, line: bytes) -> None:
    assert client.ask(line)["status"] == 1
    client.lives()


@pytest.mark.parametrize(("name", "arguments"), [
    ("write_ap", (4, 1 << 40)), ("write_ap", (4, -1)), ("write_ap", (1 << 40, 0)),
    ("write_ap", (12, "x")), ("write_ap", ()), ("write_ap", (1, 2, 3)), ("write_dp", (8, -5)),
    ("read_ap_multiple", (12, 1 << 17)), ("read_ap_multiple", (12, -1)), ("read_ap", (None,)),
    ("write_ap_multiple", (12, [1 << 32])), ("write_ap_multiple", (12, 5)), ("readprop", ("x",)),
    ("hello", (2,)), ("assert_reset", ([],)), ("no_such", ()),
])  # fmt: skip
def test_a_request_out_of_range_is_refused(client: Client, name: str, arguments: Any) -> None:
    assert client.call(name, *arguments)["status"] == 1
    client.lives()


def test_a_line_without_an_end_ends_its_connection_alone(probe: ProbeServer) -> None:
    for ending in (True, False):
        endless = Client(probe)
        endless.stream.write(b"x" * ((1 << 20) + 1000) if ending else b'{"id": 1')
        endless.stream.flush()
        if ending:
            assert endless.socket.recv(1) == b""
        endless.close()
    again = Client(probe)
    again.lives()
    again.close()


def test_random_requests_end_nothing(probe: ProbeServer) -> None:
    random_ = random.Random(3)
    names = [*_ARGUMENTS, "reset", "open", "swd_sequence", "connect", "flush", "has_swo"]
    client = Client(probe)
    for _ in range(RANDOM_REQUESTS):
        name = random_.choice(names)
        given = [random_.choice(VALUES) for _ in range(random_.randrange(4))]
        if random_.random() < 0.5 and name in _ARGUMENTS:  # of the right number and kind, mostly
            given = [random_.choice([0, 4, 8, 12, random_.getrandbits(32)]) for _ in
                     _ARGUMENTS[name]]  # fmt: skip
            if name == "read_ap_multiple":
                given[1] %= 20
            if name == "write_ap_multiple":
                given[1] = [random_.getrandbits(32) for _ in range(3)]
        answer = client.call(name, *given)
        assert answer["id"] == 7 and answer["status"] in (0, 1, 12)
    client.close()
    fresh = Client(probe)
    fresh.lives()
    fresh.close()
