"""Heads: feature matrix and labels in, a fitted model out, which predicts.

Stands on datasets.splits and needs no crystals: evaluation and property models use it with any
matrix. ``build_head(name).fit(matrix, rows, labels, groups, seed).predict(matrix, rows)``.
"""

from crystalssl.models.contract import Fitted, Head, Kind, head_settings
from crystalssl.models.registry import HEADS, build_head

__all__ = ["HEADS", "Fitted", "Head", "Kind", "build_head", "head_settings"]
