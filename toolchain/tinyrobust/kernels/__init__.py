"""Stage ``kernels``: what the device can compute, and what each way of computing it costs.

In: ``firmware/kernels/*/kernel.yaml`` and a Graph. Out: the catalogue of kernels, the layers
(fused steps) of a Graph, and the one predictor of flash, scratch and instructions that the
planner, ``bench`` and later work share.
"""

from tinyrobust.kernels.catalogue import Kernel, accepts, candidates, catalogue, ways
from tinyrobust.kernels.layers import Layer, layers, storage, view_roots
from tinyrobust.kernels.layouts import HWC, PLANAR4, copy_name, stored_bytes, stored_count
from tinyrobust.kernels.predict import Cost, overlap, predict
from tinyrobust.kernels.variables import PLAIN, Ports, Way

__all__ = [
    "HWC",
    "PLAIN",
    "PLANAR4",
    "Cost",
    "Kernel",
    "Layer",
    "Ports",
    "Way",
    "accepts",
    "candidates",
    "catalogue",
    "copy_name",
    "layers",
    "overlap",
    "predict",
    "storage",
    "stored_bytes",
    "stored_count",
    "view_roots",
    "ways",
]
