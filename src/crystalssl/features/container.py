"""Former name of ``features.py``: to be removed once nothing imports it."""

from crystalssl.features.features import UNTRAINED, Features, Origin, feature_names

__all__ = ["UNTRAINED", "Features", "Origin", "feature_names"]
