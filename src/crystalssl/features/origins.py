"""Former name of ``features.py``: to be removed once nothing imports it."""

from crystalssl.features.features import blocks_behind, origin_of, read_origins, record_origins

__all__ = ["blocks_behind", "origin_of", "read_origins", "record_origins"]
