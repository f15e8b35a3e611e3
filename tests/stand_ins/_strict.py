"""What the stand-ins share: a parser that knows only the options it is told, and how to fail."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn


def note() -> list[str]:
    """Write the command line down; its arguments."""
    if said := os.environ.get("SAID"):
        with Path(said).open("a") as file:
            file.write(json.dumps(sys.argv[1:]) + "\n")
    return sys.argv[1:]


def refuse(why: str, status: int = 64) -> NoReturn:
    """The command line is wrong: the real tool would not take it, or do something else."""
    say(f"stand-in: {why}: {json.dumps(sys.argv[1:])}\n")
    sys.exit(status)


def parse(
    arguments: list[str], known: Mapping[str, bool], *, equals: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Options and the rest. ``known``: whether an option takes a value, as the next argument or,
    with ``equals``, behind an = sign. Unknown or repeated options are refused."""
    found: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            rest.append(word)
            continue
        name, sign, value = word.partition("=") if equals else (word, "", "")
        if name not in known or name in found:
            refuse(f"unknown or repeated option {name}")
        if known[name] and equals and not sign:
            refuse(f"{name} needs =VALUE")
        if known[name] and not equals:
            value = next(words, "")
            if not value:
                refuse(f"{name} needs a value")
        if sign and not known[name]:
            refuse(f"{name} takes no value")
        found[name] = value
    return found, rest


def file_of(path: str, *, hexadecimal: bool = False) -> bytes:
    """The content of the image; refused unless it is what this tool is given."""
    content = Path(path).read_bytes() if Path(path).is_file() else refuse(f"no file {path}")
    if content.startswith(b":") != hexadecimal:
        refuse(f"{path} is not {'Intel HEX' if hexadecimal else 'a binary'}")
    return content


def fail_if_asked() -> None:
    """Say and end as ``FAILURE`` tells."""
    if failure := json.loads(os.environ.get("FAILURE") or "null"):
        say(failure["text"] + "\n")
        sys.exit(failure["status"])


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def listed() -> str:
    """What was plugged in."""
    return os.environ.get("LISTED", "")
