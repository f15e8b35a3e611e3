"""Stage ``evaluate``: a device, a task and attacks -> records.

In: a Session with a flashed (or virtual) board, the Graph it runs, labelled uint8 images, and a
Config. Out: ``<out>/records.jsonl`` (specified in ``journal.py``), from which ``summary``
makes the figures that ``report`` shows. Attacks are crafted on the host, on the integers that
the device computes too; every adversarial image is then classified by the device itself.
"""

from __future__ import annotations

from tinyrobust.evaluate.adversarial import AdversarialSet
from tinyrobust.evaluate.config import Config, Series, generator, versions
from tinyrobust.evaluate.journal import Journal
from tinyrobust.evaluate.oracles import ORACLES, victim_for
from tinyrobust.evaluate.prepare import Prepared, Wish, choose_model, prepare
from tinyrobust.evaluate.run import (
    Counter,
    Device,
    Progress,
    check_device,
    counter_of,
    crafted_set,
    evaluate,
)
from tinyrobust.evaluate.summary import summarise
from tinyrobust.statistics import wilson

__all__ = [
    "ORACLES",
    "AdversarialSet",
    "Config",
    "Counter",
    "Device",
    "Journal",
    "Prepared",
    "Progress",
    "Series",
    "Wish",
    "check_device",
    "choose_model",
    "counter_of",
    "crafted_set",
    "evaluate",
    "generator",
    "prepare",
    "summarise",
    "versions",
    "victim_for",
    "wilson",
]
