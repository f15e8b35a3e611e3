"""Errors that people read: what, where, the numbers, and what to do next.

They are raised anywhere and caught once, in ``cli/main.py``, which prints one line and the
hint and leaves with ``exit_code``.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_USER = 1
EXIT_DEVICE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class TinyRobustError(Exception):
    """A fault that the user can mend. ``message`` says what and where, ``hint`` what to do."""

    exit_code = EXIT_USER

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class RecipeError(TinyRobustError):
    """A recipe file is wrong: unknown key, bad value, wrong type."""


class BoardError(TinyRobustError):
    """A board file is wrong or a board is unknown."""


class TaskError(TinyRobustError):
    """A data set is missing, truncated, or could not be fetched."""


class ConvertError(TinyRobustError):
    """A trained model cannot become an integer Graph."""


class GraphError(TinyRobustError):
    """A Graph, or a Graph file, breaks the rules of ``graph/``."""


class BudgetError(TinyRobustError):
    """The image does not fit the board's memory or its budget."""


class CheckFailed(TinyRobustError):
    """What a checking command (verify, bench, budget) checks does not hold."""


class BuildError(TinyRobustError):
    """The compiler or linker is missing or failed."""

    exit_code = EXIT_DEVICE


class FlashError(TinyRobustError):
    """A flasher is missing or failed, or the device's image hash differs."""

    exit_code = EXIT_DEVICE


class LinkError(TinyRobustError):
    """The serial port is missing, busy, unplugged or silent."""

    exit_code = EXIT_DEVICE


class ProtocolError(TinyRobustError):
    """The device answered with something the protocol does not allow, or refused."""

    exit_code = EXIT_DEVICE


class DeviceFault(TinyRobustError):
    """The (virtual) device faulted; the message carries registers and the function's name."""

    exit_code = EXIT_DEVICE
