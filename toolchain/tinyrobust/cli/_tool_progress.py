"""What a flashing tool says while it works: a bar for each board on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_STEP = 0.25  # of the way, between two lines where there is no terminal
_WORDS = 48  # columns for what the tool said last


class ToolProgress:
    """A context manager; ``of(name)`` gives what ``flash`` calls for one board."""

    def __init__(self, screen: Any) -> None:
        from rich import progress

        self._screen = screen
        self._bars = (
            progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=24),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[words]}", markup=False, style="dim"),
                console=screen,
                transient=True,
            )
            if screen.is_terminal
            else None
        )

    def __enter__(self) -> ToolProgress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def of(self, name: str) -> Callable[[str, float | None], None]:
        """The progress of the board called ``name``."""
        return self._bar(name) if self._bars is not None else self._lines(name)

    def _bar(self, name: str) -> Callable[[str, float | None], None]:
        bars = self._bars
        assert bars is not None
        task = bars.add_task(name, total=None, words="")

        def update(words: str, done: float | None) -> None:
            if words:
                bars.update(task, words=words[:_WORDS])
            if done is not None:
                bars.update(task, total=1.0, completed=done)

        return update

    def _lines(self, name: str) -> Callable[[str, float | None], None]:
        told = -1

        def update(words: str, done: float | None) -> None:
            nonlocal told
            if words:
                self._screen.print(f"{name}: {words}", soft_wrap=True)
            if done is None:
                return
            step = int(done / _STEP)
            if step < told:  # the next bar: erase, then program
                told = -1
            if step > told:
                told = step
                self._screen.print(f"{name}: {step * _STEP:.0%}")

        return update
