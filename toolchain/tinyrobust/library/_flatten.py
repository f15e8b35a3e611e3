"""Sources of ``firmware/`` as files of one folder, under names that no other library has.

In: the sources that a model needs. Out: file name -> text with every include in it rewritten, and
the namespace ``tr`` and the C names ``tr_*`` given the library's own name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tinyrobust import __version__, resources
from tinyrobust.errors import BuildError

_INCLUDE = re.compile(r'^(\s*#\s*include\s+)"([^"]+)"', re.MULTILINE)
_C_NAME = re.compile(r"(?:\b|(?<=\\n))tr_")  # also behind the end of a line in assembly
_NAMESPACE = re.compile(r"\btr(?=::)|(?<=namespace )tr\b")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# What says whether DSP instructions are there is told first where they may be used.
_ASKS = "TR_PORTABLE"


def renamed(text: str, name: str, *, strings: bool = True) -> str:
    """``text`` with names of the library ``name``; without ``strings`` literals stay."""

    def change(part: str) -> str:
        return _NAMESPACE.sub(f"{name}_tr", _C_NAME.sub(f"{name}_tr_", part))

    if strings:
        return change(text)
    parts, at = [], 0
    for literal in _STRING.finditer(text):
        parts += [change(text[at : literal.start()]), literal[0]]
        at = literal.end()
    return "".join([*parts, change(text[at:])])


def licence(where: str) -> str:
    """The first line of a file that is made from ``where`` (a file of firmware/, or a stage)."""
    return f"/* SPDX-License-Identifier: Apache-2.0. tinyrobust {__version__}: {where} */\n"


class Flattened:
    """Every file that ``sources`` and the text ``generated`` include, however far down.

    ``include_dirs``: where they find headers. Raises BuildError for one that is not there.
    """

    def __init__(
        self, name: str, generated: str, sources: Sequence[Path], include_dirs: Sequence[Path]
    ) -> None:
        self.name = name
        self._dirs = include_dirs
        self._root = resources.root() / "firmware"
        found: dict[Path, str] = {}
        queue = [path.resolve() for path in sources]
        queue += [self._find(wanted, None) for wanted in _included(generated)]
        while queue:
            path = queue.pop()
            if path not in found:
                found[path] = path.read_text()
                queue += [self._find(wanted, path) for wanted in _included(found[path])]
        self._texts = dict(sorted(found.items()))
        stems = Counter((path.stem, path.suffix) for path in found)
        self._flat = {
            path: f"{name}_{path.stem}{path.suffix}"
            if stems[path.stem, path.suffix] == 1
            else f"{name}_{path.parent.name}_{path.stem}{path.suffix}"
            for path in found
        }

    def _find(self, wanted: str, includer: Path | None) -> Path:
        folders = [*([includer.parent] if includer is not None else []), *self._dirs]
        for folder in folders:
            if (folder / wanted).is_file():
                return (folder / wanted).resolve()
        raise BuildError(
            f"{includer or 'the generated source'} includes {wanted}, which is in none of "
            f"{', '.join(map(str, folders))}",
            "restore firmware/",
        )

    def files(self) -> dict[str, str]:
        """File name -> text."""
        return {self._flat[path]: self._file(path, text) for path, text in self._texts.items()}

    def _file(self, path: Path, text: str) -> str:
        head = licence(path.relative_to(self._root.resolve()).as_posix())
        if _ASKS in text:
            head += f'#include "{self.name}_config.h"\n'
        return head + renamed(self.rewritten(text, path), self.name)

    def rewritten(self, text: str, includer: Path | None = None) -> str:
        """``text`` with the flat names in its includes."""

        def replace(match: re.Match[str]) -> str:
            return f'{match[1]}"{self._flat[self._find(match[2], includer)]}"'

        return _INCLUDE.sub(replace, text)


def _included(text: str) -> Iterable[str]:
    return (match[2] for match in _INCLUDE.finditer(text))
