"""Stage ``virtual``: the unicorn package, whose bindings carry no usable types, as ``Any``."""

from __future__ import annotations

import importlib
from typing import Any

unicorn: Any = importlib.import_module("unicorn")
arm_const: Any = importlib.import_module("unicorn.arm_const")
unicorn_const: Any = importlib.import_module("unicorn.unicorn_const")
UcError: type[Exception] = unicorn.UcError
