"""Certificates: how many images no change within a size can turn, proved on the Graph's integers.

In: a Graph, uint8 images, labels, a size. Out: per image whether its class is proved for every
integer image of the ball. ``intervals.py`` bounds every tensor, ``classes.py`` the lead of the
class over each other one, ``share.py`` counts, beside what an attack leaves.
"""

from tinyrobust.certify.classes import Certified, certify
from tinyrobust.certify.intervals import Bounds, bounds
from tinyrobust.certify.share import Share, shares

__all__ = ["Bounds", "Certified", "Share", "bounds", "certify", "shares"]
