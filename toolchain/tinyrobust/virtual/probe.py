"""Stage ``virtual``: a debug probe on a TCP port that the real pyOCD flashes through.

In: pyOCD's remote-probe requests (one JSON object a line, as ``pyocd/probe/tcp_probe_server.py``
describes). Out: answers from a ``DebugTarget``. Listens on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from tinyrobust.errors import BoardError
from tinyrobust.virtual.debug_port import DebugPort
from tinyrobust.virtual.debug_target import DebugTarget, TransferFault
from tinyrobust.virtual.engine import UcError

_GENERAL_ERROR, _TRANSFER_FAULT = 1, 12
_LINE_BYTES = 1 << 20
_MOST_WORDS = 1 << 16  # of one read_ap_multiple; pyOCD asks for 1 KiB at a time
_VERSION = 1
_PROPERTIES = {
    "vendor_name": "tinyrobust",
    "product_name": "virtual probe",
    "unique_id": "virtual",
    "supported_wire_protocols": ["DEFAULT", "SWD"],
    "wire_protocol": "SWD",
    "capabilities": [],
    "associated_board_info": None,
}


# What each request's arguments are. Nothing else reaches the debug port.
_Word = Annotated[int, Field(strict=True, ge=0, le=0xFFFFFFFF)]
_Register = Annotated[int, Field(strict=True, ge=0, le=0xFFFFFFFF)]
_Count = Annotated[int, Field(strict=True, ge=0, le=_MOST_WORDS)]
_Flag = Annotated[bool, Field(strict=True)]
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "hello": (int,), "readprop": (str,), "assert_reset": (_Flag | int,),
    "read_dp": (_Register,), "write_dp": (_Register, _Word),
    "read_ap": (_Register,), "write_ap": (_Register, _Word),
    "read_ap_multiple": (_Register, _Count), "write_ap_multiple": (_Register, list[_Word]),
}  # fmt: skip
_OPTIONAL = {"read_ap_multiple": 1}  # arguments that may be left away at the end
_FAULTS = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    struct.error, UcError, BoardError,
)  # fmt: skip


class ProbeServer:
    """Serves one client after the other from a thread; a context manager."""

    def __init__(self, target: DebugTarget, port: int) -> None:
        self._target = target
        self._dap = DebugPort(target)
        self._in_reset = False
        try:
            self._listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise BoardError(
                f"the virtual probe cannot listen on port {port}: {error.strerror}",
                "another program has it; choose another --probe-port",
            ) from error
        self.port = int(self._listener.getsockname()[1])
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="virtual-probe", daemon=True)
        self._thread.start()

    @property
    def probe_id(self) -> str:
        """What ``--probe`` wants."""
        return f"remote:127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop serving."""
        for end in (self._listener, self._client):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._thread.join(5)

    def __enter__(self) -> ProbeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._client = client
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client, contextlib.suppress(OSError), client.makefile("rwb") as stream:
                while (line := stream.readline(_LINE_BYTES)).endswith(b"\n"):
                    stream.write(json.dumps(self._answer(line)).encode() + b"\n")
                    stream.flush()
            self._client = None

    def _answer(self, line: bytes) -> dict[str, Any]:
        number: Any = None
        try:
            request = json.loads(line)
            number = _id(request)
            name = str(request["request"])
            handler = self._handlers()[name]
            result = handler(*_checked(name, request.get("arguments", [])))
        except TransferFault as error:
            return {"id": number, "status": _TRANSFER_FAULT, "error": str(error)}
        except ValidationError as error:
            said = error.errors(include_url=False, include_input=False)[0]["msg"]
            return {"id": number, "status": _GENERAL_ERROR, "error": said}
        except _FAULTS as error:  # whatever a request does: it is answered, and the next one too
            return {"id": number, "status": _GENERAL_ERROR, "error": repr(error)[:200]}
        answer: dict[str, Any] = {"id": number, "status": 0}
        if result is not None:
            answer["result"] = result
        return answer

    def _handlers(self) -> dict[str, Callable[..., Any]]:
        dap = self._dap
        return {
            "hello": self._hello,
            "readprop": _PROPERTIES.__getitem__,
            "open": _nothing,
            "close": _nothing,
            "lock": _nothing,
            "unlock": _nothing,
            "connect": _nothing,
            "disconnect": _nothing,
            "swj_sequence": _nothing,
            "swd_sequence": lambda: [0, []],
            "set_clock": _nothing,
            "flush": _nothing,
            "reset": self._target.reset,
            "assert_reset": self._assert_reset,
            "is_reset_asserted": lambda: self._in_reset,
            "read_dp": dap.read_dp,
            "write_dp": dap.write_dp,
            "read_ap": dap.read_ap,
            "write_ap": dap.write_ap,
            "read_ap_multiple": lambda at, count=1: [dap.read_ap(at) for _ in range(count)],
            "write_ap_multiple": self._write_ap_multiple,
            "get_memory_interface_for_ap": _nothing,
            "has_swo": lambda: False,
        }

    def _hello(self, version: int) -> None:
        if version != _VERSION:
            raise ValueError(f"protocol version {version} is not {_VERSION}")

    def _assert_reset(self, asserted: bool) -> None:
        if self._in_reset and not asserted:
            self._target.reset()
        self._in_reset = bool(asserted)

    def _write_ap_multiple(self, register: int, values: list[int]) -> None:
        for value in values:
            self._dap.write_ap(register, value)


def _id(request: Any) -> int | str | None:
    """A request's number, which its answer repeats."""
    number = request["id"]
    if not isinstance(number, (int, str)) or len(str(number)) > 64:
        raise ValueError("id is no number")
    return number


def _checked(name: str, given: Any) -> list[Any]:
    """The arguments of request ``name``. Raises ValidationError, ValueError."""
    if not isinstance(given, list):
        raise ValueError("arguments is no list")
    kinds = _ARGUMENTS.get(name)
    if kinds is None:  # it looks at none
        return []
    if not len(kinds) - _OPTIONAL.get(name, 0) <= len(given) <= len(kinds):
        raise ValueError(f"{name} takes {len(kinds)} arguments, not {len(given)}")
    return [_adapter(kind).validate_python(v) for kind, v in zip(kinds, given, strict=False)]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _nothing(*_arguments: Any) -> None:
    """A request that a virtual probe has nothing to do for."""
