"""Stage ``flash``: running somebody else's flashing tool.

In: a command line. Out: its output, line by line as it comes, with how much is done; or a
FlashError in the tool's own last words, with what to try.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from tinyrobust.errors import FlashError

TIMEOUT_S = 300.0
_GRACE_S = 5.0  # for a tool to leave its probe in order after Ctrl-C
_LAST_LINES = 3
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TROUBLE = re.compile(
    r"error|fail|cannot|can't|could ?n.t|unable|denied|mismatch|not found|no device|timed out|"
    r"refused|protect|invalid|busy|\bno \w+ (connected|detected|available|capable|supported)",
    re.IGNORECASE,
)

# (what a tool says, in any case) -> what to try; the first that fits is taken.
Hints = Sequence[tuple[str, str]]
# Called with what the tool has just said, and how much is done (0 to 1, or None: it does not say).
Progress = Callable[[str, float | None], None]


def NO_PROGRESS(_words: str, _done: float | None) -> None:
    """Nobody looks."""


_running: set[subprocess.Popen[bytes]] = set()
_running_lock = threading.Lock()


def stop_tools() -> None:
    """End every tool that runs, so that the threads that wait for them get on."""
    with _running_lock:
        for process in _running:
            process.terminate()


def shell(commands: Sequence[Sequence[str]]) -> str:
    """What to paste into a shell to do the same."""
    return " && ".join(shlex.join(command) for command in commands)


def run_tool(
    name: str,
    command: Sequence[str],
    hints: Hints,
    *,
    progress: Progress = NO_PROGRESS,
    fraction: Callable[[str], float | None] = lambda words: None,
    failed: Sequence[str] = (),
    done: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run a flashing tool; its output.

    ``failed``: words of a failure though the exit status is 0; ``done``: words of a success though
    it is not. Raises FlashError with the tool's own last words and, from ``hints``, a next step. A
    KeyboardInterrupt ends the tool first.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise FlashError(
            f"cannot run {command[0]}: {error.strerror}",
            "check that it is installed and may be run: tinyrobust doctor",
        ) from error
    with _running_lock:
        _running.add(process)
    words = _Words(progress, fraction)
    try:
        _follow(process, words, time.monotonic() + timeout_s)
    except subprocess.TimeoutExpired as error:
        raise FlashError(
            f"{name} did not finish within {timeout_s:.0f} s{_quote(words.lines)}",
            hint_for(words.text, hints) or "unplug the probe and try again",
        ) from error
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)  # Ctrl-C reached the tool too
        raise
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        with _running_lock:
            _running.discard(process)
    text = words.text.lower()
    bad = process.returncode != 0 and not any(word.lower() in text for word in done)
    if bad or any(word.lower() in text for word in failed):
        raise FlashError(
            f"{name} failed (status {process.returncode}): {last_words(words.lines)}",
            hint_for(words.text, hints) or f"run it by hand: {shlex.join(command)}",
        )
    return words.text


def hint_for(text: str, hints: Hints) -> str:
    """What to try when a tool has said ``text``; nothing when no hint fits."""
    lower = text.lower()
    return next((hint for words, hint in hints if words.lower() in lower), "")


def last_words(lines: Sequence[str]) -> str:
    """The last few lines that tell of trouble, else the last few."""
    trouble = [line for line in lines if _TROUBLE.search(line)] or list(lines)
    return " / ".join(dict.fromkeys(trouble[-_LAST_LINES:])) or "it said nothing"


def _quote(lines: Sequence[str]) -> str:
    return f": {last_words(lines)}" if lines else ""


def _follow(process: subprocess.Popen[bytes], words: _Words, end: float) -> None:
    """Read until the tool ends. Raises TimeoutExpired."""
    assert process.stdout is not None
    source = process.stdout.fileno()
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise subprocess.TimeoutExpired(process.args, 0)
        if select.select([source], [], [], min(left, 1.0))[0]:
            data = os.read(source, 65536)
            if not data:
                break
            words.feed(data.decode(errors="replace"))
    words.end()
    process.wait(max(0.1, end - time.monotonic()))


class _Words:
    """What a tool has said: lines, and bars that grow in place."""

    def __init__(self, progress: Progress, fraction: Callable[[str], float | None]) -> None:
        self._progress, self._fraction = progress, fraction
        self._rest = ""
        self._told: float | None = None
        self.text = ""
        self.lines: list[str] = []

    def feed(self, data: str) -> None:
        data = _ANSI.sub("", data)
        self.text += data
        *pieces, self._rest = re.split(r"[\r\n\x08]+", self._rest + data)
        for piece in pieces:
            self._take(piece)
        if self._rest and (done := self._fraction(self._rest)) is not None:
            self._tell("", done)

    def end(self) -> None:
        self._take(self._rest)
        self._rest = ""

    def _take(self, piece: str) -> None:
        piece = piece.strip()
        if not piece:
            return
        done = self._fraction(piece)
        if done is None:
            self.lines.append(piece)
        self._tell("" if done is not None else piece, done)

    def _tell(self, words: str, done: float | None) -> None:
        if words or done != self._told:  # a bar is seen growing, then once more when it is whole
            self._progress(words, done)
        if done is not None:
            self._told = done
