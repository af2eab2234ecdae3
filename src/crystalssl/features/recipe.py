"""Former name of ``extractor.py``: to be removed once nothing imports it."""

from crystalssl.features.extractor import Extractor
from crystalssl.features.extractor import ExtractorConfig as Recipe

__all__ = ["Extractor", "Recipe"]
