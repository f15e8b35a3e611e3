"""tinyrobust: train a robust ternary network, prove its integers, fit it, flash it, attack it."""

__version__ = "0.1.0"
