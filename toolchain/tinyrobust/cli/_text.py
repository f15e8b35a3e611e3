"""Text for the terminal: lines as they are, commands quoted for a shell.

In: messages and words of users. Out: text that can be pasted and cannot steer the terminal.
Nothing heavy is imported: errors and ``--help`` need this alone.
"""

from __future__ import annotations

import re
import shlex

import click

# C0 and C1 controls but tab and line feed, and what stands for bytes that are no UTF-8
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def command_line(*words: object) -> str:
    """``words`` as a line that a shell reads back as these words."""
    return shlex.join(str(word) for word in words)


def visible(text: str) -> str:
    """``text`` with escapes for characters that steer a terminal or cannot be encoded."""

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        return f"\\x{code & 0xFF:02x}" if code < 0x100 or code >= 0xDC80 else f"\\u{code:04x}"

    return _UNSAFE.sub(escape, text)


def say_error(text: str) -> None:
    """A line on standard error."""
    click.echo(visible(text), err=True)
