"""Stage ``search``: a recipe and a space of designs -> recipes that are robust within a budget.

In: a Recipe, a Space (``space.py``), a Board with a budget of flash, RAM and instructions. Out: a
folder with the study (Optuna's, SQLite), every trial's training, the best recipe and the Pareto
front. A design over the budget is refused by the planner's prediction before it is trained; the
others are halved after each rung of epochs. Several processes may work on one folder at once; after
a kill the same command goes on, and with one worker gives the trials that an unbroken run gives.
"""

from __future__ import annotations

from importlib.util import find_spec

from tinyrobust.errors import TinyRobustError


def require() -> None:
    """Raise TinyRobustError unless Optuna is installed."""
    if find_spec("optuna") is None:
        raise TinyRobustError(
            "searching needs Optuna, which is not installed here",
            "pip install 'tinyrobust[train,search]'",
        )
