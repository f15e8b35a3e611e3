"""Stage ``kernels``: what the device can compute, and what each way of computing it costs.

In: ``firmware/kernels/*/kernel.yaml`` and a Graph. Out: the catalogue of kernels, the layers
(fused steps) of a Graph, and the one predictor of flash, scratch and instructions that the
planner, ``bench`` and later work share.
"""

from tinyrobust.kernels.catalogue import Kernel, accepts, candidates, catalogue
from tinyrobust.kernels.layers import Layer, layers, storage, view_roots
from tinyrobust.kernels.predict import Cost, predict

__all__ = [
    "Cost",
    "Kernel",
    "Layer",
    "accepts",
    "candidates",
    "catalogue",
    "layers",
    "predict",
    "storage",
    "view_roots",
]
