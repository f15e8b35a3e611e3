"""Faults in the deployed image: what single flipped bits and skipped instructions do.

In: a built image, images, a board whose virtual one runs on Unicorn. Out: Outcomes by kind of
fault, each of a board of its own that ran the very image with one fault in it. ``targets.py``
says where faults can be put, ``run.py`` puts them there.
"""

from tinyrobust.faults.run import Result, Tally, campaign
from tinyrobust.faults.targets import KINDS

__all__ = ["KINDS", "Result", "Tally", "campaign"]
