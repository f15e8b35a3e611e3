"""A worker of its own process: ``python -m tinyrobust.search.child FOLDER TRIALS``.

In: a search's folder. Out: exit code 0 when no trial is left, else that of the error, in one line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tinyrobust.errors import EXIT_INTERRUPTED, TinyRobustError
from tinyrobust.recipes import Recipe
from tinyrobust.search.study import Folder, read_settings
from tinyrobust.search.worker import work


class Silent:
    """A Watcher that shows nothing: the parent reads the study."""

    def begin(self, number: int, recipe: Recipe) -> None:
        """See ``worker.Watcher``."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """See ``worker.Watcher``."""

    def end(self, number: int, text: str) -> None:
        """See ``worker.Watcher``."""


def main(folder: str, wanted: str) -> int:
    """Work; the exit code."""
    try:
        path = Path(folder)
        work(Folder(path, read_settings(path)), int(wanted), Silent())
    except TinyRobustError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
