"""Features to decisions: which crystals are alike, which are the same, which to label next.

``index.py`` answers questions about neighbours, on the axes of ``axes.py`` by the exact search of
``nearest.py``. Nothing here imports torch, so a query takes no longer than its numbers.
"""

from crystalssl.search.axes import Axes, Standardise, fit_axes
from crystalssl.search.index import CrystalIndex, Neighbours

__all__ = ["Axes", "CrystalIndex", "Neighbours", "Standardise", "fit_axes"]
